package storm_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/fleet/internal/keepertest"
	"cdr.dev/wsep/internal/leaktest"
)

const (
	patience = 3 * time.Minute // A busy machine needs it.
	pause    = 20 * time.Millisecond
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// build builds wsepd, as it is installed: without the race detector, which its own packages' tests have.
func build(t *testing.T) (program string) {
	program = filepath.Join(t.TempDir(), "wsepd")
	out, err := exec.Command("go", "build", "-o", program, "cdr.dev/wsep/fleet/cmd/wsepd").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// machine is a wsepd in a process of its own, with an IP address of its own. Its state stays when it ends.
type machine struct {
	t        *testing.T
	program  string
	name, ip string
	at       *namespace // where it runs
	dir      string
	args     []string
	cmd      *exec.Cmd

	mu   sync.Mutex // guards said
	said []string   // lines of its stderr since its start
	read sync.WaitGroup
}

// ownIP returns an IP address of this machine that nobody else uses.
func ownIP() string {
	return fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
}

// newMachine returns a machine that has not started. The test's end ends it, and all that it keeps.
func newMachine(t *testing.T, program, name, ip string, at *namespace) *machine {
	dir, err := os.MkdirTemp("", "s")
	require.NoError(t, err)
	m := &machine{t: t, program: program, name: name, ip: ip, at: at, dir: dir}
	t.Cleanup(func() {
		m.kill()
		keepertest.End(t, filepath.Join(dir, "keeper"))
		require.NoError(t, os.RemoveAll(dir))
	})
	return m
}

const (
	clientPort  = "8080"
	metricsPort = "9100"
)

// start starts wsepd, or starts it again.
func (m *machine) start() {
	args := append([]string{"--name", m.name, "--dir", m.dir, "--metrics", m.ip + ":" + metricsPort}, m.args...)
	m.cmd = exec.Command(m.program, args...)
	m.cmd.Env = append(os.Environ(), "WSEP_TEST_NODE="+m.name)
	stderr, err := m.cmd.StderrPipe()
	require.NoError(m.t, err)
	require.NoError(m.t, m.at.do(m.cmd.Start))
	m.mu.Lock()
	m.said = nil
	m.mu.Unlock()
	// Ends when wsepd does.
	m.read.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			m.mu.Lock()
			m.said = append(m.said, lines.Text())
			m.mu.Unlock()
		}
	})
}

// told returns what the gateway has told about the nodes, whenever they have changed.
func (m *machine) told() (nodes []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.said {
		if _, told, ok := strings.Cut(line, ": nodes: "); ok {
			nodes = append(nodes, told)
		}
	}
	return nodes
}

// knows reports whether the gateway knows these nodes, and no others.
func (m *machine) knows(nodes string) bool {
	told := m.told()
	return len(told) > 0 && told[len(told)-1] == nodes
}

// awaitNodes waits until the machine knows these nodes, and no others.
func (m *machine) awaitNodes(nodes string) {
	m.t.Helper()
	require.Eventually(m.t, func() bool { return m.knows(nodes) }, patience, pause, "%s does not know %s: %s", m.name, nodes, m.lines())
}

func (m *machine) lines() lines { return lines{m} }

// lines are what a machine has said when they are printed.
type lines struct{ *machine }

func (l lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.said, "\n")
}

func (m *machine) signal(s syscall.Signal) { _ = m.cmd.Process.Signal(s) }

// kill is kill -9.
func (m *machine) kill() {
	if m.cmd != nil {
		m.signal(syscall.SIGKILL)
		m.await()
	}
}

// end ends wsepd as an operator does.
func (m *machine) end() {
	m.signal(syscall.SIGTERM)
	m.await()
}

// await waits for the end of wsepd. It returns its exit code.
func (m *machine) await() int {
	m.read.Wait()
	_ = m.cmd.Wait()
	return m.cmd.ProcessState.ExitCode()
}

// ask asks wsepd what an operator asks.
func (m *machine) ask(ctx context.Context, method, path string, answer any) error {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(m.dir, "admin.sock"))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, method, "http://wsepd"+path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	return json.Unmarshal(text, answer)
}

// registryCalls returns how often the machine has asked the registry on behalf of a client.
func (m *machine) registryCalls() (calls float64) {
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + m.ip + ":" + metricsPort + "/metrics")
	require.NoError(m.t, err)
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	require.NoError(m.t, err)
	for _, metric := range families["wsep_fleet_registry_calls_total"].GetMetric() {
		switch metric.Label[0].GetValue() {
		case "find", "claim", "claims", "nodes":
			calls += metric.GetCounter().GetValue()
		}
	}
	return calls
}
