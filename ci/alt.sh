#!/bin/sh
# Shows a page on the alternate screen until a key is pressed. It draws the page again when the terminal's size changes.
draw() {
	# shellcheck disable=SC2046 # two words: rows and columns
	set -- $(stty size)
	tput clear
	printf 'a page of %s by %s' "$1" "$2"
	tput cup $(($1 - 1)) 0
	printf 'the last line'
}

restore() {
	stty "$settings"
	tput rmcup
}

settings=$(stty -g)
trap restore EXIT
trap draw WINCH
stty -echo -icanon min 0 time 1
tput smcup
draw
while [ -z "$(dd bs=1 count=1 2>/dev/null)" ]; do :; done
