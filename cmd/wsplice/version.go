package main

import "runtime/debug"

// ownVersion returns the version of the module that the program was built from, as the go command knows it.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}
