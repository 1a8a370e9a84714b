package wsep

import "golang.org/x/sys/unix"

// utf8Input is the mode of a terminal whose input is UTF-8: see termios(4), IUTF8.
const utf8Input = unix.IUTF8
