#!/usr/bin/env bash
# Runs all tests. With --long it also runs the tests that take long.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/packages.sh

# These are the programs that the tests need beside Go.
needs=(screen busybox openssh-server:sshd procps:pgrep dropbear-bin:dropbear mksh nodejs:node npm vim less curl fish zsh iproute2:ip)

fuzz_runs=20000x
# Runs of a target that starts a program each time.
fuzz_programs=300x
# Runs of the terminal model's target.
fuzz_terminal=$fuzz_runs
timeout=30m
case "${1-}" in
"") ;;
--long)
	export WSEP_LONG_TESTS=1
	fuzz_runs=1000000x
	fuzz_programs=100000x
	fuzz_terminal=3000000x # about ten minutes
	timeout=1h
	;;
*)
	echo "usage: ci/test.sh [--long]" >&2
	exit 2
	;;
esac

# await_port waits until a program listens on port $1 of this machine. It fails if process $2 exits before that.
await_port() {
	local _
	for _ in $(seq 3000); do
		if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
		kill -0 "$2" 2>/dev/null || break
		sleep 0.1
	done
	echo "nothing listens on port $1" >&2
	return 1
}

# run_fleet runs the commands of wsplice/README.md.
run_fleet() {
	local up port status=0
	dev/fleet/up.sh </dev/null &
	up=$!
	for port in 8081 8082 3000; do
		await_port "$port" "$up" || status=$?
	done
	go run ./dev/fleet --host ws://127.0.0.1:8081 --host ws://127.0.0.1:8082 -- uname -n || status=$?
	kill "$up" || status=$?
	wait "$up" || true
	return "$status"
}

# run_wsep runs the commands of README.md's first screen.
run_wsep() {
	local server status=0
	go run ./cmd/wsep serve </dev/null &
	server=$!
	await_port 8080 "$server" || status=$?
	go run ./cmd/wsep exec -it -- bash -c 'echo reached' </dev/null || status=$?
	kill "$(pgrep -P "$server")" || status=$?
	wait "$server" || true
	return "$status"
}

require_packages "${needs[@]}"

echo "README's first screen"
run_wsep

echo "README's command without a server"
go run ./dev/client notty --embedded -- uname -a </dev/null

echo "wsplice/README.md's commands"
run_fleet

# ci/lint.sh vets the tests too. One package at a time: each runs its own tests in parallel.
go test -race -vet=off -p 1 -timeout "$timeout" ./...

# The runs are counted. A time limit that ends during a run would be reported as a failure (golang/go#75804).
targets=$(grep -rEo --include='*_test.go' --exclude-dir=node_modules \
	'^func Fuzz[[:alnum:]_]*\([[:alnum:]_]+ \*testing\.F\)' . | sed -E 's/:func ([[:alnum:]_]+).*/:\1/' | sort || true)
for target in $targets; do
	dir=$(dirname "${target%:*}") name=${target##*:}
	runs=$fuzz_runs
	case $name in
	FuzzQuote) runs=$fuzz_programs ;;
	FuzzTerminal) runs=$fuzz_terminal ;;
	esac
	echo "fuzz $dir $name"
	go test -C "$dir" -vet=off -run '^$' -fuzz "^$name\$" -fuzztime "$runs" -fuzzminimizetime 100x . </dev/null
done

modules=$(ci/modules.sh)
for module in $modules; do
	(
		cd "$module"
		packages=$(go list ./... 2>&1)
		case $packages in *"matched no packages"*) exit 0 ;; esac
		# One package at a time: those of the fleet start clusters, which must not wait for each other.
		go test -race -vet=off -p 1 -timeout "$timeout" ./...
	)
done

echo "benchmarks, to check that they work"
ci/bench.sh --quick

if [ -n "$missing" ]; then
	printf 'not all was tested; missing:\n%s\n' "$missing" >&2
	exit 1
fi
