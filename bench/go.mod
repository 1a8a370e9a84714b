module cdr.dev/wsep/bench

go 1.26.0

replace (
	cdr.dev/wsep => ../
	cdr.dev/wsep/bench/load => ./load
)

require (
	cdr.dev/wsep v0.0.0-00010101000000-000000000000
	cdr.dev/wsep/bench/load v0.0.0-00010101000000-000000000000
	github.com/coder/websocket v1.8.15
	github.com/gobwas/ws v1.4.0
	golang.org/x/sys v0.47.0
	nhooyr.io/websocket v1.8.17
)

require (
	cdr.dev/slog v1.4.2 // indirect
	github.com/charmbracelet/x/conpty v0.2.0 // indirect
	github.com/creack/pty v1.1.24 // indirect
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/gobwas/pool v0.2.1 // indirect
	github.com/golang/groupcache v0.0.0-20200121045136-8c9f03a8e57e // indirect
	github.com/google/uuid v1.2.0 // indirect
	go.opencensus.io v0.24.0 // indirect
	golang.org/x/xerrors v0.0.0-20220907171357-04be3eba64a2 // indirect
)
