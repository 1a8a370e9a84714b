package tool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"

	"golang.org/x/xerrors"

	"cdr.dev/wsep"
)

// sum is the hash of a file that was sent.
type sum struct {
	name string // in the folder at the host
	hash [sha256.Size]byte
}

// verify has the host read the files that it has written, and compares their hashes with those of what was sent.
func (c *copier) verify(ctx context.Context, dir string, sums []sum) error {
	if len(sums) == 0 {
		return nil
	}
	var names bytes.Buffer
	for _, s := range sums {
		names.WriteString("./" + s.name + "\x00")
	}
	var complaints tail
	check := &sumCheck{want: sums}
	if err := wsep.Run(ctx, c.execer, script(checkScript, dir), &names, check, &complaints); err != nil {
		return remoteError("verify the copy", err, complaints.text())
	}
	return check.result(c.warnings)
}

// sumCheck takes the lines that the host prints, and compares them with the hashes that it should print.
type sumCheck struct {
	want []sum
	next int    // the first whose line has not come
	line []byte // the beginning of the line that comes
	none bool   // the host has no program for hashes
	err  error
}

// maxSumLine is how many bytes of a line matter: a backslash, which marks an escaped name, and the hash.
const maxSumLine = 1 + 2*sha256.Size

// Write implements io.Writer.
func (c *sumCheck) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		c.line = append(c.line, part[:min(len(part), maxSumLine-len(c.line))]...)
		if ended {
			c.take(bytes.TrimPrefix(c.line, []byte(`\`)))
			c.line = c.line[:0]
		}
		rest = after
	}
	return len(p), nil
}

// take takes the beginning of a line. A name with a line's end in it may make more lines, which have no hash.
func (c *sumCheck) take(line []byte) {
	var hash [sha256.Size]byte
	c.none = c.none || string(line) == "none"
	if len(line) < hex.EncodedLen(len(hash)) || c.next == len(c.want) || c.err != nil {
		return
	}
	if _, err := hex.Decode(hash[:], line[:hex.EncodedLen(len(hash))]); err != nil {
		return
	}
	if want := c.want[c.next]; hash != want.hash {
		c.err = xerrors.Errorf("the copy of %s is damaged: the hashes of the two ends differ", want.name)
	}
	c.next++
}

// result is called after the last line. It warns if the host has no program for hashes.
func (c *sumCheck) result(warnings io.Writer) error {
	switch {
	case c.err != nil:
		return c.err
	case c.next == len(c.want):
		return nil
	case c.none && c.next == 0:
		warn(warnings, noHashWarning)
		return nil
	}
	return xerrors.Errorf("the copy of %s is not verified: the host has sent no hash", c.want[c.next].name)
}
