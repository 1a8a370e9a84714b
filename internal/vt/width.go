package vt

import "sort"

// runeWidth returns how many columns a character takes in Unicode 11: 0, 1 or 2. It is meant for what a terminal prints:
// control characters have width 0.
func runeWidth(r rune) int {
	switch {
	case r < 0x20 || r >= 0x7f && r < 0xa0:
		return 0
	case r < 0x300, r >= 0x2500 && r < 0x25fd:
		return 1
	case r >= 0x4e00 && r <= 0x9fff, r >= 0xac00 && r <= 0xd7a3:
		return 2
	case within(zeroWidth, r):
		return 0
	case within(wide, r):
		return 2
	}
	return 1
}

func within(spans []span, r rune) bool {
	i := sort.Search(len(spans), func(i int) bool { return spans[i].last >= r })
	return i < len(spans) && spans[i].first <= r
}
