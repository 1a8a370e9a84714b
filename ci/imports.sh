#!/usr/bin/env bash
# Checks that imports go one way, tests excepted. A rule about a package that does not exist holds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

module=$(go list -m)
# One line for each package and each package that it depends on, however far away.
dependencies=$(go list -f '{{range .Deps}}{{$.ImportPath}} {{.}}{{"\n"}}{{end}}' ./...)
status=0

# complain NAME LINES reports the dependencies that break a rule.
complain() {
	if [ -n "$2" ]; then
		printf '%s must not import:\n%s\n' "$1" "$2" >&2
		status=1
	fi
}

# of PACKAGE prints the lines of a package of this module, or of the root for ".", with a directory's whole tree for a
# PACKAGE that ends in /...
of() {
	local path=$module/$1
	case $1 in
	.) path=$module ;;
	*/...) path="$module/${1%/...}(/[^ ]+)?" ;;
	esac
	grep -E "^$path " <<<"$dependencies" || true
}

# only PACKAGE [PATTERN] lets a package import the standard library and what matches the pattern.
only() {
	local allowed='[^ ./]+(/[^ ]*)?'
	[ $# -lt 2 ] || allowed="$allowed|$2"
	complain "$1" "$(of "$1" | grep -vE " ($allowed)$" || true)"
}

# never PACKAGE PATTERN keeps a package of this module from importing others of it.
never() {
	complain "$1" "$(of "$1" | grep -E " $module$2$" || true)"
}

programs='/(dev|cmd|bench)(/.*)?'
only internal/proto
only internal/flow 'golang\.org/x/xerrors(/.*)?'
only internal/signame
only internal/termmodes
only internal/vt
never internal/peerlog '(/.*)?'
only internal/readiness 'golang\.org/x/sys/unix(/.*)?'
only internal/origin 'golang\.org/x/xerrors(/.*)?'
only internal/wsconn '((nhooyr\.io|github\.com/coder)/websocket|golang\.org/x/xerrors)(/.*)?'
never . "/(sshexec|coderws|execertest|wsplice|internal/(wstest|sshtest))(/.*)?"
never wsplice/... ''
for library in . sshexec/... coderws/... execertest/... wsplice/...; do
	never "$library" "$programs"
done
for library in sshexec/... coderws/... execertest/...; do
	never "$library" '/wsplice(/.*)?'
done
exit $status
