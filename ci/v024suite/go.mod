module cdr.dev/wsep/ci/v024suite

go 1.26.0

require (
	cdr.dev/slog v1.4.2
	cdr.dev/wsep v0.0.0
	github.com/google/uuid v1.2.0
	golang.org/x/sync v0.25.0
	golang.org/x/xerrors v0.0.0-20220907171357-04be3eba64a2
	nhooyr.io/websocket v1.8.17
)

require (
	github.com/alecthomas/chroma v0.10.0 // indirect
	github.com/charmbracelet/x/conpty v0.2.0 // indirect
	github.com/coder/websocket v1.8.15 // indirect
	github.com/creack/pty v1.1.24 // indirect
	github.com/dlclark/regexp2 v1.4.0 // indirect
	github.com/fatih/color v1.13.0 // indirect
	github.com/golang/groupcache v0.0.0-20200121045136-8c9f03a8e57e // indirect
	github.com/google/go-cmp v0.5.3 // indirect
	github.com/mattn/go-colorable v0.1.9 // indirect
	github.com/mattn/go-isatty v0.0.14 // indirect
	go.opencensus.io v0.24.0 // indirect
	golang.org/x/crypto v0.56.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/term v0.45.0 // indirect
)

replace cdr.dev/wsep => ../..
