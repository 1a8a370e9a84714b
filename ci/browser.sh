#!/usr/bin/env bash
# Builds the browser client and the web terminal, and tests them: in Node, and in Chromium. With --build it only builds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# What the tests need beside Go and Node: Debian packages, named as their programs are.
needs=(screen chromium)

build_only=
case "${1-}" in
"") ;;
--build) build_only=yes ;;
*)
	echo "usage: ci/browser.sh [--build]" >&2
	exit 2
	;;
esac

missing_packages() {
	local need
	for need in "${needs[@]}"; do
		command -v "$need" >/dev/null || echo "$need"
	done
}

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

install_packages() {
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q </dev/null
	apt-get install -q -y --no-install-recommends "$@" </dev/null
}

require_packages() {
	local missing
	missing=$(missing_packages)
	if [ -n "$missing" ] && may_install; then
		# shellcheck disable=SC2086 # one word for each package
		install_packages $missing || true
		missing=$(missing_packages)
	fi
	if [ -n "$missing" ]; then
		printf 'missing, install it for the tests:\n%s\n' "$missing" >&2
		exit 1
	fi
}

cd browser
npm ci --no-audit --no-fund
npm run --silent build:web
if [ -n "$build_only" ]; then exit; fi

require_packages
npm run --silent test
npm run --silent test:e2e
