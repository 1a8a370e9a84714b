//go:build linux

package vt_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/vt"
)

// TestAttachWithinRecordings attaches to sessions that have shown a part of a recording. With what the client gets, and the rest of
// the recording, xterm.js shows what it shows after all of the recording.
func TestAttachWithinRecordings(t *testing.T) {
	files, err := filepath.Glob("testdata/recordings/*.bin")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	for _, file := range files {
		recording, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for part := 1; part < 8; part += 2 {
			offset := len(recording) * part / 8
			t.Run(fmt.Sprint(strings.TrimSuffix(filepath.Base(file), ".bin"), " ", part), func(t *testing.T) {
				shown := attachAfter(t, file, recording[:offset])
				if d := vt.Judge(t, recording, offset, shown); d != "" {
					t.Error(d)
				}
			})
		}
	}
}

// attachAfter returns what a client gets that attaches to a session in which the first bytes of a file have been shown.
func attachAfter(t *testing.T, file string, first []byte) []byte {
	t.Helper()
	session := wsep.NewSession(&wsep.Command{
		Command: "sh", Args: []string{"-c", fmt.Sprintf("stty raw -echo; head -c %d %s; exec sleep 1000", len(first), file)},
		Scrollback: 1000,
	}, wsep.LocalExecer{}, &wsep.Options{Sessions: wsep.SessionsNative, Scrollback: 1000})
	defer session.Close("the test is over")
	want := vt.New(24, 80, 1000)
	want.Write(first)
	attached(t, session, want) // Now the session has shown them all.
	return attached(t, session, want)
}

// attached attaches to a session, and returns what it gets until that shows what is wanted.
func attached(t *testing.T, session *wsep.Session, want *vt.Terminal) (shown []byte) {
	t.Helper()
	p, err := session.Attach(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	limit := time.AfterFunc(20*time.Second, func() { _ = p.Close() })
	defer limit.Stop()
	got := vt.New(24, 80, 1000)
	for buf := make([]byte, 1<<20); !bytes.Equal(got.Snapshot(1000), want.Snapshot(1000)); {
		n, err := p.Stdout().Read(buf)
		got.Write(buf[:n])
		shown = append(shown, buf[:n]...)
		if err != nil {
			t.Fatalf("%v: shown %q\ngot %q\nwant %q", err, shown, got.Snapshot(0), want.Snapshot(0))
		}
	}
	return shown
}
