#!/usr/bin/env bash
# Uses the whole screen as an editor does: draws it, again when its size changes, shows a key, and leaves at the next.
set -euo pipefail

draw() {
	local rows columns
	read -r rows columns < <(stty size)
	printf '\033[H\033[2J%d by %d\033[%d;1H-- INSERT --' "$rows" "$columns" "$rows"
}

# A read is not woken by a signal that is trapped.
key() {
	until read -rsn1 -t 0.05 pressed; do :; done
}

trap 'printf "\033[?1049l"' EXIT
trap draw WINCH
printf '\033[?1049h'
draw
key
printf '\033[3;5Hkey %s' "$pressed"
key
