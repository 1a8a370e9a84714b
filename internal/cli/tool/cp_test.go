//go:build linux

package tool

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cuttest"
)

// longTests says whether tests may take long.
var longTests = os.Getenv("WSEP_LONG_TESTS") != ""

// TestHostileArchive has archives of a host that wants to write elsewhere.
func TestHostileArchive(t *testing.T) {
	file := func(name string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o6755, Size: 4}
	}
	folder := func(name string) *tar.Header { return &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
	link := func(name, to string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}
	}
	hard := func(name, to string) *tar.Header {
		return &tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o644}
	}
	for name, headers := range map[string][]*tar.Header{
		"absolute":                  {file("/etc/evil")},
		"above":                     {file("../evil")},
		"above from below":          {folder("a"), file("a/../../evil")},
		"another name":              {folder("a"), file("evil")},
		"the folder itself":         {folder(".")},
		"a dot before the name":     {folder("."), file("./evil")},
		"through a link":            {folder("a"), link("a/l", "../.."), file("a/l/evil")},
		"through an absolute link":  {folder("a"), link("a/l", "OUTSIDE"), file("a/l/evil")},
		"through the top":           {link("a", "OUTSIDE"), file("a/evil")},
		"a folder through a link":   {folder("a"), link("a/l", "OUTSIDE"), folder("a/l/evil")},
		"a folder that is a link":   {folder("a"), link("a/l", "OUTSIDE"), folder("a/l")},
		"a hard link to elsewhere":  {folder("a"), hard("a/l", "/etc/passwd")},
		"a hard link to above":      {folder("a"), hard("a/l", "a/../../secret")},
		"a hard link through links": {folder("a"), link("a/l", "OUTSIDE"), hard("a/m", "a/l/secret")},
		"a link through a link":     {folder("a"), link("a/l", "OUTSIDE"), link("a/l/evil", "x")},
		"a file for a folder":       {folder("a"), folder("a/b"), file("a/b")},
	} {
		t.Run(name, func(t *testing.T) {
			outside, target := t.TempDir(), t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("kept"), 0o600))
			var archive bytes.Buffer
			w := tar.NewWriter(&archive)
			for _, h := range headers {
				if h.Linkname == "OUTSIDE" {
					h.Linkname = outside
				}
				require.NoError(t, w.WriteHeader(h))
				if h.Typeflag == tar.TypeReg {
					_, err := io.WriteString(w, "evil")
					require.NoError(t, err)
				}
			}
			require.NoError(t, w.Close())
			root, err := os.OpenRoot(target)
			require.NoError(t, err)
			defer root.Close()
			require.Error(t, (&unpacker{root: root, name: "copy", warnings: io.Discard}).unpack(&archive))
			entries, err := os.ReadDir(outside)
			require.NoError(t, err)
			require.Len(t, entries, 1)
			entries, err = os.ReadDir(target)
			require.NoError(t, err)
			for _, entry := range entries {
				require.Equal(t, "copy", entry.Name())
			}
		})
	}
}

// TestUnpackReplacesLinks: a link in the place of a file is replaced, not followed. Setuid is dropped.
func TestUnpackReplacesLinks(t *testing.T) {
	outside, target := filepath.Join(t.TempDir(), "outside"), t.TempDir()
	require.NoError(t, os.WriteFile(outside, []byte("kept"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(target, "copy")))
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Mode: 0o6755, Size: 3}))
	_, err := io.WriteString(w, "new")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	root, err := os.OpenRoot(target)
	require.NoError(t, err)
	defer root.Close()
	require.NoError(t, (&unpacker{root: root, name: "copy", warnings: io.Discard}).unpack(&archive))
	content, err := os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "kept", string(content))
	info, err := os.Lstat(filepath.Join(target, "copy"))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o755), info.Mode())
}

// TestDamageAtTheHost has a host whose tar writes something else.
func TestDamageAtTheHost(t *testing.T) {
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	makeTree(t, filepath.Join(dir, "tree"), 3, 1000)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tree", "-a\nstrange \\name"), []byte("x"), 0o644))
	require.NoError(t, os.Mkdir(bin, 0o755))
	c := newCopier(serve(t))
	require.NoError(t, c.upload(t.Context(), filepath.Join(dir, "tree"), filepath.Join(dir, "there")))
	spoil := "#!/bin/sh\nPATH=${PATH#*:}\ntar \"$@\" && printf x | dd of=" + filepath.Join(dir, "there/large") + " conv=notrunc 2>/dev/null\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "tar"), []byte(spoil), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	err := c.upload(t.Context(), filepath.Join(dir, "tree/large"), filepath.Join(dir, "there"))
	require.ErrorContains(t, err, "the copy of large is damaged")
}

// TestCopyOverCuts copies many files and a large one to a server and back, over a line that is cut again and again.
func TestCopyOverCuts(t *testing.T) {
	files, large := 500, int64(20<<20)
	if longTests {
		files, large = 5000, 2<<30
	}
	dir := t.TempDir()
	makeTree(t, filepath.Join(dir, "tree"), files, large)
	var back atomic.Bool
	proxy := cuttest.New(t, serve(t), func() cuttest.Plan {
		return cuttest.Plan{How: cuttest.Reset, Up: !back.Load(), After: large / 4}
	})
	c := newCopier(proxy.URL())
	require.NoError(t, c.upload(t.Context(), filepath.Join(dir, "tree"), filepath.Join(dir, "there")))
	there := proxy.Cuts()
	require.Positive(t, there)
	back.Store(true)
	wsep.Dialer{URL: proxy.URL()}.CloseIdleConnections() // They have the plan of the way there.
	require.NoError(t, c.download(t.Context(), filepath.Join(dir, "there"), filepath.Join(dir, "back")))
	require.Greater(t, proxy.Cuts(), there)
	want := hashes(t, filepath.Join(dir, "tree"))
	require.Len(t, want, files+1)
	require.Equal(t, want, hashes(t, filepath.Join(dir, "there")))
	require.Equal(t, want, hashes(t, filepath.Join(dir, "back")))
}

