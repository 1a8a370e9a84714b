#!/usr/bin/env bash
# Builds the browser client and the web terminal, and tests them in Node and in browsers. With --build it only builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/packages.sh

# These are the programs that the tests need beside Go and Node.
needs=(screen chromium firefox-esr vim less)

build_only=
case "${1-}" in
"") ;;
--build) build_only=yes ;;
*)
	echo "usage: ci/browser.sh [--build]" >&2
	exit 2
	;;
esac

cd browser
npm ci --no-audit --no-fund
npm run --silent build:web
if [ -n "$build_only" ]; then exit; fi

require_packages "${needs[@]}"
[ -z "$missing" ]
npm run --silent test
npm run --silent test:e2e
