// Package history says whether what the clients of a fleet have seen is what a fleet promises.
//
// Each shell of a test has a token, which it tells to each client, and nobody else has it. So a client knows which shell it has reached.
// Clients note what they have asked for and what they have got, with the time. [History.Check] finds what must not be.
package history

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Attach is one start that a client has made, with what it has got. It has reached a shell if Token is set.
type Attach struct {
	// Owner and Name are the session's. Name is set too where the client has asked by ID.
	Owner, Name string
	// ID is the session's, if the client has asked by ID.
	ID string
	// Token and Node are what the shell has told.
	Token, Node string
	// Created says that the client was told that its start has created the session.
	Created bool
	// NotFound says that the client was told that there is no such session.
	NotFound bool
	// Began and Ended are when the client has asked, and when it has got the answer.
	Began, Ended time.Time
}

// Rule is what a fleet promises.
type Rule string

const (
	// WrongShell: a name, or an ID, has led to another shell than before.
	WrongShell Rule = "wrong shell"
	// GivenTwice: a name was given to two sessions at a time.
	GivenTwice Rule = "name given twice"
	// Lost: a session that was there can't be found, though nobody has ended it.
	Lost Rule = "session lost"
	// AfterDrain: a session was placed at a node after its drain was acknowledged.
	AfterDrain Rule = "placed after an acknowledged drain"
)

// Violation is something that must not be.
type Violation struct {
	Rule   Rule
	Attach Attach // that shows it
	Text   string // says what was expected
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s/%s %s at %s: %s", v.Rule, v.Attach.Owner, v.Attach.Name, v.Attach.ID, v.Attach.Began.Format(time.StampMicro), v.Text)
}

// History is what has happened. It is safe for concurrent use.
type History struct {
	mu       sync.Mutex // guards what follows
	attaches []Attach
	freed    map[key][]time.Time
	drained  map[string]span
}

type key struct{ owner, name string }

// span is a time that may not have ended.
type span struct{ from, to time.Time }

// Note notes what a client has got.
func (h *History) Note(a Attach) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attaches = append(h.attaches, a)
}

// Freed says that from now on a name may lead to one more session, once: its session was ended, its node is lost for long enough, or the
// name was forgotten.
func (h *History) Freed(owner, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.freed == nil {
		h.freed = map[key][]time.Time{}
	}
	h.freed[key{owner, name}] = append(h.freed[key{owner, name}], time.Now())
}

// Drained says that a node has acknowledged that it is to start nothing.
func (h *History) Drained(node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.drained == nil {
		h.drained = map[string]span{}
	}
	h.drained[node] = span{from: time.Now()}
}

// Undrained says that a node may start commands again.
func (h *History) Undrained(node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.drained[node]
	s.to = time.Now()
	h.drained[node] = s
}

// Check returns what must not be. After the time settled each session must have been reached once more.
func (h *History) Check(settled time.Time) (all []Violation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.SortStableFunc(h.attaches, func(a, b Attach) int { return a.Ended.Compare(b.Ended) })
	byName, byID := map[key][]Attach{}, map[string][]Attach{}
	for _, a := range h.attaches {
		k := key{a.Owner, a.Name}
		byName[k] = append(byName[k], a)
		if a.ID != "" {
			byID[a.ID] = append(byID[a.ID], a)
		}
	}
	for _, k := range sorted(byName, func(a, b key) int { return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.name, b.name)) }) {
		all = append(all, h.checkName(byName[k], h.freed[k], settled)...)
	}
	for _, id := range sorted(byID, cmp.Compare[string]) {
		all = append(all, checkID(byID[id], settled)...)
	}
	all = append(all, h.checkTokens()...)
	return append(all, h.checkDrains()...)
}

// sorted returns the keys of a map in their order.
func sorted[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}

// checkName checks the attaches to the sessions of one name.
func (h *History) checkName(attaches []Attach, freed []time.Time, settled time.Time) (all []Violation) {
	named := slices.DeleteFunc(slices.Clone(attaches), func(a Attach) bool { return a.ID != "" })
	all = append(all, checkTurns(named, freed)...)
	return append(all, checkLost(named, freed, settled)...)
}

