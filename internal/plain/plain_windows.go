package plain

import "golang.org/x/sys/windows"

// These are the system's errors of sockets. Those of package syscall, such as ECONNREFUSED, are none that Windows returns.
const (
	errRefused   = windows.WSAECONNREFUSED
	errNoHost    = windows.WSAEHOSTUNREACH
	errNoNetwork = windows.WSAENETUNREACH
	errReset     = windows.WSAECONNRESET
	errPipe      = windows.WSAECONNABORTED
	errInUse     = windows.WSAEADDRINUSE
	errNoAddress = windows.WSAEADDRNOTAVAIL
)
