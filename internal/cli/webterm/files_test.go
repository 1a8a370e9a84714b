package webterm

import (
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

var compressedFiles = fstest.MapFS{
	"index.html":          {Data: []byte("page")},
	"index.html.br":       {Data: []byte("page in br")},
	"index.html.gz":       {Data: []byte("page in gzip")},
	"assets/main-A.js":    {Data: []byte("main")},
	"assets/main-A.js.gz": {Data: []byte("main in gzip")},
	"assets/icon-A.svg":   {Data: []byte("icon")},
}

func TestFilesAreServedInAnAcceptedEncoding(t *testing.T) {
	url, _ := start(t, compressedFiles, "")
	for _, tc := range []struct{ path, accept, encoding, body string }{
		{"/", "identity", "", "page"},
		{"/", "gzip, deflate, br, zstd", "br", "page in br"},
		{"/", "gzip, deflate", "gzip", "page in gzip"},
		{"/", "GZIP;q=0.5", "gzip", "page in gzip"},
		{"/", "br;q=0, gzip; q=0.0", "", "page"},
		{"/", "brotli", "", "page"},
		{"/assets/main-A.js", "gzip, br", "gzip", "main in gzip"},
		{"/assets/main-A.js", "br", "", "main"},
		{"/assets/icon-A.svg", "gzip, br", "", "icon"},
	} {
		resp, body := ask(t, http.MethodGet, url+tc.path, http.Header{"Accept-Encoding": {tc.accept}})
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, tc.encoding, resp.Header.Get("Content-Encoding"), "%s for %q", tc.path, tc.accept)
		require.Equal(t, tc.body, body)
		require.Equal(t, "Accept-Encoding", resp.Header.Get("Vary"))
	}
}

func TestFilesHaveTheTypeOfTheirContent(t *testing.T) {
	url, _ := start(t, compressedFiles, "")
	for path, want := range map[string]string{
		"/":                  "text/html",
		"/assets/main-A.js":  "text/javascript",
		"/assets/icon-A.svg": "image/svg+xml",
	} {
		resp, _ := ask(t, http.MethodGet, url+path, http.Header{"Accept-Encoding": {"gzip"}})
		require.Contains(t, resp.Header.Get("Content-Type"), want)
	}
}

func TestOnlyAssetsAreCached(t *testing.T) {
	url, _ := start(t, compressedFiles, "")
	for path, want := range map[string]string{
		"/":                  "no-cache",
		"/api/server":        "no-cache",
		"/assets/main-A.js":  "public, max-age=31536000, immutable",
		"/assets/icon-A.svg": "public, max-age=31536000, immutable",
	} {
		resp, _ := ask(t, http.MethodGet, url+path, http.Header{"Accept-Encoding": {"identity"}})
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.Equal(t, want, resp.Header.Get("Cache-Control"), path)
	}
	for _, path := range []string{"/assets/main-B.js", "/assets/", "/assets"} {
		resp, body := ask(t, http.MethodGet, url+path, nil)
		require.Equal(t, http.StatusNotFound, resp.StatusCode, body)
		require.NotContains(t, resp.Header.Get("Cache-Control"), "immutable", path)
	}
}

func TestPolicyNamesThePagesOwnScripts(t *testing.T) {
	page := "<script>alert('Hello, world.');</script><script src=x></script><script>\n1\n</script>"
	url, _ := start(t, fstest.MapFS{"index.html": {Data: []byte(page)}, "x": {}}, "")
	resp, _ := ask(t, http.MethodGet, url+"/", nil)
	// The first hash is the example of section 2.3.1 of the specification.
	want := "script-src 'self' 'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng=' 'sha256-"
	require.Contains(t, resp.Header.Get("Content-Security-Policy"), want)
	require.Equal(t, 2, strings.Count(resp.Header.Get("Content-Security-Policy"), "sha256-"))
	resp, _ = ask(t, http.MethodGet, url+"/x", nil)
	require.Contains(t, resp.Header.Get("Content-Security-Policy"), "script-src 'self';")
}
