// Command client runs one command with the client of wsep v0.2.4. It passes on the command's output, and writes a report about
// the command's exit to a file:
//
//	client [flags] command [argument...]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"

	"cdr.dev/wsep"
	"nhooyr.io/websocket"
)

// options are what the client does beside running the command.
type options struct {
	url, report string
	writes      []int
	keep        bool // stdin stays open
	pause       bool
	close       bool
	rows, cols  uint16
}

// result is the report.
type result struct {
	// StartError is why the command did not start. Then the other fields are empty, except for the close frame.
	StartError string `json:"start_error,omitempty"`
	Pid        int    `json:"pid,omitempty"`
	// WaitError is what Wait returned. ExitCode is set if that was an ExitError.
	WaitError string `json:"wait_error,omitempty"`
	ExitCode  *int   `json:"exit_code,omitempty"`
	// StdinError is why stdin could not be written or closed.
	StdinError string `json:"stdin_error,omitempty"`
	// CloseReason is the reason in the server's close frame, if an error came from one.
	CloseReason string `json:"close_reason,omitempty"`
}

func main() {
	log.SetFlags(0)
	command, opts := parseFlags()
	result := run(context.Background(), command, opts)
	report, err := json.Marshal(result)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(opts.report, report, 0o600); err != nil {
		log.Fatal(err)
	}
}

func parseFlags() (command wsep.Command, opts options) {
	flag.StringVar(&opts.url, "url", "", "the server's `URL`")
	flag.StringVar(&opts.report, "report", os.DevNull, "`file` for the result, in JSON")
	flag.BoolVar(&command.Stdin, "stdin", false, "pass stdin on, and its end")
	flag.Func("writes", "pass stdin on in writes of these `sizes`, separated by commas, then in writes of any",
		func(s string) (err error) {
			opts.writes, err = parseSizes(s)
			return err
		})
	flag.BoolVar(&opts.keep, "keep-stdin", false, "do not pass the end of stdin on")
	flag.BoolVar(&opts.pause, "pause", false, "read no output before stdin has ended")
	flag.BoolVar(&opts.close, "close", false, "close the process at its first output")
	flag.BoolVar(&command.TTY, "tty", false, "run the command in a terminal")
	flag.Func("size", "the terminal's size as `rows,columns`", scanSize(&command.Rows, &command.Cols))
	flag.Func("resize", "the terminal's size from the first output on, as `rows,columns`",
		scanSize(&opts.rows, &opts.cols))
	flag.Func("env", "a variable as `KEY=VALUE`, may be repeated", func(s string) error {
		command.Env = append(command.Env, s)
		return nil
	})
	flag.StringVar(&command.WorkingDir, "dir", "", "the working `directory`")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("no command")
	}
	command.Command, command.Args = flag.Arg(0), flag.Args()[1:]
	return command, opts
}

func parseSizes(text string) (sizes []int, err error) {
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

func scanSize(rows, cols *uint16) func(string) error {
	return func(text string) error {
		_, err := fmt.Sscanf(text, "%d,%d", rows, cols)
		return err
	}
}

// run runs the command. It returns when the command has exited and all its output has been passed on.
func run(ctx context.Context, command wsep.Command, opts options) (r result) {
	conn, _, err := websocket.Dial(ctx, opts.url, nil)
	if err != nil {
		return result{StartError: err.Error()}
	}
	process, err := wsep.RemoteExecer(conn).Start(ctx, command)
	if err != nil {
		r.StartError = err.Error()
		r.closed(err)
		return r
	}
	r.Pid = process.Pid()

	stdinRead := make(chan struct{})
	stdinErr := make(chan error, 1)
	go func() { stdinErr <- copyStdin(process, command.Stdin, opts, stdinRead) }()
	if opts.pause {
		<-stdinRead
	}
	copyOutput(ctx, process, opts)
	r.waited(process.Wait())
	select {
	case err := <-stdinErr:
		if err != nil {
			r.StdinError = err.Error()
		}
	default:
		// Stdin still streams.
	}
	return r
}

// waited records what Wait returned.
func (r *result) waited(err error) {
	if err == nil {
		return
	}
	r.WaitError = err.Error()
	if exit, ok := errors.AsType[wsep.ExitError](err); ok {
		code := exit.ExitCode()
		r.ExitCode = &code
	}
	r.closed(err)
}

// closed records the close frame's reason if a close frame caused the error.
func (r *result) closed(err error) {
	if frame, ok := errors.AsType[websocket.CloseError](err); ok {
		r.CloseReason = frame.Reason
	}
}

// copyStdin passes stdin on to the process if the process has one. It closes read when stdin has ended.
func copyStdin(process wsep.Process, enabled bool, opts options, read chan<- struct{}) error {
	defer close(read)
	if !enabled {
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	}
	for _, n := range opts.writes {
		piece := make([]byte, n)
		if _, err := io.ReadFull(os.Stdin, piece); err != nil {
			return fmt.Errorf("read stdin: %w", err)
		}
		if _, err := process.Stdin().Write(piece); err != nil {
			return err
		}
	}
	if _, err := io.Copy(process.Stdin(), os.Stdin); err != nil || opts.keep {
		return err
	}
	return process.Stdin().Close()
}

// copyOutput passes both outputs on until they end.
func copyOutput(ctx context.Context, process wsep.Process, opts options) {
	var outputs sync.WaitGroup
	outputs.Go(func() {
		first := &firstWrite{w: os.Stdout, do: func() { atFirstOutput(ctx, process, opts) }}
		if _, err := io.Copy(first, process.Stdout()); err != nil {
			log.Printf("stdout: %v", err)
		}
	})
	outputs.Go(func() {
		if _, err := io.Copy(os.Stderr, process.Stderr()); err != nil {
			log.Printf("stderr: %v", err)
		}
	})
	outputs.Wait()
}

// atFirstOutput carries out the options at the first output, which proves that the process runs.
func atFirstOutput(ctx context.Context, process wsep.Process, opts options) {
	if opts.rows != 0 {
		if err := process.Resize(ctx, opts.rows, opts.cols); err != nil {
			log.Printf("resize: %v", err)
		}
	}
	if opts.close {
		// Close waits until both outputs have ended, and so for the reader that calls this function.
		go func() {
			if err := process.Close(); err != nil {
				log.Printf("close: %v", err)
			}
		}()
	}
}

// firstWrite does something once, after the first write.
type firstWrite struct {
	w    io.Writer
	do   func()
	once sync.Once
}

func (f *firstWrite) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.once.Do(f.do)
	return n, err
}
