# Signals and ends the commands of one connection, as told by lines on stdin:
#
#   - watch PID            end a command when the connection is lost
#   - reaped PID           as REAPED below, for a command that is watched
#   - done PID             nothing is left of such a command
#   N signal PID NAME OTHER  send it a signal, which may have another name; the answer is ok, gone or unknown
#   N end PID HOW REAPED   end it; the answer, ok, comes when that is done
#   N briefed              the answer, ok, comes when the orders before this one are carried out
#   N room NAME            make another directory; the answer is dir DIRECTORY or fail REASON
#
# HOW is "close" for SIGTERM and, some time later, SIGKILL; "cancel" for SIGHUP too at once on a terminal, and "kill"
# for SIGKILL alone. REAPED is set if the process itself has ended, but perhaps not the rest of its group.
#
# Answers begin with a mark, the first two arguments, and N. The first answers no order, but as room does, with the
# mark's second part for the name. In the directory each command makes a file named like its PID before it starts: by
# that it is known until the order to watch it comes. When the connection is lost stdin ends, and so do these commands.
# One that comes later finds no directory, and does not start. The third argument is the directory of the warden before
# this one, or nothing.
#
# A server may close this session alone. Then another warden follows, and removes the file "duty" from the directory when
# it has been briefed. The fourth argument is for how many seconds it is waited for where the connection may live.
mark=$1 secret=$2 dir=$3 patience=$4
watched=' ' reaped=' ' # PIDs
trap '' PIPE HUP

reply() { printf '%s%s %s\n' "$mark" "$secret" "$*"; }

# send signals a process group, or the process alone where it has no group of its own. In this form alone of kill all
# shells take a group for what it is: after -s dash needs --, and BusyBox takes that for a process.
send() { kill "-$1" "-$2" 2>/dev/null || kill "-$1" "$2" 2>/dev/null; }
exists() { send 0 "$1"; }
# nap is short where sleep takes fractions.
nap() { sleep 0.02 2>/dev/null || sleep 1; }

# foreground sets group to that in the foreground of a process's terminal. It is empty if there is no terminal.
foreground() {
	group=$(ps -o tpgid= -p "$1" 2>/dev/null)
	group=${group##* }
	case $group in "" | 0 | 1 | *[!0-9]*) group= ;; esac
}

# send_all is send for the group in the foreground too.
send_all() {
	foreground "$2"
	case $group in "" | "$2") ;; *) kill "-$1" "-$group" 2>/dev/null ;; esac
	send "$1" "$2"
}

# deliver sends a signal by its name, or its other one where this shell knows only that. It sets answer.
deliver() {
	if send "$2" "$1" || { [ -n "$3" ] && send "$3" "$1"; }; then
		answer=ok
	elif exists "$1"; then
		answer=unknown
	else
		answer=gone
	fi
}

hang_up() {
	foreground "$1"
	[ -z "$group" ] || send_all HUP "$1"
}

ask() {
	send_all TERM "$1"
	[ "$2" != cancel ] || hang_up "$1"
	send_all CONT "$1"
	i=0
	while [ $i -lt 40 ] && exists "$1"; do
		# Later than SIGTERM, so that a shell that traps it can act on it.
		[ $i != 20 ] || hang_up "$1"
		nap
		i=$((i + 1))
	done
}

# finish ends a command. zsh takes the word end for its own.
finish() {
	# The number of a process that has ended may be another's by now.
	if [ -n "$3" ] && kill -0 "$1" 2>/dev/null; then return; fi
	[ "$2" = kill ] || ask "$1" "$2"
	exists "$1" || return
	send_all KILL "$1"
	i=0
	while [ $i -lt 40 ] && exists "$1"; do
		nap
		i=$((i + 1))
	done
}

# room makes a directory in place of the one there was, and sets answer.
room() {
	[ -w /dev/null ] || {
		answer="fail null"
		return 1
	}
	for base in "$TMPDIR" /tmp; do
		case $base in /*) ;; *) continue ;; esac
		reason=$(mkdir -m 700 "$base/wsep-$1" 2>&1) || continue
		before=${dir:-/dev/null} dir=$base/wsep-$1
		: >"$dir/duty"
		answer="dir $dir"
		return
	done
	answer="fail $reason"
	return 1
}

# relieve has the warden end that has the directory before this one's.
relieve() {
	{
		rm -f "$before/duty"
		rmdir "$before"
	} 2>/dev/null
}

# ancestors sets line to the processes above this one. One of them is the connection's, in most servers.
ancestors() {
	line="" above=$$
	while [ "${above:-0}" -gt 1 ]; do
		if [ -r "/proc/$above/stat" ] && read -r stat <"/proc/$above/stat"; then
			# The name in parentheses may have spaces. The parent is the second word after it.
			stat=${stat##*) ?} && stat=${stat# } && above=${stat%% *}
		else
			above=$(ps -o ppid= -p "$above")
			above=${above##* }
		fi
		line="$line $above"
	done 2>/dev/null
}

# empty tells whether there is nothing to end.
empty() {
	[ "$watched$reaped" = '  ' ] || return
	for file in "$dir"/* "$before"/*; do
		case ${file##*/} in duty | '*') ;; *) return 1 ;; esac
	done
}

# linger waits while the connection may live, for another warden. It returns 1 if that has come.
linger() {
	[ -e "$dir/duty" ] || { mkdir -m 700 "$dir" && : >"$dir/duty"; } 2>/dev/null
	i=0
	until empty; do
		ancestors
		[ "$line" = "$server" ] || return 0
		[ -e "$dir/duty" ] || return 1
		[ $i -lt $((50 + patience)) ] && [ "$patience" != 0 ] || return 0
		if [ $i -lt 50 ]; then nap; else sleep 1; fi
		i=$((i + 1))
	done
}

watch() {
	watched="$watched$1 "
	rm -f "$dir/$1"
	if [ -d "$before" ]; then
		rm -f "$before/$1"
		rmdir "$before" 2>/dev/null
	fi
}

# without sets rest to a list without the first place of a word, and fails if it has none.
without() {
	case $1 in
	*" $2 "*) rest="${1%%" $2 "*} ${1#*" $2 "}" ;;
	*) return 1 ;;
	esac
}

end_all() {
	for file in "$dir"/* "$before"/*; do
		case ${file##*/} in *[!0-9]*) ;; *) watch "${file##*/}" ;; esac
	done
	for pid in $watched; do
		finish "$pid" cancel &
	done
	for pid in $reaped; do
		finish "$pid" cancel reaped &
	done
	wait
	watched=' ' reaped=' '
}

room "$secret" || {
	reply "$answer"
	exit 1
}
ancestors
server=$line
reply "$answer"
while read -r id order pid how ended; do
	case $order in
	watch) watch "$pid" ;;
	reaped)
		without "$watched" "$pid" && watched=$rest
		reaped="$reaped$pid "
		;;
	done) without "$reaped" "$pid" && reaped=$rest ;;
	briefed)
		relieve
		reply "$id" ok
		;;
	room)
		room "$pid" && relieve
		reply "$id" "$answer"
		;;
	signal)
		deliver "$pid" "$how" "$ended"
		reply "$id" "$answer"
		;;
	end) ( (
		finish "$pid" "$how" "$ended"
		reply "$id" ok
	) & ) ;;
	esac
done
linger || exit
relieve
for _ in 1 2 3 4 5; do
	end_all
	rm -f "$dir/duty"
	rmdir "$dir" 2>/dev/null && exit
done
