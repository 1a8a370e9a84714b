#!/usr/bin/env bash
# Measures wsep against its peers, and writes results.md, results.json and chart.svg in bench/. With --check it fails if
# a target is missed; with --quick it only sees that everything works. OpenSSH takes part if it is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../bench"

# Where sshd is.
export PATH=$PATH:/usr/sbin:/usr/local/sbin

go run ./cmd/bench "$@"
