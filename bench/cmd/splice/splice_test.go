package main

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

// shapesOf returns the shapes of all streams that are measured.
func shapesOf(tag byte) (shapes []shape) {
	for _, payload := range fullPlan.payloads {
		for _, prefix := range [][]byte{nil, {0, 7}} {
			shapes = append(shapes, shape{prefix, payload, tag, false}, shape{prefix, payload, tag, true})
		}
	}
	return shapes
}

func TestReceiverCounts(t *testing.T) {
	for _, s := range shapesOf('a') {
		block, messages := s.block()
		stream := bytes.Join([][]byte{{0x89, 0}, block, {0x8a, 1, 'x'}, s.last()}, nil)
		r := newReceiver(s, iotest.HalfReader(bytes.NewReader(stream)))
		if err := r.receive(); err != nil || r.messages != messages || r.reader.Buffered() != 0 {
			t.Errorf("%+v: %d messages of %d, %v", s, r.messages, messages, err)
		}
	}
}

func TestReceiverFindsWhatIsNotItsOwn(t *testing.T) {
	for _, s := range shapesOf('a') {
		other, longer, mask, prefix := s, s, s, s
		other.tag++
		longer.payload++
		mask.masked = !s.masked
		prefix.prefix = append([]byte{1}, s.prefix...)
		for _, wrong := range []shape{other, longer, mask, prefix} {
			r := newReceiver(s, bytes.NewReader(append(wrong.frame(nil), s.last()...)))
			if r.receive() == nil {
				t.Errorf("%+v is taken for %+v", wrong, s)
			}
		}
	}
}

func TestDirect(t *testing.T) {
	b, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer b.listener.Close()
	for _, w := range quickPlan.works() {
		figure, err := w.do(t.Context(), quickPlan, b.direct)
		if err != nil || figure <= 0 {
			t.Errorf("%+v: %v, %v", w, figure, err)
		}
		t.Logf("%+v: %.1f", w, figure)
	}
}

// A stream that is stopped before it has begun has a rate, too.
func TestSendsSome(t *testing.T) {
	from, to := net.Pipe()
	defer from.Close()
	// Ends with the pipe.
	go func() { _, _ = io.Copy(io.Discard, to) }()
	var stop atomic.Bool
	stop.Store(true)
	s := &stream{from: from, sent: shape{payload: tripPayload}}
	if err := s.send(&stop); err != nil || s.messages == 0 {
		t.Errorf("%d messages, %v", s.messages, err)
	}
}

// The figure counts messages that have arrived, and not those that were sent.
func TestLossIsFound(t *testing.T) {
	from, to := net.Pipe()
	to.Close()
	s := &stream{from: from, messages: 2}
	s.received.messages = 1
	if checkCounts([]*stream{s}) == nil {
		t.Error("not found")
	}
}

// A target without a measurement could not be missed.
func TestEveryTargetIsJudged(t *testing.T) {
	var measured []*measurement
	for _, w := range append(fullPlan.works(), work{Kind: idle, Clients: 1}) {
		measured = append(measured, &measurement{work: w, Direct: []float64{1}, Through: []float64{1}})
	}
	if got, want := len(judge(measured)), len(shares)*len(fullPlan.clients)+2; got != want {
		t.Errorf("%d verdicts, want %d", got, want)
	}
}

func TestVerdict(t *testing.T) {
	for _, tc := range []struct {
		work
		direct, through []float64
		met             bool
	}{
		{work{string(up), 32, 32}, []float64{100, 100, 100}, []float64{1, 24, 99}, true},
		{work{string(up), 32, 32}, []float64{100, 100, 100}, []float64{1, 23, 99}, false},
		{work{string(up), 1, 32}, []float64{100}, []float64{17}, true},
		{work{string(up), 128, 32}, []float64{100}, []float64{15}, false},
		{work{trip, 1, tripPayload}, []float64{10}, []float64{22}, true},
		{work{trip, 1, tripPayload}, []float64{10}, []float64{23}, false},
		{work{Kind: idle, Clients: 1}, nil, []float64{24}, true},
		{work{Kind: idle, Clients: 1}, nil, []float64{25}, false},
	} {
		verdicts := judge([]*measurement{{work: tc.work, Direct: tc.direct, Through: tc.through}})
		if len(verdicts) != 1 || verdicts[0].Met != tc.met {
			t.Errorf("%+v: %+v", tc, verdicts)
		}
	}
}

// A transfer ends also if the stream stops too early.
func TestReceiverNoticesTheEnd(t *testing.T) {
	b, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer b.listener.Close()
	p, err := b.direct(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	s := newStream(p, 0, 32, up)
	time.AfterFunc(10*time.Millisecond, func() { _ = p.client.Close() })
	if err := transfer([]*stream{s}, time.Minute); err == nil {
		t.Error("no error")
	}
}
