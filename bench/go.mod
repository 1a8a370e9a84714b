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
	nhooyr.io/websocket v1.8.17
)

require (
	github.com/gobwas/httphead v0.1.0 // indirect
	github.com/gobwas/pool v0.2.1 // indirect
)

require (
	cdr.dev/slog v1.6.1 // indirect
	github.com/charmbracelet/x/conpty v0.2.0 // indirect
	github.com/creack/pty v1.1.24 // indirect
	github.com/gobwas/ws v1.4.0
	github.com/google/uuid v1.6.0 // indirect
	go.opentelemetry.io/otel v1.16.0 // indirect
	go.opentelemetry.io/otel/trace v1.16.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/xerrors v0.0.0-20240903120638-7835f813f4da // indirect
)
