//go:build linux

package wsep_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// notFromSuite are the tests of v0.2.4 that are skipped, with the reasons.
var notFromSuite = map[string]string{
	"TestRemoteStdin":           "it looks at internals",
	"TestReconnectTTY/NoSize":   "a terminal without a size is no error: it has 24 rows and 80 columns",
	"TestReconnectTTY/NoScreen": "without screen this version keeps the session itself: see SessionsAuto",
}

// TestSuiteOfV024 runs the tests of the published wsep v0.2.4 against this version. There they are in package wsep. Here they
// are in package ci/v024suite, which gets its names from this version. The only other package with tests is internal.
func TestSuiteOfV024(t *testing.T) {
	skipIfShort(t)
	needScreen(t)
	t.Parallel()
	published := goIn(t, filepath.Join("ci", "v024"), "list", "-m", "-f", "{{.Dir}}", "cdr.dev/wsep")
	module, err := filepath.Abs(filepath.Join("ci", "v024suite"))
	require.NoError(t, err)
	work := suiteDir(t, published)
	files, err := filepath.Glob(filepath.Join(published, "*_test.go"))
	require.NoError(t, err)
	overlay := map[string]string{}
	for _, file := range files {
		name := filepath.Base(file)
		overlay[filepath.Join(module, name)] = filepath.Join(work, name)
		require.NoError(t, os.WriteFile(filepath.Join(work, name), moveTests(t, file), 0o600))
	}
	replacing, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(work, "overlay.json"), replacing, 0o600))
	goIn(t, module, "test", "-c", "-o", filepath.Join(work, "suite"), "-overlay", filepath.Join(work, "overlay.json"), ".")
	runSuite(t, work)
}

// goIn runs the go command in a directory, and returns what it prints.
func goIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &stderr)
	return strings.TrimSpace(string(out))
}

// suiteDir returns a directory for the suite and its sessions, with the script that the suite runs.
func suiteDir(t *testing.T, published string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ws") // The path of a socket must be short.
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	script, err := os.ReadFile(filepath.Join(published, "ci", "alt.sh"))
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "ci"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ci", "alt.sh"), script, 0o700))
	return dir
}

// moveTests returns a file of the suite, changed for a package outside of this one. Skipped tests that would not build are
// left out.
func moveTests(t *testing.T, path string) []byte {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	file.Name.Name = "v024suite"
	file.Decls = slices.DeleteFunc(file.Decls, func(d ast.Decl) bool {
		f, ok := d.(*ast.FuncDecl)
		return ok && notFromSuite[f.Name.Name] != ""
	})
	used := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := selector.X.(*ast.Ident); ok {
				used[x.Name] = true
			}
		}
		return true
	})
	for _, d := range file.Decls {
		if imports, ok := d.(*ast.GenDecl); ok && imports.Tok == token.IMPORT {
			imports.Specs = append(keepImports(imports.Specs, used), &ast.ImportSpec{
				Name: ast.NewIdent("."), Path: &ast.BasicLit{Kind: token.STRING, Value: `"cdr.dev/wsep"`},
			})
		}
	}
	ast.Inspect(file, sleepLonger)
	var moved bytes.Buffer
	require.NoError(t, format.Node(&moved, files, file))
	return moved.Bytes()
}

// sleepLonger makes a call of time.Sleep in the suite sleep twice as long. The suite sleeps just as long as a session's timeout, and
// then expects the session's end. The server's timeout begins a little later, when it notices that the client is gone.
func sleepLonger(n ast.Node) bool {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return true
	}
	if f, ok := call.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sleep" {
		call.Args[0] = &ast.BinaryExpr{X: &ast.BasicLit{Kind: token.INT, Value: "2"}, Op: token.MUL, Y: &ast.ParenExpr{X: call.Args[0]}}
	}
	return true
}

// keepImports returns the imports that are used, by their paths' last elements.
func keepImports(specs []ast.Spec, used map[string]bool) []ast.Spec {
	return slices.DeleteFunc(specs, func(s ast.Spec) bool {
		path := strings.Trim(s.(*ast.ImportSpec).Path.Value, `"`)
		return !used[path[strings.LastIndex(path, "/")+1:]]
	})
}

// runSuite runs the suite that was built in a directory. All tests must pass.
func runSuite(t *testing.T, dir string) {
	t.Helper()
	skip := strings.Join(slices.Sorted(maps.Keys(notFromSuite)), "|")
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "suite"), "-test.v", "-test.timeout=2m", "-test.skip="+skip)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "--- SKIP")
	for _, name := range []string{"TestTTY", "TestReconnectTTY/Regular", "TestRemoteExec"} {
		require.Contains(t, string(out), fmt.Sprintf("--- PASS: %s (", name))
	}
	// Sessions of the deprecated Serve are never closed. They end with their server.
	require.Eventually(t, func() bool { return len(sessionFiles(t, dir)) == 0 }, patience, 10*time.Millisecond)
}
