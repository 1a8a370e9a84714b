package wsep

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/internal/wstest"
)

// echoing is a process whose output is its input.
func echoing() fakeExecer {
	r, w := io.Pipe()
	return fakeExecer{
		stdin: w, stdout: r, stderr: noOutput{},
		wait: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		},
	}
}

// BenchmarkRoundTrip measures the way of a message from the client to a process and back, in memory. The allocations are the
// connection's, which copies each message.
func BenchmarkRoundTrip(b *testing.B) {
	for _, size := range []int{1, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%d bytes", size), func(b *testing.B) {
			near, far := wstest.Pipe()
			served := make(chan error, 1)
			// Ends when the client closes the connection.
			go func() { served <- new(Server).ServeConn(b.Context(), far, echoing(), nil) }()
			p, err := RemoteExecerConn(near).Start(b.Context(), Command{Command: "x", Stdin: true})
			require.NoError(b, err)
			sent, got := make([]byte, size), make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Stdin().Write(sent); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(p.Stdout(), got); err != nil {
					b.Fatal(err)
				}
			}
			_ = near.CloseNow()
			<-served
			_ = far.CloseNow()
		})
	}
}
