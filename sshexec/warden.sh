# Signals and ends the commands of one connection. Each line on stdin is an order:
#
#   - watch PID            end a command when the connection is lost
#   - reaped PID           a watched command's own process has exited
#   - done PID             nothing is left of such a command
#   N signal PID NAME OTHER  send it a signal, which may have another name; the answer is ok, exited or unknown
#   N end PID HOW REAPED   end it; the answer, ok, comes when that is done
#   N briefed              the answer, ok, comes when the orders before this one are carried out
#   N room NAME            make another directory; the answer is dir DIRECTORY or fail REASON
#
# HOW is "close" for SIGTERM and, some time later, SIGKILL. "cancel" also sends SIGHUP at once to the commands of a
# terminal, and "kill" sends SIGKILL alone. REAPED is not empty if the process itself has exited. The rest of its group
# may still run.
#
# An answer begins with the mark and N. The mark is the first two arguments. The first answer comes without an order. It
# is that of room, with the mark's second part as NAME. Before a command starts, it makes a file in the directory, with
# its PID as the name. The file stands for the command until the order to watch it comes. When the connection is lost,
# stdin ends, and the warden ends these commands. A command that comes later finds no directory, and does not start. The
# third argument is the directory of the warden before this one, or nothing.
#
# A server may close the warden's session alone. Then another warden follows. It removes the file "duty" from this
# warden's directory when it knows what to watch. The fourth argument is how many seconds to wait for it if the connection
# may not be lost.
mark=$1 secret=$2 dir=$3 max_wait=$4
watched=' ' reaped=' ' # PIDs
trap '' PIPE HUP

reply() { printf '%s%s %s\n' "$mark" "$secret" "$*"; }

# send signals a process group, or the process alone if it leads no group. All shells know this form of kill for a
# group. After -s dash needs --, and BusyBox takes that for a process.
send() { kill "-$1" "-$2" 2>/dev/null || kill "-$1" "$2" 2>/dev/null; }
exists() { send 0 "$1"; }
# nap is short if sleep takes fractions.
nap() { sleep 0.02 2>/dev/null || sleep 1; }

# foreground sets group to the foreground group of a process's terminal. It is empty if there is no terminal.
foreground() {
	group=$(ps -o tpgid= -p "$1" 2>/dev/null)
	group=${group##* }
	case $group in "" | 0 | 1 | *[!0-9]*) group= ;; esac
}

# send_all signals the foreground group too.
send_all() {
	foreground "$2"
	case $group in "" | "$2") ;; *) kill "-$1" "-$group" 2>/dev/null ;; esac
	send "$1" "$2"
}

# deliver sends a signal by its name, or by its other name if this shell knows only that. It sets answer.
deliver() {
	if send "$2" "$1" || { [ -n "$3" ] && send "$3" "$1"; }; then
		answer=ok
	elif exists "$1"; then
		answer=unknown
	else
		answer=exited
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
		# SIGHUP comes later than SIGTERM, so that a shell with a trap for SIGTERM can act on it.
		[ $i != 20 ] || hang_up "$1"
		nap
		i=$((i + 1))
	done
}

# end_command ends a command.
end_command() {
	# Another process may have the number of a process that has exited.
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

# room makes a new directory, and sets answer. before is the old one.
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

# relieve ends the warden of the directory before this one.
relieve() {
	{
		rm -f "$before/duty"
		rmdir "$before"
	} 2>/dev/null
}

# ancestors sets line to the processes above this one. In most servers one of them is the connection's.
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

# empty is true if there is nothing to end.
empty() {
	[ "$watched$reaped" = '  ' ] || return
	for file in "$dir"/* "$before"/*; do
		case ${file##*/} in duty | '*') ;; *) return 1 ;; esac
	done
}

# linger waits for another warden while the connection may not be lost. It returns 1 if another warden has come.
linger() {
	[ -e "$dir/duty" ] || { mkdir -m 700 "$dir" && : >"$dir/duty"; } 2>/dev/null
	i=0
	until empty; do
		ancestors
		[ "$line" = "$server" ] || return 0
		[ -e "$dir/duty" ] || return 1
		[ $i -lt $((50 + max_wait)) ] && [ "$max_wait" != 0 ] || return 0
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

# without sets rest to a list without one occurrence of a word. It fails if there is none.
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
		end_command "$pid" cancel &
	done
	for pid in $reaped; do
		end_command "$pid" cancel reaped &
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
		end_command "$pid" "$how" "$ended"
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
