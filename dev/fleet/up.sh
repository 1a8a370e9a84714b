#!/usr/bin/env bash
# Starts two hosts that run commands, on ports 8081 and 8082, and a wsplice on port 3000 that may connect to them. Ctrl-C
# ends them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

programs=$(mktemp -d)
end() {
	# shellcheck disable=SC2046 # one word for each process
	kill $(jobs -p) 2>/dev/null || true
	wait
	rm -rf "$programs"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

go build -o "$programs/" ./dev/server ./cmd/wsplice
"$programs/server" --listen 127.0.0.1:8081 &
"$programs/server" --listen 127.0.0.1:8082 &
"$programs/wsplice" --allowed-hostnames 127.0.0.1 &
wait -n # Without one of them the others are useless.
