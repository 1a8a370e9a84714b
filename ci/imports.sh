#!/usr/bin/env bash
# Checks that imports go one way. Imports of tests do not count. A rule about a package that does not exist always holds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

module=$(go list -m)
# One line for each package and each of its direct or indirect dependencies.
dependencies=$(go list -f '{{range .Deps}}{{$.ImportPath}} {{.}}{{"\n"}}{{end}}' ./...)
status=0

# complain NAME LINES reports the dependencies that break a rule.
complain() {
	if [ -n "$2" ]; then
		printf '%s must not import:\n%s\n' "$1" "$2" >&2
		status=1
	fi
}

# of PACKAGE prints the lines of a package of this module. "." is the root. PACKAGE/... is a whole tree of packages.
of() {
	local path=$module/$1
	case $1 in
	.) path=$module ;;
	*/...) path="$module/${1%/...}(/[^ ]+)?" ;;
	esac
	grep -E "^$path " <<<"$dependencies" || true
}

# only PACKAGE [PATTERN] allows a package to import only the standard library and packages that match the pattern.
only() {
	local allowed='[^ ./]+(/[^ ]*)?'
	[ $# -lt 2 ] || allowed="$allowed|$2"
	complain "$1" "$(of "$1" | grep -vE " ($allowed)$" || true)"
}

# never PACKAGE PATTERN forbids a package to import packages of this module that match the pattern.
never() {
	complain "$1" "$(of "$1" | grep -E " $module$2$" || true)"
}

# The root needs these modules and no others, and one for terminals.
pty=github.com/creack/pty
[ "$(go env GOOS)" != windows ] || pty=github.com/charmbracelet/x/conpty
known=$(sort <<EOF
$pty
cdr.dev/slog
cdr.dev/wsep
github.com/coder/websocket
github.com/golang/groupcache
github.com/google/uuid
go.opencensus.io
golang.org/x/sys
golang.org/x/xerrors
nhooyr.io/websocket
EOF
)
needed=$(go list -deps -f '{{with .Module}}{{.Path}}{{end}}' . | sort -u)
if [ "$needed" != "$known" ]; then
	printf 'the root needs the modules\n%s\ninstead of\n%s\n' "$needed" "$known" >&2
	status=1
fi

programs='/(dev|cmd|bench)(/.*)?'
only internal/proto
only internal/flow 'golang\.org/x/xerrors(/.*)?'
only internal/signame
only internal/termmodes
only internal/vt
never internal/peerlog '(/.*)?'
only internal/readiness 'golang\.org/x/sys/unix(/.*)?'
only internal/origin 'golang\.org/x/xerrors(/.*)?'
only internal/wsconn '((nhooyr\.io|github\.com/coder)/websocket|golang\.org/x/(xerrors|sys/unix))(/.*)?'
never . "/(sshexec|coderws|execertest|keeper|wsplice|internal/(wstest|sshtest|certtest))(/.*)?"
never wsplice/... ''
for library in . sshexec/... coderws/... execertest/... keeper/... wsplice/...; do
	never "$library" "$programs"
done
for library in sshexec/... coderws/... execertest/... keeper/...; do
	never "$library" '/wsplice(/.*)?'
done
exit $status
