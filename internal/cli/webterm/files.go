package webterm

import (
	"crypto/sha256"
	"encoding/base64"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// assets is the folder of the files whose names change with their content.
const assets = "/assets/"

// encodings are the encodings of the build's compressed copies, the best first, with the suffixes of the copies' names.
var encodings = []struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

// serveFile serves a file of the page, or a compressed copy if the client accepts one.
func serveFile(w http.ResponseWriter, r *http.Request, files fs.FS) {
	if strings.HasSuffix(r.URL.Path, "/") && r.URL.Path != "/" {
		http.NotFound(w, r) // FileServerFS would list the folder.
		return
	}
	w.Header().Add("Vary", "Accept-Encoding")
	if strings.HasPrefix(r.URL.Path, assets) {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.FileServerFS(files).ServeHTTP(w, compressed(w.Header(), r, files))
}

// compressed returns a request for the compressed copy, and sets its headers. Without a copy it returns the request itself.
func compressed(h http.Header, r *http.Request, files fs.FS) *http.Request {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if name == "" {
		name = "index.html"
	}
	for _, e := range encodings {
		if _, err := fs.Stat(files, name+e.suffix); err != nil || !accepts(r, e.name) {
			continue
		}
		h.Set("Content-Encoding", e.name)
		h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
		copied := r.Clone(r.Context())
		copied.URL.Path = "/" + name + e.suffix
		return copied
	}
	return r
}

// accepts reports whether the request names an encoding as accepted: RFC 9110 section 12.5.3.
func accepts(r *http.Request, encoding string) bool {
	for _, header := range r.Header.Values("Accept-Encoding") {
		for accepted := range strings.SplitSeq(header, ",") {
			name, weight, _ := strings.Cut(accepted, ";")
			if strings.EqualFold(strings.TrimSpace(name), encoding) {
				return !isZero(weight)
			}
		}
	}
	return false
}

// isZero reports whether a weight such as "q=0.0" is zero, which forbids the encoding.
func isZero(weight string) bool {
	_, value, _ := strings.Cut(weight, "=")
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	return err == nil && q == 0
}

var inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

// scriptHashes returns the hashes of the scripts that index.html contains, each after a space, in a policy's format:
// https://www.w3.org/TR/CSP3/#grammardef-hash-source.
func scriptHashes(files fs.FS) string {
	page, err := fs.ReadFile(files, "index.html")
	if err != nil {
		return "" // Then there is no page to serve.
	}
	var hashes strings.Builder
	for _, found := range inlineScript.FindAllSubmatch(page, -1) {
		hash := sha256.Sum256(found[1])
		hashes.WriteString(" 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'")
	}
	return hashes.String()
}