// turn is the time in which a name has led to one shell.
type turn struct {
	token   string
	reached time.Time // when somebody had reached it
	created bool
}

// checkTurns checks that a name leads to one shell after the other, with a reason for each change.
func checkTurns(attaches []Attach, freed []time.Time) (all []Violation) {
	var turns []turn
	for _, a := range attaches {
		if a.Token == "" {
			continue
		}
		last := len(turns) - 1
		at := slices.IndexFunc(turns, func(t turn) bool { return t.token == a.Token })
		switch {
		case at < 0 && last < 0:
		case at < 0 && last < len(freed) && freed[last].Before(a.Ended):
		case at < 0 && a.Created && turns[last].created:
			all = append(all, Violation{GivenTwice, a, "it has led to the shell " + turns[last].token})
		case at < 0:
			all = append(all, Violation{WrongShell, a, "it has led to the shell " + turns[last].token + ", and now to " + a.Token})
		case at < last && turns[at+1].reached.Before(a.Began):
			all = append(all, Violation{WrongShell, a, "it leads to a shell that has lost the name"})
		}
		if at < 0 {
			turns = append(turns, turn{a.Token, a.Ended, a.Created})
		} else {
			turns[at].created = turns[at].created || a.Created
		}
	}
	return all
}

// checkLost checks that what was reached once can be reached after that, unless it was freed.
func checkLost(attaches []Attach, freed []time.Time, settled time.Time) (all []Violation) {
	var reached []time.Time
	again := false
	for _, a := range attaches {
		was := slices.ContainsFunc(reached, func(t time.Time) bool { return t.Before(a.Began) })
		if a.NotFound && was && !slices.ContainsFunc(freed, func(t time.Time) bool { return t.Before(a.Ended) }) {
			all = append(all, Violation{Lost, a, "it was there"})
		}
		if a.Token != "" {
			reached = append(reached, a.Ended)
			again = again || !a.Began.Before(settled)
		}
	}
	if len(reached) > 0 && !again {
		all = append(all, Violation{Lost, attaches[len(attaches)-1], "nobody has reached it at the end"})
	}
	return all
}

// checkID checks the attaches to one ID. It is one shell's for ever.
func checkID(attaches []Attach, settled time.Time) (all []Violation) {
	token := ""
	for _, a := range attaches {
		if token != "" && a.Token != "" && a.Token != token {
			all = append(all, Violation{WrongShell, a, "the ID is of the shell " + token + ", and led to " + a.Token})
		}
		token = cmp.Or(token, a.Token)
	}
	return append(all, checkLost(attaches, nil, settled)...)
}

// checkTokens checks that no shell is reached under two names, or by two IDs.
func (h *History) checkTokens() (all []Violation) {
	names, ids := map[string]key{}, map[string]string{}
	for _, a := range h.attaches {
		if a.Token == "" {
			continue
		}
		k := key{a.Owner, a.Name}
		if other, seen := names[a.Token]; seen && other != k {
			all = append(all, Violation{WrongShell, a, fmt.Sprintf("the shell %s is %s/%s", a.Token, other.owner, other.name)})
		}
		names[a.Token] = k
		if a.ID == "" {
			continue
		}
		if other, seen := ids[a.Token]; seen && other != a.ID {
			all = append(all, Violation{WrongShell, a, "the shell " + a.Token + " has the ID " + other})
		}
		ids[a.Token] = a.ID
	}
	return all
}

// checkDrains checks that nothing was placed at a node that drains.
func (h *History) checkDrains() (all []Violation) {
	for _, a := range h.attaches {
		s, ok := h.drained[a.Node]
		if ok && a.Created && a.Began.After(s.from) && (s.to.IsZero() || a.Ended.Before(s.to)) {
			all = append(all, Violation{AfterDrain, a, "node " + a.Node})
		}
	}
	return all
}
