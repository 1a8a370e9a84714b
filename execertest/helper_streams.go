package execertest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

var streamActions = map[string]action{
	"out":    func(_ *helper, s step) error { return write(os.Stdout, s.Words[0]) },
	"errOut": func(_ *helper, s step) error { return write(os.Stderr, s.Words[0]) },
	"outArg": func(h *helper, s step) error { return write(os.Stdout, h.arg(s, 0)) },
	"errArg": func(h *helper, s step) error { return write(os.Stderr, h.arg(s, 0)) },
	"outArgs": func(h *helper, _ step) error {
		return write(os.Stdout, strings.Join(h.args, "\x00")+"\x00")
	},
	"outVariables": func(_ *helper, s step) error {
		for _, name := range s.Words {
			if err := write(os.Stdout, os.Getenv(name)+"\x00"); err != nil {
				return err
			}
		}
		return nil
	},
	"outCount": func(h *helper, _ step) error { return write(os.Stdout, strconv.Itoa(len(h.args))+"\n") },
	"readLine": (*helper).readLine,
	"outLine":  func(h *helper, _ step) error { return write(os.Stdout, h.line) },
	"cat":      func(*helper, step) error { return catTo(os.Stdout) },
	"sorted":   func(*helper, step) error { return sortLines() },
	"sum":      func(*helper, step) error { return writeSum(os.Stdin) },
	"sumLines": sumOfLines,
	"closeIn":  func(*helper, step) error { return os.Stdin.Close() },
	"closeOut": func(*helper, step) error { return os.Stdout.Close() },
	"closeErr": func(*helper, step) error { return os.Stderr.Close() },
	"zeros":    writeZeros,
	"take": func(_ *helper, s step) error {
		_, err := io.CopyN(io.Discard, os.Stdin, int64(s.number(0)))
		return err
	},
	"outNumbers": writeNumbers,
}

func write(f *os.File, text string) error {
	_, err := io.WriteString(f, text)
	return err
}

// readLine reads no byte behind the line.
func (h *helper) readLine(step) error {
	h.line = ""
	b := make([]byte, 1)
	for {
		n, err := os.Stdin.Read(b)
		switch {
		case n == 1 && b[0] == '\n':
			h.line = strings.TrimSuffix(h.line, "\r")
			return nil
		case n == 1:
			h.line += string(b)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func catTo(f *os.File) error {
	_, err := io.Copy(f, os.Stdin)
	return err
}

func sortLines() error {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	lines := slices.Sorted(strings.Lines(string(text)))
	return write(os.Stdout, strings.Join(lines, ""))
}

func writeSum(r io.Reader) error {
	sum, err := digest(r)
	if err != nil {
		return err
	}
	return write(os.Stdout, sum+"\n")
}

// sumOfLines sums lines that end with a newline, as a terminal on other systems reads them.
func sumOfLines(_ *helper, s step) error {
	var text strings.Builder
	lines := bufio.NewScanner(os.Stdin)
	for range s.number(0) {
		lines.Scan()
		text.WriteString(lines.Text() + "\n")
	}
	return writeSum(strings.NewReader(text.String()))
}

// streams are the outputs by their numbers.
var streams = map[string]*os.File{"1": os.Stdout, "2": os.Stderr}

func writeZeros(_ *helper, s step) error {
	_, err := io.CopyN(streams[s.Words[1]], zeroReader{}, int64(s.number(0)))
	return err
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func writeNumbers(*helper, step) error {
	first, second := bufio.NewWriter(os.Stdout), bufio.NewWriter(os.Stderr)
	for i := range 50_000 {
		w := first
		if i >= 25_000 {
			_ = first.Flush()
			w = second
		}
		fmt.Fprintln(w, i+1)
	}
	return second.Flush()
}
