# Signals and ends the commands of one connection, as told by lines on stdin:
#
#   - done PID             nothing is left of a command
#   N signal PID NAME      send it a signal; the answer is ok or gone
#   N end PID HOW REAPED   end it; the answer, ok, comes when that is done
#
# HOW is "close" for SIGTERM and, some time later, SIGKILL; "cancel" for SIGHUP too at once on a terminal, and "kill"
# for SIGKILL alone. REAPED is set if the process itself has ended, but perhaps not the rest of its group.
#
# Answers begin with a mark, the arguments, and N. The first, without an order, is the directory in which each command
# makes a file named like its PID before it starts. When the connection is lost stdin ends, and so do these commands.
# One that comes later finds no directory, and does not start.
mark=$1 secret=$2
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

end_all() {
	for file in "$dir"/*; do
		[ -e "$file" ] || continue
		(
			end "${file##*/}" cancel
			rm -f "$file"
		) &
	done
	wait
}

dir=${TMPDIR:-/tmp}/wsep-$secret
reason=$(mkdir -m 700 "$dir" 2>&1) || {
	reply fail "$reason"
	exit 1
}
reply dir "$dir"
while read -r id order pid how reaped; do
	case $order in
	done) rm -f "$dir/$pid" ;;
	signal) if send "$how" "$pid"; then reply "$id" ok; else reply "$id" gone; fi ;;
	end) ( (
		end "$pid" "$how" "$reaped"
		reply "$id" ok
	) & ) ;;
	esac
done
for _ in 1 2 3 4 5; do
	rmdir "$dir" 2>/dev/null && exit
	end_all
done
