package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/plain"
	"cdr.dev/wsep/wsplice"
)

// execute runs the command on all hosts. It returns the errors of all hosts, joined.
func execute(ctx context.Context, o options, stdout, stderr io.Writer) error {
	client, err := wsplice.Dial(ctx, o.splice, nil)
	if err != nil {
		return xerrors.Errorf("connect to wsplice: %w", inWords(err))
	}
	var wg sync.WaitGroup
	errs := make([]error, len(o.hosts))
	out := &lines{stdout: stdout, stderr: stderr}
	for i, url := range o.hosts {
		wg.Go(func() {
			if err := onHost(ctx, remote{client, url}, o.command, out.of(name(url))); err != nil {
				errs[i] = xerrors.Errorf("%s: %w", name(url), inWords(err))
			}
		})
	}
	wg.Wait()
	return errors.Join(append(errs, client.Close())...)
}

// inWords returns a connection's error in words for people. It returns other errors unchanged, a host's own among them.
func inWords(err error) error {
	_, notStarted := errors.AsType[*wsep.StartError](err)
	if words, ok := plain.Connection(err); ok && !notStarted {
		return xerrors.New(words)
	}
	return err
}

// name returns a host's name in the output.
func name(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		return u.Host
	}
	return raw
}

// remote is an Execer for one host: each command has a channel of its own.
type remote struct {
	client *wsplice.Client
	url    string
}

// Start implements wsep.Execer.
func (r remote) Start(ctx context.Context, c wsep.Command) (wsep.Process, error) {
	channel, err := r.client.Connect(ctx, r.url, nil)
	if err != nil {
		return nil, err
	}
	p, err := wsep.RemoteExecerConn(channel).Start(ctx, c)
	if err != nil {
		_ = channel.CloseNow()
	}
	return p, err
}

// onHost runs the command on any Execer, and passes on its output.
func onHost(ctx context.Context, execer wsep.Execer, command wsep.Command, out *hostLines) error {
	p, err := execer.Start(ctx, command)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { out.copy(out.stderr, p.Stderr()) })
	out.copy(out.stdout, p.Stdout())
	wg.Wait()
	return p.Wait()
}

// lines writes the hosts' output line by line, so that lines of two hosts do not mix.
type lines struct {
	mu             sync.Mutex // held while a line is written
	stdout, stderr io.Writer
}

// hostLines writes the lines of one host.
type hostLines struct {
	*lines
	host string
}

func (l *lines) of(host string) *hostLines { return &hostLines{l, host} }

// maxLine bounds a line. A longer one is written in pieces.
const maxLine = 64 << 10

// copy writes all lines of r to w. It ignores errors of r, because the process's Wait reports them.
func (l *hostLines) copy(w io.Writer, r io.Reader) {
	br := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := br.ReadSlice('\n')
		if len(line) > 0 {
			l.write(w, bytes.TrimSuffix(line, []byte("\n")))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (l *hostLines) write(w io.Writer, line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(w, "%s: %s\n", l.host, line)
}
