#!/usr/bin/env bash
# Checks the code of each system that wsep supports, without running it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
go build -C ci/tools -o "$tools/" tool

# nhooyr.io/websocket is deprecated. It stays, because it is part of the public API.
tolerated='nhooyr\.io/websocket.* is deprecated'

static_check() {
	local findings
	findings=$("$tools/staticcheck" ./...) && return
	# No output at all is a failure of staticcheck itself.
	[ -n "$findings" ] || return 1
	! grep -v "$tolerated" <<<"$findings"
}

check() {
	go vet ./...
	go build -o /dev/null ./...
	static_check
}

# v024_changes prints changes to v0.2.4's API that may keep a program from compiling.
v024_changes() {
	(cd ci/v024 && "$tools/apidiff" -w "$tools/v0.2.4" cdr.dev/wsep)
	"$tools/apidiff" -incompatible "$tools/v0.2.4" cdr.dev/wsep
}

# Server and Session hold a lock. They must not be copied, so programs compare only their pointers.
known_changes='- Server: old is comparable, new is not
- Session: old is comparable, new is not'

echo "gofmt"
ci/fmt.sh --check

echo "xerrors.Errorf" # If %w is not at the end of the format, it appends the wrapped error a second time.
if grep -rnE --include='*.go' --exclude-dir=node_modules 'xerrors\.Errorf\("[^"]*%w[^"]+"' . | grep -v '%w"'; then
	echo "end the format with %w" >&2
	exit 1
fi

echo "go mod tidy"
go mod tidy -diff

echo "apidiff: changes since v0.2.4, known and found"
diff <(echo "$known_changes") <(v024_changes)

for system in linux darwin windows; do
	echo "vet, build, staticcheck, imports: $system"
	(
		export GOOS=$system
		check
		ci/imports.sh
	)
done

modules=$(ci/modules.sh)
for module in $modules; do
	echo "go mod tidy, vet, build, staticcheck: $module"
	(
		cd "$module"
		go mod tidy -diff
		# Some modules have only a go.mod.
		packages=$(go list ./... 2>&1)
		case $packages in *"matched no packages"*) exit 0 ;; esac
		check
	)
done