// TestDamageIsTold has a host whose hash is another.
func TestDamageIsTold(t *testing.T) {
	var complaints tail
	_, _ = io.WriteString(&complaints, "wsep-sha256 0123  -\n")
	require.ErrorContains(t, complaints.check(make([]byte, sha256.Size), io.Discard), "damaged")
	require.ErrorContains(t, new(tail).check(make([]byte, sha256.Size), io.Discard), "damaged", "no hash is no proof")

	zeros := strings.Repeat("00", sha256.Size)
	for name, tc := range map[string]struct{ printed, want string }{
		"right":             {zeros + " *./a\n\\" + zeros + "  ./b\\nb\n", ""},
		"a name's lines":    {zeros + " *./a\nb\n" + zeros + " *./b\n", ""},
		"another":           {zeros + " *./a\n" + strings.Repeat("01", sha256.Size) + " *./b\n", "the copy of b is damaged"},
		"not all":           {zeros + " *./a\n", "the copy of b is not verified"},
		"nothing":           {"", "the copy of a is not verified"},
		"none in the midst": {zeros + " *./a\nnone\n", "the copy of b is not verified"},
	} {
		t.Run(name, func(t *testing.T) {
			check := &sumCheck{want: []sum{{name: "a"}, {name: "b"}}}
			for _, b := range []byte(tc.printed) {
				_, err := check.Write([]byte{b})
				require.NoError(t, err)
			}
			if err := check.result(io.Discard); tc.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tc.want)
			}
		})
	}
}

// TestUnverifiedCopyIsTold has a host without a program for the hash.
func TestUnverifiedCopyIsTold(t *testing.T) {
	var complaints tail
	var warnings strings.Builder
	_, _ = io.WriteString(&complaints, "wsep-sha256 none\n")
	require.NoError(t, complaints.check(make([]byte, sha256.Size), &warnings))
	require.Contains(t, warnings.String(), "not verified")

	warnings.Reset()
	check := &sumCheck{want: []sum{{name: "a"}}}
	_, _ = io.WriteString(check, "none\n")
	require.NoError(t, check.result(&warnings))
	require.Contains(t, warnings.String(), "not verified")
}

func newCopier(url string) *copier {
	return &copier{execer: wsep.Dialer{URL: url}, progress: newProgress(io.Discard, true), warnings: io.Discard}
}

// serve serves this machine's commands until the test ends.
func serve(t testing.TB) string {
	srv := wsep.NewServer()
	web := httptest.NewServer(&wsep.Handler{Execer: wsep.LocalExecer{}, Server: srv})
	t.Cleanup(web.Close)
	t.Cleanup(srv.Close)
	return web.URL
}

// makeTree makes files of different sizes, and one large one. None can be compressed.
func makeTree(t testing.TB, dir string, files int, large int64) {
	seed := rand.NewChaCha8([32]byte{1})
	for i := range files {
		name := filepath.Join(dir, fmt.Sprint(i%50), fmt.Sprintf("file %d", i))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		content := make([]byte, i%7000)
		_, _ = seed.Read(content)
		require.NoError(t, os.WriteFile(name, content, 0o644))
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	f, err := os.Create(filepath.Join(dir, "large"))
	require.NoError(t, err)
	defer f.Close()
	_, err = io.CopyN(f, seed, large)
	require.NoError(t, err)
}

// hashes returns the hash of each file in a folder.
func hashes(t *testing.T, dir string) map[string][sha256.Size]byte {
	all := map[string][sha256.Size]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		hash := sha256.New()
		if _, err := io.Copy(hash, f); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		all[name] = [sha256.Size]byte(hash.Sum(nil))
		return err
	}))
	return all
}

// BenchmarkCopy compares wsep cp with a tar that is piped into wsep exec tar, which checks and shows nothing. The two take turns, so
// that they have the same machine. The metric is how fast wsep cp is beside the other.
func BenchmarkCopy(b *testing.B) {
	const large = 256 << 20
	dir := b.TempDir()
	makeTree(b, filepath.Join(dir, "tree"), 0, large)
	url := serve(b)
	b.SetBytes(2 * large)
	var copied, piped time.Duration
	for b.Loop() {
		began := time.Now()
		require.NoError(b, newCopier(url).upload(b.Context(), filepath.Join(dir, "tree"), filepath.Join(dir, "there")))
		between := time.Now()
		require.NoError(b, pipeTar(b.Context(), url, dir))
		copied, piped = copied+between.Sub(began), piped+time.Since(between)
	}
	b.ReportMetric(piped.Seconds()/copied.Seconds(), "of-tar")
}

func pipeTar(ctx context.Context, url, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	local := exec.CommandContext(ctx, "tar", "-cf", "-", "-C", dir, "tree")
	packed, err := local.StdoutPipe()
	if err != nil {
		return err
	}
	if err := local.Start(); err != nil {
		return err
	}
	target := filepath.Join(dir, "piped")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	err = wsep.Run(ctx, wsep.Dialer{URL: url}, wsep.Command{Command: "tar", Args: []string{"-xf", "-", "-C", target}}, packed, nil, nil)
	if err != nil {
		return err
	}
	return local.Wait()
}
