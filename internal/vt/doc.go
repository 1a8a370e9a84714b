// Package vt is a model of a terminal: bytes of a command go in, and a snapshot comes out, a byte string that makes a
// fresh terminal show the same.
//
// The model follows xterm.js 6 with its Unicode 11 addon, to the cell: what it does with a sequence, however odd, the
// model does too. The tests check a law, with xterm.js itself as the judge. Take any prefix of any input. One fresh
// xterm.js gets the prefix's snapshot and then the rest, another one gets the whole input. Both show the same.
//
// Widths are those of Unicode 11: wcwidth over single code points, where a variation selector or a joiner has width 0
// and changes no other character's width. Most terminals do the same.
//
// Everything has a bound: see the constants in terminal.go. Up to these bounds the model and xterm.js agree, but for
// what follows.
//
//   - REP repeats at most a thousand times more than there are columns.
//   - After a resize, xterm.js still has the cells that the alternate screen has lost, and may keep rows of it that have
//     scrolled off. The model drops both. Programs redraw that screen.
//   - A resize can wrap more rows than the scrollback has room for. The model drops the oldest. xterm.js then puts some of them in
//     place of the newest rows, or drops them too, which depends on what has scrolled off before.
//   - The oldest row that is left may have continued another one. To the model it begins a line.
//   - Half a wide character, which a resize or an insertion can leave, is a blank in a snapshot.
//   - Restoring a cursor can bring back an underline or a link that the pen had left. If another cursor is saved after that,
//     a snapshot's pen prints the same, but later changes of it may have other effects. On the alternate screen a pending wrap is
//     lost then. A cursor that was saved in a row that has scrolled off may then be at the screen's edge.
//   - Without wraparound, what xterm.js leaves of a wide character at the right edge depends on what comes in one write. The model
//     takes each character as a write of its own.
//   - The model does not know a theme's colors. It answers queries with those of xterm.
//
// xterm.js loses a character whose bytes come in two writes, if the first write ends with a byte 0x80: U+2014 after its
// second byte. So a program that feeds xterm.js should decode UTF-8 first, or cut where [Terminal.Between] says so.
//
// The package does no I/O and starts no goroutine. A [Terminal] is not safe for concurrent use.
//
// # Sources
//
// Sequences: ECMA-48, DEC STD 070, and ctlseqs of xterm. States of the parser: "A parser for DEC's ANSI-compatible video
// terminals", https://vt100.net/emu/dec_ansi_parser. Hyperlinks (OSC 8):
// https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda. Character sets: the VT220's manual, chapter 2.
package vt
