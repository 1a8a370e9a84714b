#!/usr/bin/env bash
# Prints the directories of the modules nested in this one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

find . \( -name node_modules -o -name testdata \) -prune -o -mindepth 2 -name go.mod -print |
	sed 's|/go.mod$||' | sort
