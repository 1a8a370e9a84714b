#!/usr/bin/env bash
# Runs the tests for Windows under Wine, in a Wine prefix of its own that is removed in the end. With an argument it runs only the
# tests of the root package that match this pattern.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/packages.sh

needs=(wine wine64:/usr/lib/wine/wine64 gcc-mingw-w64-x86-64:x86_64-w64-mingw32-gcc bsdutils:script)
require_packages "${needs[@]}"
[ -z "$missing" ]

work=$(mktemp -d)
# explorer.exe is not started. A console would start it at the first key that is typed. It would inherit the console's output, which
# then does not end.
export WINEPREFIX=$work/prefix WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml,winemenubuilder.exe,explorer.exe='
unset DISPLAY WAYLAND_DISPLAY

finish() {
	timeout 20 wineserver -k || true
	rm -rf "$work" || true # A program of Wine may still write there.
}
trap finish EXIT

# in_wine SECONDS PROGRAM ARGUMENT... runs a program under Wine, with a console, which is a terminal of script. Its output goes to
# a file, and is printed when it has ended.
in_wine() {
	local limit=$1 status=0
	shift
	timeout -k 10 "$limit" script -qec "wine ${*@Q} >'$work/output.$BASHPID' 2>&1" /dev/null </dev/null || status=$?
	cat "$work/output.$BASHPID"
	return "$status"
}

# These packages are tested beside the root.
packages=(./keeper ./dev/client ./internal/{flow,proto,vt,origin,plain,peerlog,termmodes,signame})

# test_package PACKAGE ARGUMENT... runs a package's tests in its directory, if it has any.
test_package() {
	local package=$1
	local program=$work/tests/${package##*/}.test.exe
	shift
	[ "$package" != . ] || program=$work/tests/wsep.test.exe
	if [ ! -e "$program" ]; then return; fi
	echo "$package"
	(cd "$package" && in_wine 540 "$program" -test.timeout 530s "$@")
}

echo "a Wine prefix"
in_wine 120 wineboot -i &
prefix=$!
mkdir "$work/tests"
GOOS=windows GOARCH=amd64 go test -vet=off -ldflags='-s -w' -c -o "$work/tests/" . "${packages[@]}"
wait "$prefix"
x86_64-w64-mingw32-gcc -shared -O2 -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" \
	ci/windows/bcryptprimitives.c -ladvapi32

echo "LocalExecer and Dialer under $(wine --version)"
test_package . -test.v -test.run "${1-^TestWindows}" | grep -vE '^ *=== ' || exit 1
if [ $# -gt 0 ]; then exit; fi
for package in "${packages[@]}"; do test_package "$package" -test.short; done
