package tool

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/peerlog"
)

func (t *tool) cp() *cobra.Command {
	var quiet bool
	c := &cobra.Command{
		Use:   "cp [flags] SOURCE TARGET",
		Short: "Copy a file or a folder to a host, or from it",
		Long: `Copies a file or a folder, with all that is in it, to a host or from it. One of SOURCE and TARGET is there: [HOST]:PATH, with
the name of a host in the configuration, or without one for --url. A path with a colon on this machine begins with ./ or /.

If TARGET is a folder, the copy goes into it. Modes, times and symbolic links are kept, owners are not. The two ends
compare hashes (SHA-256) of what was copied. The host needs sh and tar. Nothing is written outside of TARGET, whatever the host
sends.`,
		Example: "  wsep cp file :/tmp\n  wsep cp :/var/log logs\n  wsep cp folder box:backup",
		Args:    between(2, 2),
	}
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	server := addServer(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		from, to := parsePlace(args[0]), parsePlace(args[1])
		if from.remote == to.remote {
			return usagef("one of SOURCE and TARGET is at a host: [HOST]:PATH")
		}
		there := from
		if to.remote {
			there = to
		}
		if there.path == "" {
			return usagef("%q names no path", there.host+":")
		}
		if there.host != "" {
			if err := c.Flags().Set("url", there.host); err != nil {
				return err
			}
		}
		s, err := server()
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		copying := &copier{execer: s.Dialer(), progress: newProgress(t.stderr, quiet), warnings: t.stderr}
		defer copying.progress.end()
		if to.remote {
			return fail(copying.upload(ctx, from.path, to.path))
		}
		return fail(copying.download(ctx, from.path, to.path))
	}
	return c
}

// place is a path, here or at a host.
type place struct {
	remote bool
	host   string
	path   string
}

