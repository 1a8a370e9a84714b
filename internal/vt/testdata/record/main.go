// Command record makes testdata/recordings: what programs write in a terminal of 24 rows and 80 columns while somebody
// types. It needs bash, vim, less, htop, top and tmux:
//
//	go run ./internal/vt/testdata/record internal/vt/testdata/recordings [NAME…]
package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/creack/pty"
)

// A recording is a command for the shell, and what is typed: each once the program has been quiet for a moment.
type recording struct {
	name, command string
	keys          []string
}

var recordings = []recording{
	{"bash", "exec bash --norc -i", []string{"ls --color=always\r", "seq 40\r", `printf '\e[3mitalic\e[0m \e]8;;http://a.example/\e\\link\e]8;;\e\\\n'` + "\r",
		"echo wrong\x7f\x7f\x7f\x01\x05 word\r", "head -3 text\r", "\x1b[A\x1b[A\x03", "clear\r", "echo " + "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\x01\x05\r", "exit\r"}},
	{"vim", `exec vim -u NONE -N -c "syntax on" -c "set number hlsearch showcmd ruler" program.go`, []string{"G", "ofunc f() {\x1b", "gg", "/fmt\r", "n", ":set wrap!\r",
		":split text\r", "\x06", "\x17j", "dd", "u", ":q!\r", "v3jy", "P", ":q!\r", ":q!\r"}},
	{"less", "exec less -R -N text", []string{" ", " ", "b", "/fox\r", "n", "G", "g", "-S\r", "\x1b[C", "\x1b[D", "q"}},
	{"top", "exec top -d 1 -p $$", []string{"1", "z", "c", "H", "q"}},
	{"htop", "exec htop -d 10 -p $$", []string{"\x1bOB", "t", "H", "\x1b[18~", "q"}},
	{"tmux", `exec tmux -f /dev/null new -s s "tmux set -g status-right end; PS1=% exec sh"`, []string{"seq 30\r", "\x02\"", "ls\r", "\x02%", "echo right\r",
		"\x02o", "\x02[", "\x1b[5~", "q", "\x02z", "exit\r", "exit\r", "exit\r"}},
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: record DIRECTORY [NAME…]")
	}
	home, err := os.MkdirTemp("", "record")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(home)
	writeFiles(home)
	for _, r := range recordings {
		if names := os.Args[2:]; len(names) > 0 && !slices.Contains(names, r.name) {
			continue
		}
		b, err := r.run(home)
		if err != nil {
			log.Fatalf("%s: %v", r.name, err)
		}
		if err := os.WriteFile(filepath.Join(os.Args[1], r.name+".bin"), b, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}

// writeFiles writes what the programs show.
func writeFiles(dir string) {
	var text []byte
	for i := range 300 {
		text = fmt.Appendf(text, "%03d\tThe quick brown fox jumps over the lazy dog. Das 漢字 und ein längerer Satz, der umbricht: %d\n", i, i*i)
	}
	program := `package main

import "fmt"

// main says hello, in a comment that goes on beyond the right edge of a terminal of 80 columns, so that it wraps.
func main() {
	for i := 0; i < 10; i++ {
		fmt.Printf("hello, 世界 %d\n", i)
	}
}
`
	for name, b := range map[string][]byte{"text": text, "program.go": []byte(program)} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			log.Fatal(err)
		}
	}
}

func (r recording) run(home string) ([]byte, error) {
	cmd := exec.Command("sh", "-c", r.command)
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH"), "TERM=xterm-256color", "LANG=C.UTF-8",
		`PS1=\[\e[1;32m\]$\[\e[0m\] `, "HISTFILE=", "TMUX_TMPDIR=" + home, "SHELL=/bin/sh"}
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	chunks := make(chan []byte)
	go func() { // Ends when the program has.
		defer close(chunks)
		for {
			b := make([]byte, 4096)
			n, err := f.Read(b)
			if err != nil {
				return
			}
			chunks <- b[:n]
		}
	}()
	var out []byte
	keys, deadline := r.keys, time.After(time.Minute)
	for {
		select {
		case b, ok := <-chunks:
			if !ok {
				return out, cmd.Wait()
			}
			out = append(out, b...)
		case <-time.After(600 * time.Millisecond):
			if len(keys) > 0 {
				_, _ = f.WriteString(keys[0])
				keys = keys[1:]
			}
		case <-deadline:
			_ = cmd.Process.Kill()
			return nil, fmt.Errorf("it has not ended")
		}
	}
}
