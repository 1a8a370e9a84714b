#!/usr/bin/env bash
# Formats all Go files. With --check it changes nothing, prints the names of unformatted files, and then fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

format() {
	find . -name node_modules -prune -o -name '*.go' -print0 | xargs -0 gofmt "$@"
}

case "${1-}" in
"") format -w ;;
--check)
	unformatted=$(format -l)
	if [ -n "$unformatted" ]; then
		printf 'not formatted, run ci/fmt.sh:\n%s\n' "$unformatted" >&2
		exit 1
	fi
	;;
*)
	echo "usage: ci/fmt.sh [--check]" >&2
	exit 2
	;;
esac
