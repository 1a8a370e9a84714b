#!/usr/bin/env bash
# Measures wsep against its peers, and writes results.md, results.json and chart.svg in bench/. Then measures wsplice
# against the same load without it, and writes splice.md and splice.json. With --check it fails if a target is missed. With
# --quick it only checks that everything works. OpenSSH is measured if it is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../bench"

# sshd is in one of these directories.
export PATH=$PATH:/usr/sbin:/usr/local/sbin

status=0
for command in bench splice; do
	go run "./cmd/$command" "$@" || status=$?
done
exit "$status"
