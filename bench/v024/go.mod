module cdr.dev/wsep/bench/v024

go 1.26.0

replace cdr.dev/wsep/bench/load => ../load

require (
	cdr.dev/wsep v0.2.4
	cdr.dev/wsep/bench/load v0.0.0-00010101000000-000000000000
	nhooyr.io/websocket v1.8.6
)

require (
	github.com/creack/pty v1.1.11 // indirect
	github.com/fatih/color v1.7.0 // indirect
	github.com/google/uuid v1.3.0 // indirect
	github.com/klauspost/compress v1.10.3 // indirect
	github.com/mattn/go-colorable v0.1.4 // indirect
	github.com/mattn/go-isatty v0.0.12 // indirect
	go.coder.com/flog v0.0.0-20190906214207-47dd47ea0512 // indirect
	golang.org/x/sync v0.0.0-20190423024810-112230192c58 // indirect
	golang.org/x/sys v0.0.0-20201119102817-f84b799fce68 // indirect
	golang.org/x/xerrors v0.0.0-20191204190536-9bdfabe68543 // indirect
)
