// Package vt is a model of a terminal: bytes of a command go in, and a snapshot comes out, a byte string that makes a
// fresh terminal show the same.
//
// The model follows xterm.js 6 with its Unicode 11 addon, to the cell: what it does with a sequence, however odd, the
// model does too. The law that the tests hold it to, with xterm.js itself as the judge: for each prefix of each input,
// a fresh xterm.js that gets the snapshot and then the rest shows what one that got everything shows.
//
// Widths are those of Unicode 11: wcwidth over single code points, where a variation selector or a joiner has width 0
// and changes no other character's width. Most terminals do the same.
//
// Everything has a bound: see the constants in terminal.go. Up to these bounds the model and xterm.js agree, but for
// what follows.
//
//   - REP repeats at most a thousand times more than there are columns.
//   - After a resize, xterm.js still has the cells of the alternate screen that were cut off, and can keep rows there that
//     have scrolled off. The model has not. Programs redraw that screen.
//   - Half a wide character, which a resize or an insertion can leave, is a blank in a snapshot.
//   - Where a restored cursor has brought back an underline or a link that the pen had left, and another cursor was saved
//     since, the pen of a snapshot shows the same but may change otherwise. A cursor saved in a row that has scrolled off
//     may be at the screen's edge then.
//   - Which colors a theme has is not known: queries are answered with those of xterm.
//
// xterm.js loses a character that is split after a byte 0x80 into two writes of bytes: U+2014 after its second byte. Who
// feeds it should decode UTF-8 first, or cut where [Terminal.Between] says so.
//
// The package does no I/O and starts no goroutine. A [Terminal] is not safe for concurrent use.
//
// # Sources
//
// Sequences: ECMA-48, DEC STD 070, and ctlseqs of xterm. States of the parser: "A parser for DEC's ANSI-compatible video
// terminals", https://vt100.net/emu/dec_ansi_parser. Hyperlinks (OSC 8):
// https://gist.github.com/egmontkob/eb114294efbcd5adb1944c9f3cb5feda. Character sets: the VT220's manual, chapter 2.
package vt
