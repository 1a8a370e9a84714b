module cdr.dev/wsep

go 1.26.0

require (
	cdr.dev/slog v1.6.1
	github.com/charmbracelet/x/conpty v0.2.0
	github.com/creack/pty v1.1.24
	golang.org/x/sys v0.49.0
	golang.org/x/xerrors v0.0.0-20240903120638-7835f813f4da
	nhooyr.io/websocket v1.8.17
)

require (
	github.com/stretchr/testify v1.12.1 // indirect
	go.opentelemetry.io/otel v1.16.0 // indirect
	go.opentelemetry.io/otel/trace v1.16.0 // indirect
	golang.org/x/term v0.47.0 // indirect
)