// parsePlace parses [HOST]:PATH, or a path of this machine. A letter before the colon is a drive of Windows.
func parsePlace(text string) place {
	host, path, ok := strings.Cut(text, ":")
	if !ok || strings.ContainsAny(host, `/\`) || (filepath.Separator == '\\' && len(host) == 1) {
		return place{path: text}
	}
	return place{remote: true, host: host, path: path}
}

// copier copies between this machine and a host.
type copier struct {
	execer   wsep.Execer
	progress *progress
	warnings io.Writer
}

// These scripts run at the host. The comment in each says what it does.
var (
	//go:embed cp_find.sh
	findScript string
	//go:embed cp_take.sh
	takeScript string
	//go:embed cp_check.sh
	checkScript string
	//go:embed cp_give.sh
	giveScript string
)

// bufferSize is how many bytes of an archive are handed on at a time.
const bufferSize = 256 << 10

// upload copies a path of this machine to the host.
func (c *copier) upload(ctx context.Context, from, to string) error {
	if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
		return xerrors.Errorf("%s: there is no such file or folder", from)
	} else if err != nil {
		return err
	}
	absolute, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	dir, name, err := c.find(ctx, to, filepath.Base(absolute))
	if err != nil {
		return err
	}
	archive, feed := io.Pipe()
	defer archive.Close()
	buffered, packed := bufio.NewWriterSize(feed, bufferSize), make(chan error, 1)
	p := newPacker(io.MultiWriter(buffered, c.progress))
	// Ends when all is packed, or when the archive is closed.
	go func() {
		err := p.pack(absolute, name)
		if err == nil {
			err = buffered.Flush()
		}
		packed <- err
		_ = feed.CloseWithError(err)
	}()
	var complaints tail
	err = wsep.Run(ctx, c.execer, script(takeScript, dir), archive, nil, &complaints)
	_ = archive.Close()
	packErr := <-packed
	if err != nil && (packErr == nil || errors.Is(packErr, io.ErrClosedPipe)) {
		return remoteError("copy to "+to, err, complaints.text())
	}
	if packErr != nil {
		return packErr
	}
	return c.verify(ctx, dir, p.sums)
}

// find returns the folder and the name at the host of a copy to a path. base is the name that the copy has in a folder.
func (c *copier) find(ctx context.Context, to, base string) (dir, name string, err error) {
	var out bytes.Buffer
	var complaints tail
	if err := wsep.Run(ctx, c.execer, script(findScript, to, base), nil, &out, &complaints); err != nil {
		return "", "", remoteError("copy to "+to, err, complaints.text())
	}
	words := strings.Split(out.String(), "\x00")
	if len(words) != 3 {
		return "", "", xerrors.Errorf("the host answers %q", out.String())
	}
	return words[0], words[1], nil
}

// download copies a path of the host to this machine.
func (c *copier) download(ctx context.Context, from, to string) error {
	base := path.Base(path.Clean("/" + from))
	dir, name := filepath.Split(filepath.Clean(to))
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		dir, name = to, base
	}
	if dir == "" {
		dir = "."
	}
	if name == "/" || name == "." || name == ".." {
		return xerrors.Errorf("%s has no name: name the copy in TARGET", from)
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return xerrors.Errorf("%s: there is no such folder", dir)
	}
	if err != nil {
		return err
	}
	defer root.Close()
	archive, feed := io.Pipe()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var complaints tail
	ran := make(chan error, 1)
	// Ends with the command, which the context's end ends.
	go func() {
		err := wsep.Run(ctx, c.execer, script(giveScript, from), nil, feed, &complaints)
		_ = feed.Close()
		ran <- err
	}()
	hash := sha256.New()
	u := &unpacker{root: root, name: name, warnings: c.warnings}
	unpackErr := u.unpack(bufio.NewReaderSize(io.TeeReader(archive, io.MultiWriter(hash, c.progress)), bufferSize))
	if unpackErr != nil {
		_ = archive.CloseWithError(unpackErr)
		stop()
	}
	err = <-ran
	switch {
	case unpackErr != nil && !errors.Is(unpackErr, errNoArchive):
		return unpackErr
	case err != nil && !errors.Is(err, errNoArchive):
		return remoteError("copy "+from, err, complaints.text())
	case unpackErr != nil:
		return unpackErr
	}
	return complaints.check(hash.Sum(nil), c.warnings)
}

func script(text string, args ...string) wsep.Command {
	return wsep.Command{Command: "sh", Args: append([]string{"-c", text, "sh"}, args...)}
}

// remoteError returns what a person needs to know of a script's failure.
func remoteError(doing string, err error, complaints string) error {
	exit, exited := errors.AsType[wsep.ExitError](err)
	switch {
	case exited && exit.ExitCode() == noTarCode:
		return xerrors.Errorf("%s: the host has no tar", doing)
	case exited && complaints != "":
		return xerrors.Errorf("%s: %s", doing, peerlog.Text(complaints))
	case exited:
		return xerrors.Errorf("%s: %v", doing, err)
	case errors.Is(err, exec.ErrNotFound):
		return xerrors.Errorf("%s: the host has no sh: %w", doing, err)
	}
	return xerrors.Errorf("%s: %w", doing, err)
}

// noTarCode is the exit code of the scripts if there is no tar.
const noTarCode = 97

// tail keeps the end of what is written to it. It is safe for concurrent use.
type tail struct {
	mu  sync.Mutex // guards end
	end []byte
}

// maxTail is how much is kept, in bytes.
const maxTail = 2 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p[max(0, len(p)-maxTail):]...)
	t.end = t.end[max(0, len(t.end)-maxTail):]
	return len(p), nil
}

// text returns the last lines, without that with the hash.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text, _, _ := bytes.Cut(t.end, []byte(hashPrefix))
	return strings.TrimSpace(string(text))
}

// hashPrefix is what the line with the host's hash begins with.
const hashPrefix = "wsep-sha256 "

const noHashWarning = "the copy is not verified: the host has no program for SHA-256"

// check compares the host's hash with this machine's. It warns if the host has none.
func (t *tail) check(sum []byte, warnings io.Writer) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, line, _ := bytes.Cut(t.end, []byte(hashPrefix))
	hash, _, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	switch hash {
	case "none":
		warn(warnings, noHashWarning)
		return nil
	case hex.EncodeToString(sum):
		return nil
	}
	return xerrors.New("the copy is damaged: the hashes of the two ends differ")
}

// warn tells of what could not be copied as it is.
func warn(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "%s: %s\n", program, peerlog.Text(fmt.Sprintf(format, args...)))
}
