package history_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep/fleet/internal/history"
)

// story tells a history. Each word takes a second.
type story struct{ history.History }

func (s *story) note(a history.Attach) {
	a.Owner, a.Began = "alice", time.Now()
	time.Sleep(time.Second)
	a.Ended = time.Now()
	s.Note(a)
	time.Sleep(time.Second)
}

func (s *story) created(name, token, node string) {
	s.note(history.Attach{Name: name, Token: token, Node: node, Created: true})
}
func (s *story) found(name, token string) { s.note(history.Attach{Name: name, Token: token}) }
func (s *story) byID(name, id, token string) {
	s.note(history.Attach{Name: name, ID: id, Token: token})
}
func (s *story) notFound(name, id string) {
	s.note(history.Attach{Name: name, ID: id, NotFound: true})
}

// failed is a client that was told nothing about the session.
func (s *story) failed(name string) { s.note(history.Attach{Name: name}) }

func (s *story) freed(name string) {
	s.Freed("alice", name)
	time.Sleep(time.Second)
}
func (s *story) drained(node string) {
	s.Drained(node)
	time.Sleep(time.Second)
}
func (s *story) undrained(node string) {
	s.Undrained(node)
	time.Sleep(time.Second)
}

// overlapping notes an attach that began so long ago.
func (s *story) overlapping(ago time.Duration, a history.Attach) {
	a.Owner, a.Began, a.Ended = "alice", time.Now().Add(-ago), time.Now()
	s.Note(a)
}

// TestCheck has histories with a violation of each rule, and histories without one.
func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		what string
		tell func(s *story) (settled time.Time)
		want []history.Rule
	}{
		{"nothing", func(*story) time.Time { return time.Now() }, nil},
		{"all is well", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.created("b", "2", "n1")
			s.found("a", "1")
			s.failed("a")
			s.byID("a", "w1.a", "1")
			settled := time.Now()
			s.found("a", "1")
			s.found("b", "2")
			s.byID("a", "w1.a", "1")
			return settled
		}, nil},
		{"one client alone was told of the start", func(s *story) time.Time {
			s.failed("a")
			s.found("a", "1")
			return time.Time{}
		}, nil},
		{"name leads to another shell", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.found("a", "2")
			return time.Time{}
		}, []history.Rule{history.WrongShell}},
		{"name leads to the shell of another name", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.freed("b")
			s.found("b", "1")
			return time.Time{}
		}, []history.Rule{history.WrongShell}},
		{"ID leads to another shell", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.byID("a", "w1.a", "1")
			s.byID("a", "w1.a", "9")
			return time.Time{}
		}, []history.Rule{history.WrongShell}},
		{"ID leads to the shell of another name", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.created("b", "2", "n1")
			s.byID("a", "w1.a", "2")
			return time.Time{}
		}, []history.Rule{history.WrongShell}},
		{"two IDs lead to one shell", func(s *story) time.Time {
			s.byID("a", "w1.a", "1")
			s.byID("a", "w1.b", "1")
			return time.Time{}
		}, []history.Rule{history.WrongShell}},
		{"created twice", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.created("a", "2", "n2")
			return time.Time{}
		}, []history.Rule{history.GivenTwice}},
		{"created twice at the same time", func(s *story) time.Time {
			s.overlapping(time.Second, history.Attach{Name: "a", Token: "1", Created: true})
			s.overlapping(time.Second, history.Attach{Name: "a", Token: "2", Created: true})
			return time.Time{}
		}, []history.Rule{history.GivenTwice}},
		{"freed and created again", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.freed("a")
			s.notFound("a", "")
			s.created("a", "2", "n2")
			s.overlapping(time.Minute, history.Attach{Name: "a", Token: "1"})
			s.byID("a", "w1.a", "1")
			s.found("a", "2")
			return time.Time{}
		}, nil},
		{"freed once and created twice", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.freed("a")
			s.created("a", "2", "n2")
			s.created("a", "3", "n3")
			return time.Time{}
		}, []history.Rule{history.GivenTwice}},
		{"name goes back", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.freed("a")
			s.created("a", "2", "n2")
			s.found("a", "1")
			return time.Time{}
		}, []history.Rule{history.WrongShell}},
		{"freed too late", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.created("a", "2", "n2")
			s.freed("a")
			return time.Time{}
		}, []history.Rule{history.GivenTwice}},
		{"name is gone", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.notFound("a", "")
			s.found("a", "1")
			return time.Time{}
		}, []history.Rule{history.Lost}},
		{"name is not there yet", func(s *story) time.Time {
			s.notFound("a", "")
			s.created("a", "1", "n1")
			s.overlapping(time.Minute, history.Attach{Name: "a", NotFound: true})
			return time.Time{}
		}, nil},
		{"ID is gone", func(s *story) time.Time {
			s.byID("a", "w1.a", "1")
			s.notFound("a", "w1.a")
			return time.Time{}
		}, []history.Rule{history.Lost}},
		{"not reached at the end", func(s *story) time.Time {
			s.created("a", "1", "n1")
			settled := time.Now()
			s.failed("a")
			return settled
		}, []history.Rule{history.Lost}},
		{"placed after a drain", func(s *story) time.Time {
			s.drained("n1")
			s.created("a", "1", "n1")
			return time.Time{}
		}, []history.Rule{history.AfterDrain}},
		{"placed beside a drain", func(s *story) time.Time {
			s.created("a", "1", "n1")
			s.drained("n1")
			s.overlapping(time.Minute, history.Attach{Name: "b", Token: "2", Node: "n1", Created: true})
			s.found("a", "1")
			s.created("c", "3", "n2")
			s.undrained("n1")
			s.created("d", "4", "n1")
			return time.Time{}
		}, nil},
	} {
		t.Run(tc.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &story{}
				settled := tc.tell(s)
				var got []history.Rule
				for _, v := range s.Check(settled) {
					got = append(got, v.Rule)
					require.NotEmpty(t, v.String())
				}
				require.Equal(t, tc.want, got)
			})
		})
	}
}
