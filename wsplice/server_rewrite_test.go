package wsplice

import (
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

// BenchmarkRewrite measures the cost of a message without the system calls.
func BenchmarkRewrite(b *testing.B) {
	for _, n := range []int{32, 128, 1 << 10, 4 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("FromClient/%d", n), func(b *testing.B) {
			chunk, count := frames(largeChunk, n, true, []byte{0, 1})
			var to batch
			d := fromClient{maxMessage: defaultMaxMessage, events: ignoring{&to}}
			b.ReportAllocs()
			b.SetBytes(int64(count * n))
			for b.Loop() {
				if used, err := d.feed(chunk); used != len(chunk) || err != nil {
					b.Fatal(used, err)
				}
				_ = to.all()
				to.reset()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/message")
		})
		b.Run(fmt.Sprintf("ToClient/%d", n), func(b *testing.B) {
			chunk, count := frames(largeChunk, n, false, nil)
			var to batch
			m := toClient{maxMessage: defaultMaxMessage, events: ignoring{}}
			b.ReportAllocs()
			b.SetBytes(int64(count * n))
			for b.Loop() {
				if used, err := m.feed(chunk, &to); used != len(chunk) || err != nil {
					b.Fatal(used, err)
				}
				_ = to.all()
				to.reset()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*count), "ns/message")
		})
	}
}

// ignoring ignores all events. to is the batch for all messages.
type ignoring struct{ to *batch }

func (n ignoring) route(int) *batch { return n.to }

func (ignoring) tooShort() {}

func (ignoring) command(ws.OpCode, []byte) {}

func (ignoring) control(ws.OpCode, []byte) error { return nil }

func (ignoring) mayPass(int64) bool { return true }
