package daemon

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

// newPair returns a node with a gateway of its own, and a gateway in another program.
func newPair(b *testing.B) (own, other *machine) {
	m := newMachines(b)
	m.peers = "n1=" + m.host + ":7001"
	own = m.add("n1", "--peers", m.peers)
	own.awaitNodes(1)
	other = m.add("n2", "--peers", m.peers, "--roles", "gateway")
	other.awaitNodes(1)
	return own, other
}

// BenchmarkHop sends a line to a command and waits for it: through the gateway of the node's own program, and through another one. The
// difference is what a hop costs.
func BenchmarkHop(b *testing.B) {
	own, other := newPair(b)
	for name, gateway := range map[string]*machine{"own": own, "hop": other} {
		b.Run(name, func(b *testing.B) {
			client := gateway.startCat("")
			for b.Loop() {
				client.echo("line")
			}
			client.end()
		})
	}
}

// BenchmarkStart begins a conversation and waits for its end: through the gateway of the node's own program, and through another one. The
// command of "command" runs. That of "attach" has ended, and is kept with its name.
func BenchmarkStart(b *testing.B) {
	own, other := newPair(b)
	own.mustEnd(own.dialer(), wsep.Command{ID: "ended", Keep: time.Hour, Command: "true"})
	for what, c := range map[string]wsep.Command{"command": {Command: "true"}, "attach": {ID: "ended"}} {
		for path, gateway := range map[string]*machine{"own": own, "hop": other} {
			b.Run(what+"/"+path, func(b *testing.B) {
				d := gateway.dialer()
				d.MaxIdle = 1
				defer d.CloseIdleConnections()
				for b.Loop() {
					gateway.mustEnd(d, c)
				}
			})
		}
	}
}

func (m *machine) mustEnd(d wsep.Dialer, c wsep.Command) {
	m.t.Helper()
	_, err := wsep.Output(m.t.Context(), d, c)
	require.NoError(m.t, err)
}

// BenchmarkIdle tells what idle processes cost the gateways in memory, with the hop. Some processes are there before, so what a program
// needs once is not counted. The programs collect when they like, as in use.
func BenchmarkIdle(b *testing.B) {
	own, other := newPair(b)
	for b.Loop() {
		const first, count = 300, 700
		var idle []wsep.Process
		start := func(count int) (nodes, gateways int) {
			for range count {
				p, err := other.dialer().Start(b.Context(), wsep.Command{Command: "sleep", Args: []string{"1000"}})
				require.NoError(b, err)
				idle = append(idle, p)
			}
			time.Sleep(5 * time.Second)
			return own.memory(), other.memory()
		}
		node, gateway := start(first)
		moreNode, moreGateway := start(count)
		b.ReportMetric(float64(moreGateway-gateway)/count, "gateway-KiB/process")
		b.ReportMetric(float64(moreNode-node)/count, "node-KiB/process")
		for _, p := range idle {
			require.NoError(b, p.Close())
			_ = p.Wait()
		}
	}
}

// memory returns the program's memory, in KiB.
func (m *machine) memory() (size int) {
	m.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid))
	require.NoError(m.t, err)
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	_, err = fmt.Sscan(rest, &size)
	require.NoError(m.t, err)
	return size
}
