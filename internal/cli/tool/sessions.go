package tool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/client"
	"cdr.dev/wsep/internal/peerlog"
	"cdr.dev/wsep/internal/signame"
)

func noSession(id string) error { return &noSessionError{id} }

type noSessionError struct{ id string }

func (e *noSessionError) Error() string {
	return fmt.Sprintf("there is no session %q (see wsep ps)", e.id)
}
func (e *noSessionError) Is(target error) bool { return target == fs.ErrNotExist }

func (t *tool) ps() *cobra.Command {
	var quiet bool
	var output string
	c := &cobra.Command{
		Use:     "ps [flags]",
		Aliases: []string{"ls"},
		Short:   "List the commands that were started with --id",
		Example: "  wsep ps\n  wsep ps -q\n  wsep ps -o json",
		Args:    between(0, 0),
	}
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print IDs only")
	c.Flags().StringVarP(&output, "output", "o", "table", "print a `FORM`: table or json")
	server := addServer(c)
	c.RunE = func(*cobra.Command, []string) error {
		if output != "table" && output != "json" {
			return usagef("--output: %q is not table or json", output)
		}
		s, err := server()
		if err != nil {
			return err
		}
		list, err := s.Dialer().Sessions(context.Background())
		switch {
		case err != nil:
			return fail(err)
		case quiet:
			return fail(t.printIDs(list))
		case output == "json":
			return fail(t.printJSON(list))
		}
		return fail(t.printTable(list))
	}
	return c
}

