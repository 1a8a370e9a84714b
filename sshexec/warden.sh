# Signals and ends the commands of one connection, as told by lines on stdin:
#
#   - watch PID            a command has started
#   - done PID             nothing is left of it
#   N signal PID NAME      send it a signal; the answer is ok or gone
#   N end PID HOW REAPED   end it; the answer, ok, comes when that is done
#
# HOW is "close" for SIGTERM and, some time later, SIGKILL; "cancel" for SIGHUP too at once on a terminal, and "kill" for
# SIGKILL alone. REAPED is set if the process itself has ended, but perhaps not the rest of its group.
#
# Answers begin with a mark, the arguments, and N. When the connection is lost, stdin ends, and so do the commands.
mark=$1 secret=$2 running=
trap '' PIPE HUP

reply() { printf '%s%s %s\n' "$mark" "$secret" "$*"; }

# send signals a process group, or the process alone where the server gave it no group of its own.
send() { kill -s "$1" -- "-$2" 2>/dev/null || kill -s "$1" "$2" 2>/dev/null; }
exists() { kill -s 0 -- "-$1" 2>/dev/null || kill -s 0 "$1" 2>/dev/null; }
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
	case $group in "" | "$2") ;; *) kill -s "$1" -- "-$group" 2>/dev/null ;; esac
	send "$1" "$2"
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

end() {
	# The number of a process that has ended may be another's by now.
	if [ -n "$3" ] && kill -s 0 "$1" 2>/dev/null; then return; fi
	[ "$2" = kill ] || ask "$1" "$2"
	exists "$1" || return
	send_all KILL "$1"
	i=0
	while [ $i -lt 40 ] && exists "$1"; do
		nap
		i=$((i + 1))
	done
}

forget() {
	kept=
	for other in $running; do
		[ "$other" = "$1" ] || kept="$kept $other"
	done
	running=$kept
}

while read -r id order pid how reaped; do
	case $order in
	watch) running="$running $pid" ;;
	done) forget "$pid" ;;
	signal) if send "$how" "$pid"; then reply "$id" ok; else reply "$id" gone; fi ;;
	end) ( (
		end "$pid" "$how" "$reaped"
		reply "$id" ok
	) & ) ;;
	esac
done
for pid in $running; do
	end "$pid" cancel &
done
wait
