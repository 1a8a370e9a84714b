package tool

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/xerrors"
)

// packer writes an archive.
type packer struct {
	archive *tar.Writer
	buf     []byte
	hash    hash.Hash
	sums    []sum // of the files, in their order in the archive
}

func newPacker(w io.Writer) *packer {
	return &packer{archive: tar.NewWriter(w), buf: make([]byte, bufferSize), hash: sha256.New()}
}

// pack packs a path under a name, and ends the archive.
func (p *packer) pack(from, name string) error {
	err := filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		return p.packOne(file, path.Join(name, filepath.ToSlash(relative)))
	})
	if err != nil {
		return err
	}
	return p.archive.Close()
}

// packOne packs one file, folder or symbolic link. Of anything else it returns an error.
func (p *packer) packOne(file, name string) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	target := ""
	switch info.Mode().Type() {
	case 0, fs.ModeDir:
	case fs.ModeSymlink:
		if target, err = os.Readlink(file); err != nil {
			return err
		}
	default:
		return xerrors.Errorf("%s is no file, folder or symbolic link", file)
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name = name
	if info.IsDir() {
		header.Name += "/"
	}
	header.Uid, header.Gid, header.Uname, header.Gname = 0, 0, "", ""
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
	header.ModTime = header.ModTime.Truncate(time.Second)
	header.Format = tar.FormatGNU // BusyBox knows no other with long names.
	if err := p.archive.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	err = p.packContent(file, header.Size)
	p.sums = append(p.sums, sum{name, [sha256.Size]byte(p.hash.Sum(nil))})
	return err
}

// packContent packs a file's content, and leaves its hash in p.hash.
func (p *packer) packContent(file string, size int64) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	p.hash.Reset()
	n, err := io.CopyBuffer(io.MultiWriter(p.archive, p.hash), io.LimitReader(f, size), p.buf)
	if err == nil && n < size {
		err = xerrors.Errorf("%s has become shorter while it was copied", file)
	}
	return err
}

// unpacker writes an archive into a folder, and nothing outside of that: the root follows no link that leads out.
type unpacker struct {
	root     *os.Root
	name     string // of the copy in the folder
	warnings io.Writer
	top      string // the name in the archive
	folders  []*tar.Header
	buf      []byte
}

var errNoArchive = xerrors.New("the host has sent nothing")

// unpack reads an archive to its end.
func (u *unpacker) unpack(r io.Reader) error {
	archive := tar.NewReader(r)
	u.buf = make([]byte, bufferSize)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return xerrors.Errorf("read archive: %w", err)
		}
		if err := u.take(header, archive); err != nil {
			return err
		}
	}
	if u.top == "" {
		return errNoArchive
	}
	if _, err := io.Copy(io.Discard, r); err != nil { // The hash counts what pads the archive.
		return xerrors.Errorf("read archive: %w", err)
	}
	return u.finishFolders()
}

// place returns where an entry goes. All entries have the same first name, and stay below it.
func (u *unpacker) place(name string) (string, error) {
	clean := path.Clean(name)
	first, rest, _ := strings.Cut(clean, "/")
	if u.top == "" {
		u.top = first
	}
	if !filepath.IsLocal(filepath.FromSlash(clean)) || first == "." || first != u.top {
		return "", xerrors.Errorf("the host sends %q, which is outside of what was asked for", name)
	}
	return filepath.Join(u.name, filepath.FromSlash(rest)), nil
}

// take writes one entry.
func (u *unpacker) take(header *tar.Header, content io.Reader) error {
	to, err := u.place(header.Name)
	if err != nil {
		return err
	}
	header.Name = to
	switch header.Typeflag {
	case tar.TypeDir:
		return u.takeFolder(header)
	case tar.TypeReg:
		return u.takeFile(header, content)
	case tar.TypeSymlink:
		if err := u.clear(to); err != nil {
			return err
		}
		return u.root.Symlink(header.Linkname, to)
	case tar.TypeLink:
		linked, err := u.place(header.Linkname)
		if err != nil {
			return err
		}
		if err := u.clear(to); err != nil {
			return err
		}
		return u.root.Link(linked, to)
	}
	warn(u.warnings, "%s is no file, folder or link, and is left out", to)
	return nil
}

// clear removes what is in the place of an entry. A folder stays in nobody's place.
func (u *unpacker) clear(to string) error {
	info, err := u.root.Lstat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return xerrors.Errorf("%s is a folder", to)
	}
	return u.root.Remove(to)
}

// takeFolder makes a folder that can be written to. finishFolders gives it its mode.
func (u *unpacker) takeFolder(header *tar.Header) error {
	err := u.root.Mkdir(header.Name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		info, statErr := u.root.Lstat(header.Name)
		if statErr == nil && !info.IsDir() {
			return xerrors.Errorf("%s is no folder", header.Name)
		}
		err = statErr
	}
	u.folders = append(u.folders, header)
	return err
}

func (u *unpacker) takeFile(header *tar.Header, content io.Reader) error {
	if err := u.clear(header.Name); err != nil {
		return err
	}
	f, err := u.root.OpenFile(header.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, content, u.buf)
	if err == nil {
		err = f.Chmod(permissions(header))
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return xerrors.Errorf("write %s: %w", header.Name, err)
	}
	return u.root.Chtimes(header.Name, header.ModTime, header.ModTime)
}

// finishFolders sets the modes and times of the folders, the inner ones first.
func (u *unpacker) finishFolders() error {
	for i := len(u.folders) - 1; i >= 0; i-- {
		header := u.folders[i]
		if err := u.root.Chmod(header.Name, permissions(header)); err != nil {
			return err
		}
		if err := u.root.Chtimes(header.Name, header.ModTime, header.ModTime); err != nil {
			return err
		}
	}
	return nil
}

// permissions returns a mode without setuid, setgid and sticky: a host must not make programs of another user's here.
func permissions(header *tar.Header) fs.FileMode { return fs.FileMode(header.Mode) & fs.ModePerm }