func (t *tool) printIDs(list []wsep.SessionInfo) error {
	for _, info := range list {
		if _, err := fmt.Fprintln(t.stdout, peerlog.Text(info.ID)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) printTable(list []wsep.SessionInfo) error {
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tAGE\tCLIENTS\tSTATE\tDIRECTORY\tCOMMAND\tLAST LINE")
	cell := t.cell
	for _, info := range list {
		line := strings.Join(append([]string{info.Command.Command}, info.Command.Args...), " ")
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\n", cell(info.ID), age(info.Started), info.Clients, state(info),
			cell(cmp.Or(info.Command.WorkingDir, "-")), cell(line), cell(info.LastLine))
	}
	return w.Flush()
}

// maxCell bounds a cell of the table on a terminal, in characters.
const maxCell = 40

// cell returns what a table shows of a text that may be hostile.
func (t *tool) cell(text string) string {
	shown := []rune(peerlog.Text(text))
	if isTerminal(t.stdout) && len(shown) > maxCell {
		shown = append(shown[:maxCell-1], '…')
	}
	return string(shown)
}

// age returns how long ago a time was, in the largest unit that fits, as kubectl does.
func age(since time.Time) string {
	switch d := time.Since(since); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

// state describes the state of a session.
func state(info wsep.SessionInfo) string {
	switch {
	case info.Exited && info.Exit == nil:
		return "exited (0)"
	case info.Exited:
		return fmt.Sprintf("exited (%d)", client.ExitCode(info.Exit))
	case info.State == wsep.StateStarting:
		return "starting"
	case info.State == wsep.StateReady:
		return "running"
	}
	return "closing"
}

// listed is a session in JSON.
type listed struct {
	ID         string    `json:"id"`
	Command    string    `json:"command"`
	Args       []string  `json:"args"`
	TTY        bool      `json:"tty"`
	WorkingDir string    `json:"working_dir"`
	Started    time.Time `json:"started"`
	Clients    int       `json:"clients"`
	State      string    `json:"state"`
	LastLine   string    `json:"last_line"`
}

func (t *tool) printJSON(list []wsep.SessionInfo) error {
	all := []listed{}
	for _, info := range list {
		c := info.Command
		all = append(all, listed{
			info.ID, c.Command, c.Args, c.TTY, c.WorkingDir, info.Started, info.Clients, state(info), info.LastLine,
		})
	}
	encoder := json.NewEncoder(t.stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(all)
}

func (t *tool) wait() *cobra.Command {
	c := &cobra.Command{
		Use:     "wait [flags] ID",
		Short:   "Wait until a command exits, and exit as it does",
		Long:    "Waits until a command that was started with --id exits, and exits as wsep exec would. Codes of its own are 1 and 255.",
		Example: "  wsep wait job",
		Args:    between(1, 1),
	}
	server := addServer(c)
	c.ValidArgsFunction = completeSessions(server)
	c.RunE = func(_ *cobra.Command, args []string) error {
		s, err := server()
		if err != nil {
			return err
		}
		err = s.Dialer().WaitSession(context.Background(), args[0])
		if errors.Is(err, fs.ErrNotExist) {
			return fail(err)
		}
		client.Report(program, err)
		return exit(client.ExitCode(err))
	}
	return c
}

func (t *tool) kill() *cobra.Command {
	var signal string
	c := &cobra.Command{
		Use:   "kill [flags] ID...",
		Short: "End commands, or send them a signal",
		Long: `Ends commands that were started with --id, and waits until nothing is left of them: they are hung up, and then killed. With
--signal it only sends a signal.`,
		Example: "  wsep kill main\n  wsep kill -s INT job",
		Args:    between(1, -1),
	}
	c.Flags().StringVarP(&signal, "signal", "s", "", "send the signal `NAME`, such as INT, TERM or 9, and do not wait")
	server := addServer(c)
	c.ValidArgsFunction = completeSessions(server)
	c.RunE = func(_ *cobra.Command, ids []string) error {
		name, err := signalName(signal)
		if err != nil {
			return err
		}
		s, err := server()
		if err != nil {
			return err
		}
		return killAll(s.Dialer(), ids, name)
	}
	return c
}

// killAll ends sessions, or sends them a signal. It goes on after a failure.
func killAll(m wsep.SessionManager, ids []string, signal string) error {
	var failed error
	for _, id := range ids {
		var err error
		if signal == "" {
			err = m.CloseSession(context.Background(), id, "ended with wsep kill")
		} else {
			err = m.SignalSession(context.Background(), id, signal)
		}
		if err != nil {
			client.Report(program, err)
			failed = status(failureCode(err))
		}
	}
	return failed
}

// signalNumbers are the signals that kill(1) takes as numbers (POSIX).
var signalNumbers = map[string]string{"1": "HUP", "2": "INT", "3": "QUIT", "6": "ABRT", "9": "KILL", "14": "ALRM", "15": "TERM"}

// signalName returns the name of a signal as the wire has it. It is empty if none is given.
func signalName(given string) (string, error) {
	name := strings.TrimPrefix(strings.ToUpper(given), "SIG")
	if known, ok := signalNumbers[name]; ok {
		name = known
	}
	if name != "" && !signame.Known(name) {
		return "", usagef("--signal: there is no signal %q", given)
	}
	return name, nil
}

func (t *tool) logs() *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "logs [flags] ID",
		Short: "Print what is kept of a command's output",
		Long: `Prints what is kept of the outputs of a command that was started with --id and without a terminal: the newest 4 MiB of each,
unless the server keeps another size. With --follow it goes on until the command exits, and exits as that does.`,
		Example: "  wsep logs job\n  wsep logs -f job",
		Args:    between(1, 1),
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "print also what comes from now on")
	server := addServer(c)
	c.ValidArgsFunction = completeSessions(server)
	c.RunE = func(_ *cobra.Command, args []string) error {
		s, err := server()
		if err != nil {
			return err
		}
		info, err := find(s.Dialer(), args[0])
		if err != nil {
			return fail(err)
		}
		if info.Command.TTY {
			return fail(xerrors.Errorf("%s runs in a terminal, of which only the screen is kept: use wsep attach", args[0]))
		}
		command := wsep.Command{ID: args[0]}
		if follow {
			return exit(client.Run(client.Options{Program: program, Server: s, Command: command, Watch: true}))
		}
		return fail(t.printKept(s.Dialer(), command, info))
	}
	return c
}

// printKept prints what a command had written when it was listed.
func (t *tool) printKept(execer wsep.Execer, c wsep.Command, info wsep.SessionInfo) error {
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	p, err := execer.Start(ctx, c)
	if err != nil {
		return err
	}
	skipped := client.Skipped(p)
	var copying sync.WaitGroup
	copying.Go(func() {
		copyUpTo(t.stdout, p.Stdout(), info.Stdout, func() int64 { n, _ := skipped(); return n })
	})
	copying.Go(func() {
		copyUpTo(t.stderr, p.Stderr(), info.Stderr, func() int64 { _, n := skipped(); return n })
	})
	copying.Wait()
	client.ReportSkipped(program, p)
	_ = p.Close()
	_ = p.Wait()
	return nil
}

// copyUpTo copies an output up to an offset. skipped counts bytes that the reader does not return.
func copyUpTo(w io.Writer, r io.Reader, end int64, skipped func() int64) {
	buf := make([]byte, 32<<10)
	for read := int64(0); read+skipped() < end; {
		n, err := r.Read(buf)
		read += int64(n)
		if _, failed := w.Write(buf[:n]); failed != nil || err != nil {
			return
		}
	}
}
