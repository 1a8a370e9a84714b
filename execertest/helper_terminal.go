package execertest

import (
	"io"
	"os"
	"strconv"
	"time"
)

var terminalActions = map[string]action{
	"outTerminals": func(*helper, step) error {
		for i, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
			if !isTerminal(f) {
				continue
			}
			if err := write(os.Stdout, strconv.Itoa(i)+"\n"); err != nil {
				return err
			}
		}
		return nil
	},
	"outControlling": func(*helper, step) error {
		f, err := os.Open(controlling)
		if err != nil {
			return nil
		}
		defer f.Close()
		return write(os.Stdout, "tty\n")
	},
	"outSize": func(*helper, step) error { return write(os.Stdout, terminalSizeNow()+"\n") },
	"awaitSize": func(_ *helper, s step) error {
		for terminalSizeNow() != s.Words[0] {
			time.Sleep(10 * time.Millisecond)
		}
		return nil
	},
	"noEcho": func(*helper, step) error { return turnOffEcho() },
	"catBackground": func(*helper, step) error {
		// Ends with the process.
		go func() {
			_, _ = io.Copy(os.Stdout, os.Stdin)
			_ = write(os.Stdout, "end of file\n")
		}()
		return nil
	},
}
