package wsplice

import "golang.org/x/sys/windows"

// errRefused is the system's error if nothing listens at an address. syscall.ECONNREFUSED is none that Windows returns.
const errRefused = windows.WSAECONNREFUSED
