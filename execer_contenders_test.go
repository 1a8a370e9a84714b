package wsep_test

import (
	"testing"

	"cdr.dev/wsep"
	"cdr.dev/wsep/execertest"
)

// contender is a kind of Execer that the contract is run against. It becomes a row of README's table.
type contender struct {
	name   string // as README calls it, and as it is in prepares of its system
	except execertest.Exclusions
}

// contenders are those of all systems. Each system's tests run those that they have in prepares.
var contenders = []contender{
	{"`LocalExecer`", nil},
	{"`RemoteExecer`", nil},
	{"`Dialer`", nil},
	{"`coderws`", nil},
	{"a chain of three", nil},
	{"a `wsplice` channel", nil},
	{"`sshexec`: OpenSSH, dash", nil},
	{"`sshexec`: OpenSSH, BusyBox", nil},
	{"`sshexec`: dropbear", dropbearExclusions},
	{"`sshexec` behind a WebSocket", nil},
	{"a server of v0.2.4", v024Exclusions},
	{localOnWine, wineExclusions},
	{dialerOnWine, wineExclusions},
}

// These are the names of the contenders that ci/windows.sh runs.
const (
	localOnWine  = "`LocalExecer` on Windows (Wine)"
	dialerOnWine = "`Dialer` on Windows (Wine)"
)

// dropbearExclusions are what dropbear can't do.
var dropbearExclusions = execertest.Exclusions{
	"Command/ArgsLong":     "short-lines",
	"Output/ReadAfterWait": "short-lines",
	// It closes the session when the process ends.
	"Output/HeldByChild": "no-held-output",
}

// v024Exclusions are what a server or the protocol of v0.2.4 can't do.
var v024Exclusions = execertest.Exclusions{
	// The server closes the connection if it can't write to stdin. While it waits to write, it reads no messages.
	"Stdin/Unread":              "no-flow-control",
	"Exit/WhileStdinStreams":    "no-flow-control",
	"Exit/StdinClosedByProgram": "no-flow-control",
	"Close/FullStdin":           "no-flow-control",
	"Cancel/FullStdin":          "no-flow-control",

	"Signal/Trap":     "no-signals",
	"Signal/Terminal": "no-signals",
	"Signal/Group":    "no-signals",

	// Close can only disconnect. Then no more messages about the command arrive.
	"Close/Trap":           "no-close",
	"Close/TrapOnTerminal": "no-close",
	"Close/UnreadOutput":   "no-close",

	// The server closes the terminal.
	"Terminal/StdinClose":        "hang-up",
	"Terminal/StdinCloseMidLine": "hang-up",

	// Its terminals take each byte of input for a character.
	"Terminal/Erase": "no-utf8-input",

	// The server kills the process or hangs up its terminal. The rest of the group goes on.
	"Close/Group":                "no-groups",
	"Close/Stubborn":             "no-groups",
	"Close/StubbornOnTerminal":   "no-groups",
	"Close/Twice":                "no-groups",
	"Cancel/Group":               "no-groups",
	"Cancel/Stubborn":            "no-groups",
	"Cancel/StubbornOnTerminal":  "no-groups",
	"Cancel/FullStdinOnTerminal": "no-groups",
	"Cancel/FullStdinStubborn":   "no-groups",
	"Cancel/AfterClose":          "no-groups",

	// The reason of a failed start is only a text.
	"StartReason/MissingInPath":     "text-only",
	"StartReason/MissingByPath":     "text-only",
	"StartReason/Directory":         "text-only",
	"StartReason/NotExecutable":     "text-only",
	"StartReason/WorkingDirMissing": "text-only",
	"StartReason/Empty":             "text-only",
	"StartReason/NULInCommand":      "text-only",
	"StartReason/NULInArgs":         "text-only",
	"StartReason/NULInEnv":          "text-only",
	"StartReason/NULInWorkingDir":   "text-only",
}

// wineExclusions are what Windows, or Wine 8.0, can't do.
var wineExclusions = execertest.Exclusions{
	// A command line has at most 32,767 characters.
	"Command/ArgsLong":     "short-lines",
	"Output/ReadAfterWait": "short-lines",

	// Windows has no signals between processes, and can't stop one.
	"Exit/Killed":           "no-signals",
	"Exit/SignalName":       "no-signals",
	"Terminal/ResizeSignal": "no-signals",
	"Close/Stopped":         "no-signals",
	"Cancel/Stopped":        "no-signals",

	// Wine's GenerateConsoleCtrlEvent with CTRL_BREAK_EVENT is not implemented.
	"Signal/Trap":         "no-ctrl-break",
	"Close/Trap":          "no-ctrl-break",
	"Cancel/NeverSuccess": "no-ctrl-break",

	// Wine's console host takes a Ctrl-C in a pseudo-console's input for the input's end.
	"Terminal/Interrupt": "no-ctrl-c",
	"Signal/Terminal":    "no-ctrl-c",

	// A program whose console is closed gets no event from Wine, and exits with code 0.
	"Close/TrapOnTerminal":     "no-close-event",
	"Close/GroupOnTerminal":    "no-close-event",
	"Close/StubbornOnTerminal": "no-close-event",

	// Wine's ResizePseudoConsole is not implemented.
	"Terminal/Resize":         "no-resize",
	"Terminal/ResizeThenType": "no-resize",

	// A console takes Ctrl-Z for the end of a file only at the beginning of a line.
	"Terminal/StdinCloseMidLine": "mid-line",

	// Wine's console erases half of a character that takes two units of UTF-16.
	"Terminal/Erase": "half-erase",

	// A console has at most 32,767 rows and columns, and draws its screen: what scrolls fast is not all written.
	"Terminal/Size":   "console",
	"Terminal/Output": "console",
}

// each is for an Execer that needs no preparation.
func each(newExecer func(*testing.T) wsep.Execer) func(*testing.T) func(*testing.T) wsep.Execer {
	return func(*testing.T) func(*testing.T) wsep.Execer { return newExecer }
}

// contend runs the contract against the contenders of this system, and compares the results with README.
func contend(t *testing.T) {
	t.Helper()
	kept := newScores()
	t.Run("Contract", func(t *testing.T) {
		for _, c := range contenders {
			prepare := prepares[c.name]
			if prepare == nil {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				newExecer := prepare(t)
				execertest.Test(t, func(t *testing.T) wsep.Execer {
					kept.watch(t, c.name)
					return newExecer(t)
				}, c.except)
			})
		}
	})
	kept.compareWithReadme(t)
}
