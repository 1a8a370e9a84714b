//go:build freebsd || netbsd || openbsd || dragonfly

package wsep

// utf8Input is 0 here: the terminals of these systems have no mode for UTF-8.
const utf8Input = 0
