package execertest

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"cdr.dev/wsep"
)

// program is what a command does, step by step. A shell runs it as a script, the helper runs it itself.
type program []step

// step is a part of a program. It has one form for a shell, and one for the helper.
type step struct {
	sh string

	Action string   // a key of actions
	Words  []string `json:",omitempty"`
	Then   program  `json:",omitempty"` // what a child or a signal's trap runs
}

// script returns the program as a shell's script.
func (p program) script() string {
	lines := make([]string, len(p))
	for i, s := range p {
		lines[i] = s.sh
	}
	return strings.Join(lines, "\n")
}

// quoted returns a text as one word of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// command returns the command that runs a program. A shell numbers the args from 1, and so do the steps.
func (f *fixture) command(p program, args ...string) wsep.Command {
	if f.helper == "" {
		return wsep.Command{Command: "sh", Args: append([]string{"-c", p.script(), "sh"}, args...)}
	}
	return helperCommand(f.helper, p, args)
}

// nothing returns a command without arguments that exits with code 0.
func (f *fixture) nothing() wsep.Command {
	if f.helper == "" {
		return wsep.Command{Command: "true"}
	}
	return helperCommand(f.helper, nil, nil)
}

// programVariable is the environment variable with the helper's program.
const programVariable = "WSEP_EXECERTEST_PROGRAM"

func helperCommand(helper string, p program, args []string) wsep.Command {
	encoded, err := json.Marshal(p)
	if err != nil {
		panic(err) // A program is strings.
	}
	return wsep.Command{Command: helper, Args: args, Env: []string{programVariable + "=" + string(encoded)}}
}

// arg is the form of an argument for a shell.
func arg(n int) string { return `"$` + strconv.Itoa(n) + `"` }

func numbered(n int) []string { return []string{strconv.Itoa(n)} }

// out writes text to stdout, and errOut to stderr.
func out(text string) step {
	return step{sh: `printf %s ` + quoted(text), Action: "out", Words: []string{text}}
}

func errOut(text string) step {
	return step{sh: `printf %s ` + quoted(text) + ` >&2`, Action: "errOut", Words: []string{text}}
}

// outArg and errArg write an argument.
func outArg(n int) step { return step{sh: `printf %s ` + arg(n), Action: "outArg", Words: numbered(n)} }

func errArg(n int) step {
	return step{sh: `printf %s ` + arg(n) + ` >&2`, Action: "errArg", Words: numbered(n)}
}

// outVariables writes variables, each with a NUL behind it.
func outVariables(names ...string) step {
	s := step{sh: ":", Action: "outVariables", Words: names}
	for _, name := range names {
		s.sh += `; printf '%s\0' "$` + name + `"`
	}
	return s
}

var (
	// outArgs writes all arguments, each with a NUL behind it.
	outArgs = step{sh: `printf '%s\0' "$@"`, Action: "outArgs"}
	// outCount writes the number of arguments, outDir the working directory, and outPid the process's ID, each as a line.
	outCount = step{sh: `echo $#`, Action: "outCount"}
	outDir   = step{sh: `pwd -P`, Action: "outDir"}
	outPid   = step{sh: `echo $$`, Action: "outPid"}
	// readLine reads a line of stdin, which outLine writes without its end, and exitLine takes for the exit code.
	readLine = step{sh: `read line`, Action: "readLine"}
	outLine  = step{sh: `printf %s "$line"`, Action: "outLine"}
	exitLine = step{sh: `exit "$line"`, Action: "exitLine"}
	// cat copies stdin to stdout. sorted sorts its lines. sum writes its checksum.
	cat    = step{sh: `cat`, Action: "cat"}
	sorted = step{sh: `sort`, Action: "sorted"}
	sum    = step{sh: sumScript, Action: "sum"}
	// These close a stream.
	closeIn  = step{sh: `exec <&-`, Action: "closeIn"}
	closeOut = step{sh: `exec >&-`, Action: "closeOut"}
	closeErr = step{sh: `exec 2>&-`, Action: "closeErr"}
	// sleeping runs for a minute. idle does too, and runs traps at once.
	sleeping = step{sh: `sleep 60`, Action: "idle"}
	idle     = step{sh: "i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done", Action: "idle"}
)

// exit ends the program, exitArg with an argument for its code.
func exit(code int) step {
	return step{sh: `exit ` + strconv.Itoa(code), Action: "exit", Words: numbered(code)}
}

func exitArg(n int) step { return step{sh: `exit ` + arg(n), Action: "exitArg", Words: numbered(n)} }

func pause(d time.Duration) step {
	seconds := strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
	return step{sh: `sleep ` + seconds, Action: "pause", Words: []string{d.String()}}
}

// zeros writes NULs to stdout (1) or stderr (2).
func zeros(n int, fd string) step {
	count := strconv.Itoa(n)
	return step{sh: `head -c ` + count + ` /dev/zero >&` + fd, Action: "zeros", Words: []string{count, fd}}
}

// take reads and drops bytes of stdin.
func take(n int) step {
	return step{sh: `head -c ` + strconv.Itoa(n) + ` >/dev/null`, Action: "take", Words: numbered(n)}
}

