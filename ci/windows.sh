#!/usr/bin/env bash
# Runs the tests for Windows under Wine, in a Wine prefix of its own that is removed in the end. With --long it runs them at their full
# length. With --run PATTERN it runs only the tests of the root package that match.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/packages.sh

needs=(wine wine64:/usr/lib/wine/wine64 gcc-mingw-w64-x86-64-win32:x86_64-w64-mingw32-gcc bsdutils:script)

limit=540 # seconds that a test program may take
pattern=
case "${1-}" in
"") ;;
--long)
	export WSEP_LONG_TESTS=1
	limit=3600
	;;
--run) pattern=$2 ;;
*)
	echo "usage: ci/windows.sh [--long | --run PATTERN]" >&2
	exit 2
	;;
esac

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

# make_prefix makes a Wine prefix in which Go programs run, and start sooner. At each start Wine looks through all time zones.
make_prefix() {
	in_wine 120 wineboot -i
	x86_64-w64-mingw32-gcc -shared -O2 -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" \
		ci/windows/bcryptprimitives.c -ladvapi32
	in_wine 60 reg delete 'HKLM\Software\Microsoft\Windows NT\CurrentVersion\Time Zones' /f
}

# build_tests builds the tests of packages. Wine copies a program at each start, unless its sections lie on pages of the file.
build_tests() {
	local program
	mkdir "$work/tests"
	GOOS=windows GOARCH=amd64 go test -vet=off -ldflags='-s -w' -c -o "$work/tests/" "$@"
	for program in "$work/tests/"*.exe; do
		x86_64-w64-mingw32-objcopy --file-alignment 4096 "$program"
	done
}

# These packages are tested beside the root.
packages=(./keeper ./dev/client ./internal/{flow,proto,vt,origin,plain,peerlog,termmodes})

# test_package PACKAGE ARGUMENT... runs a package's tests in its directory.
test_package() {
	local package=$1
	local program=$work/tests/${package##*/}.test.exe
	shift
	[ "$package" != . ] || program=$work/tests/wsep.test.exe
	echo "$package $*"
	(cd "$package" && in_wine "$limit" "$program" -test.timeout "$((limit - 10))s" "$@")
}

# test_root ARGUMENT... runs tests of the root package. A test that was skipped says why.
test_root() { test_package . -test.v "$@" | grep -vE '^ *=== '; }

test_packages() {
	local package
	for package in "${packages[@]}"; do test_package "$package" -test.short; done
}

# at_once COMMAND... runs commands at the same time. It fails if one of them does.
at_once() {
	local command process status=0
	local processes=()
	for command in "$@"; do
		$command &
		processes+=("$!")
	done
	for process in "${processes[@]}"; do wait "$process" || status=1; done
	return "$status"
}

contract() { test_root -test.run '^TestWindowsExecers$'; }
others() { test_root -test.run '^TestWindows' -test.skip '^TestWindowsExecers$'; }
build_all() { build_tests . "${packages[@]}"; }

at_once make_prefix build_all
echo "after $SECONDS s: tests under $(wine --version)"
if [ -n "$pattern" ]; then
	test_root -test.run "$pattern"
else
	at_once contract others test_packages
fi
echo "$SECONDS s"
