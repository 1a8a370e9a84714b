package vt

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// oracleDir holds the judge: xterm.js in a process of Node.
const oracleDir = "testdata/oracle"

// An oracle is that process. It answers one question at a time, for all tests of a run.
type oracle struct {
	mu  sync.Mutex
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

var theOracle oracle

func TestMain(m *testing.M) {
	code := m.Run()
	if theOracle.cmd != nil {
		_ = theOracle.in.Close()
		_ = theOracle.cmd.Wait()
	}
	os.Exit(code)
}

// A question is what testdata/oracle/oracle.cjs takes.
type question struct {
	Rows       int          `json:"rows,omitempty"`
	Cols       int          `json:"cols,omitempty"`
	Scrollback int          `json:"scrollback"`
	Steps      []any        `json:"steps,omitempty"` // []byte, or [2]int of rows and columns
	Cases      []oracleCase `json:"cases"`
	Widths     []rune       `json:"widths,omitempty"`
}

// An oracleCase is a snapshot, and where it was taken.
type oracleCase struct {
	Step     int    `json:"step"`
	Offset   int    `json:"offset"`
	Rows     int    `json:"rows"`
	Cols     int    `json:"cols"`
	Snapshot []byte `json:"snapshot"`
}

type oracleAnswer struct {
	Differences []struct {
		Case           int
		Key, Want, Got string
	}
	Replies string
	Error   string
	Widths  string
}

func (o *oracle) start(t testing.TB) {
	if o.cmd != nil {
		return
	}
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("npm is not installed, so there is no xterm.js to judge")
	}
	if _, err := os.Stat(filepath.Join(oracleDir, "node_modules/@xterm/headless/package.json")); err != nil {
		install := exec.Command("npm", "ci", "--prefer-offline", "--no-audit", "--no-fund")
		install.Dir = oracleDir
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	o.cmd = exec.Command("node", "oracle.cjs")
	o.cmd.Dir = oracleDir
	o.cmd.Stderr = os.Stderr
	var err error
	if o.in, err = o.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	o.out = bufio.NewReaderSize(out, 1<<20)
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (o *oracle) ask(t testing.TB, q question) oracleAnswer {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.start(t)
	b, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.in.Write(append(b, '\n')); err != nil {
		t.Fatal(err)
	}
	line, err := o.out.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var a oracleAnswer
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatal(err)
	}
	return a
}