// onSignal runs a program, which exits, at a signal.
func onSignal(name string, p ...step) step {
	return step{sh: `trap ` + quoted(program(p).script()) + ` ` + name, Action: "onSignal", Words: []string{name}, Then: p}
}

// stubborn ignores what asks a program to exit. Children do so too.
var stubborn = step{sh: `trap "" TERM HUP`, Action: "stubborn"}

// kill sends a signal to the process whose ID is argument n. killSelf sends one to the program.
func kill(signal string, n int) step {
	return step{sh: `kill -` + signal + ` ` + arg(n), Action: "kill", Words: []string{signal, strconv.Itoa(n)}}
}

func killSelf(signal string) step {
	return step{sh: `kill -` + signal + ` $$; sleep 5`, Action: "killSelf", Words: []string{signal}}
}

// background runs a program in a child, which is not under the vigil.
func background(p ...step) step {
	return step{sh: "(exec 3>&-\n" + program(p).script() + "\n) &", Action: "background", Then: p}
}

// atGate waits until the gate whose file is argument n is open. It waits until the test's end at the latest, or for a minute if the
// gate's file can't be removed.
func atGate(n int) step {
	file := strconv.Itoa(n)
	return step{sh: `i=0; while [ -d "${` + file + `%/*}" ] && [ ! -e "$` + file + `" ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done`,
		Action: "atGate", Words: numbered(n)}
}

// These are for files. Their names are arguments.
var (
	// makeTempDir makes a new directory, and writes its path as a line.
	makeTempDir = step{sh: `cd "$(mktemp -d)" && pwd -P`, Action: "makeTempDir"}
	makeDir     = step{sh: `mkdir "$1"`, Action: "makeDir"}
	remove      = step{sh: `rm -rf "$1"`, Action: "remove"}
	touch       = step{sh: `: >"$1"`, Action: "touch"}
	list        = step{sh: `ls "$1"`, Action: "list"}
	// makeBig makes a file of $2 random bytes and writes its checksum. catFile writes a file to stdout.
	makeBig = step{sh: `head -c "$2" /dev/urandom >"$1"; ` + sumScript + ` <"$1"`, Action: "makeBig"}
	catFile = step{sh: `cat "$1"`, Action: "catFile"}
	// makeBadPrograms makes two files in the new directory: script, which is a program without the mode or name of one, and garbage,
	// which has them and is no program.
	makeBadPrograms = step{sh: `
		printf '#!/bin/sh\n' >script; chmod 644 script
		printf 'no\0program' >garbage; chmod 755 garbage`, Action: "makeBadPrograms"}
)

// These are for terminals.
var (
	// outTerminals writes the numbers of the streams that are terminals, outControlling a line if there is a controlling terminal,
	// and outSize rows and columns.
	outTerminals   = step{sh: `for fd in 0 1 2; do if test -t $fd; then echo $fd; fi; done`, Action: "outTerminals"}
	outControlling = step{sh: `if true </dev/tty; then echo tty; fi`, Action: "outControlling"}
	outSize        = step{sh: `stty size`, Action: "outSize"}
	// noEcho turns echo off. It makes backspace the erase character.
	noEcho = step{sh: `stty -echo erase ^H`, Action: "noEcho"}
	// catBackground copies stdin to stdout in the background, and tells of its end.
	catBackground = step{sh: `exec 4<&0; (cat; echo "end of file") <&4 &`, Action: "catBackground"}
	// outNumbers writes 1 to 50,000, each as a line, the second half to stderr.
	outNumbers = step{sh: `seq 1 25000; seq 25001 50000 >&2`, Action: "outNumbers"}
)

// awaitSize waits until the terminal has a size.
func awaitSize(size string) step {
	return step{sh: `until [ "$(stty size)" = "` + size + `" ]; do sleep 0.02; done`, Action: "awaitSize", Words: []string{size}}
}

// sumLines writes the checksum of n lines of stdin.
func sumLines(n int) step {
	return step{sh: `head -n ` + strconv.Itoa(n) + ` | ` + sumScript, Action: "sumLines", Words: numbered(n)}
}

// These are for vigils.
var (
	// keepVigil writes the vigil's name as a line, then ready, and ends when no process is under the vigil any more. For a shell the
	// vigil is a file in the new directory.
	keepVigil = step{sh: `mkfifo alive && echo "$PWD/alive" && echo ready && exec cat alive`, Action: "keepVigil"}
	// watched puts this process, and children that it starts later, under the vigil whose name is $1.
	watched = step{sh: `exec 3>"$1"`, Action: "watched"}
	// family has children that the program does not end. All of them run when it has written ready.
	family = step{sh: `sleep 60 & (sleep 60; true) & echo ready; wait; sleep 60`, Action: "family"}
	// ticking writes ready, and then appends to the file $2 as long as it runs. loud also writes much output each time.
	ticking = step{sh: `echo ready; while :; do echo >>"$2"; sleep 0.05; done`, Action: "ticking"}
	loud    = step{sh: `echo ready; text=$(printf %010000d 0); while :; do printf %s "$text"; echo >>"$2"; done`, Action: "loud"}
	// awaitStalled waits until the file $1 does not grow.
	awaitStalled = step{sh: `touch "$1"; last=
		until now=$(wc -c <"$1"); [ "$last" = "$now" ]; do last=$now; sleep 0.5; done`, Action: "awaitStalled"}
)
