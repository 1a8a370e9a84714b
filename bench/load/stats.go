package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
)

// Stats describes a process's memory.
type Stats struct {
	// Resident is the resident memory in KiB, after garbage collection.
	Resident float64 `json:"resident"`
	// Mallocs is how many objects have been allocated so far.
	Mallocs uint64 `json:"mallocs"`
}

// idle returns the server's memory, in KiB, for a process that does nothing.
func (b *Bench) idle(ctx context.Context) (float64, error) {
	// For the first processes the server allocates memory that later ones share.
	if err := b.warmServer(ctx); err != nil {
		return 0, err
	}
	before, err := b.Stats(ctx)
	if err != nil {
		return 0, err
	}
	// Cat does nothing while its stdin stays open, and exits with the server at the latest.
	processes, err := b.startMany(ctx, b.Idle, Cat)
	if err != nil {
		return 0, err
	}
	after, err := b.Stats(ctx)
	_ = closeAll(processes) // v0.2.4 sometimes fails to close a connection.
	return (after.Resident - before.Resident) / float64(b.Idle), err
}

func (b *Bench) warmServer(ctx context.Context) error {
	for range warmUp {
		p, err := b.Start(ctx, Nothing)
		if err != nil {
			return err
		}
		if err := errors.Join(drain(p, 0), p.Close()); err != nil {
			return err
		}
	}
	return nil
}

// message is how many bytes count as a message, however large the messages of a version are.
const message = 64_000

// allocs returns how many objects client and server together allocate for a message. As many messages go up as down. It moves
// two amounts of data and returns the difference, so that start and end do not count.
func (b *Bench) allocs(ctx context.Context) (float64, error) {
	once, err := b.echoMallocs(ctx, b.Size)
	if err != nil {
		return 0, err
	}
	twice, err := b.echoMallocs(ctx, 2*b.Size)
	if err != nil {
		return 0, err
	}
	messages := 2 * float64(b.Size) / message
	return max(0, twice-once) / messages, nil
}

// echoMallocs returns how many objects are allocated while data goes there and back.
func (b *Bench) echoMallocs(ctx context.Context, size int64) (float64, error) {
	before, err := b.mallocs(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := b.echoTime(ctx, size); err != nil {
		return 0, err
	}
	after, err := b.mallocs(ctx)
	return after - before, err
}

// mallocs returns how many objects client and server have allocated.
func (b *Bench) mallocs(ctx context.Context) (float64, error) {
	server, err := b.Stats(ctx)
	if err != nil {
		return 0, err
	}
	var client runtime.MemStats
	runtime.ReadMemStats(&client)
	return float64(server.Mallocs + client.Mallocs), nil
}

// serveStats is the handler that tells a server's Stats.
func serveStats(w http.ResponseWriter, _ *http.Request) { answer(w, ownStats) }

// answer answers a request with what ask returns at the client.
func answer[T any](w http.ResponseWriter, own func() (T, error)) {
	value, err := own()
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotImplemented)
		return
	}
	_ = json.NewEncoder(w).Encode(value)
}

func ownStats() (stats Stats, err error) {
	// The second collection frees objects that pools have kept through the first.
	debug.FreeOSMemory()
	debug.FreeOSMemory()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	stats.Mallocs = mem.Mallocs
	stats.Resident, err = resident()
	return stats, err
}

// resident returns this process's resident memory in KiB.
func resident() (kib float64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(status) {
		if _, err := fmt.Sscanf(string(line), "VmRSS: %f kB", &kib); err == nil {
			return kib, nil
		}
	}
	return 0, errors.New("no VmRSS in /proc/self/status")
}

// fetchStats asks the server at the URL.
func fetchStats(ctx context.Context, url string) (stats Stats, err error) {
	err = ask(ctx, url+statsPath, &stats)
	return stats, err
}

// ask sets value to what the server answers to a request for the URL.
func ask(ctx context.Context, url string, value any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(value)
}
