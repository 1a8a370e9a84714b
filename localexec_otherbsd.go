//go:build freebsd || netbsd || openbsd || dragonfly

package wsep

// utf8Input is for systems whose terminals know of UTF-8.
const utf8Input = 0
