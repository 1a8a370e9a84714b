# Keeps a session: a command in GNU screen that clients attach to. The session's Server runs this script on the command's
# machine. The server writes orders to stdin, one on each line: see the end of the script. The script answers with lines on
# stdout:
#
#   dir D          the session's directory is D
#   started        the command waits for "go"
#   running        the command runs: it gets all input, and the terminal shows only its output
#   fitted N       the order "fit N" has been carried out
#   exit N         the command has exited with code N
#   gone           nothing is left of the command
#   lost           no session is left to join
#   none R         this machine can't keep a session, for the reason R
#   fail K R       the session did not start, for the reason R of the kind K
#
# The arguments are:
#
#   1. the mode: "new" starts a session, "join" takes over from a lost keeper, "drop" removes what a keeper left that was
#      killed during its start
#   2. the session's name
#   3. the server's identity: boot ID, PID namespace, PID and start time; or nothing
#   4. how many seconds the session outlives a server that may come back
#   5. for "new", the command and its arguments
#
# A new keeper first reads the command's variables: the lines of environmentScript (session_screen_environment.go), each after a
# "+", and then a line without it.
environment=$(export -p) mask=$(umask)
umask 077
mode=$1 name=$2 server=$3 patience=$4 stale= made= watcher=
shift 4

say() { printf '%s\n' "$*"; }
fail() { say "fail $*"; exit 1; }

# A session's directory is in base. If it can't be made there, it is in /tmp. The path of a socket is limited to about 100
# bytes.
base=${TMPDIR:-/tmp}
case $base in /*) ;; *) base=/tmp ;; esac
[ "${#base}" -le 40 ] || base=/tmp

export SYSSCREENRC=/dev/null

# find_directory sets dir to the session's directory. It fails if this user has none.
find_directory() {
	for dir in "$base/wsep-$name" "/tmp/wsep-$name"; do
		export SCREENDIR="$dir/s"
		[ -d "$dir" ] && [ -O "$dir" ] && return
	done
	return 1
}

# put writes a number into a file, over the last number. It always writes the same number of bytes, so that it also works on
# a full disk.
put() { printf '%-9s\n' "$2" 1<>"$1"; }

# number prints the number in one of the session's files. It prints nothing if the file has none.
number() {
	found=
	read -r found <"$dir/$1"
	say "$found"
} 2>/dev/null

# find_program fails unless execvp could run $1. It sets found.
find_program() {
	case $1 in
	*/*)
		[ -e "$1" ] || fail not_found "$1: no such file"
		[ -f "$1" ] && [ -x "$1" ] || fail permission "$1: permission denied"
		found=$1
		return
		;;
	esac
	oldifs=$IFS IFS=:
	set -f
	for d in $PATH; do
		if [ -f "$d/$1" ] && [ -x "$d/$1" ]; then
			IFS=$oldifs found=$d/$1
			set +f
			return
		fi
	done
	IFS=$oldifs
	set +f
	fail not_found "$1: executable file not found in \$PATH"
}

# has_terminal_type succeeds if the machine knows a terminal type.
has_terminal_type() { tput -T "$1" longname >/dev/null 2>&1; }

# none ends the keeper because the machine can't keep a session.
none() { say none "$*"; exit; }

# usable_machine ends the keeper if a program is missing, or if screen is not safe. Screen 5.0.0 gives every user access to
# its terminals (CVE-2025-46803). If it is setuid root, it also gives access to files (CVE-2025-23395).
usable_machine() {
	for needed in screen cat mkdir mkfifo rm sleep; do
		command -v "$needed" >/dev/null || none "$needed is not installed"
	done
	sees_processes || none "neither /proc nor ps and pgrep show the processes"
	case $(screen --version 2>/dev/null) in
	*" 5.0.0"* | *" 5.00.00"*) none "screen 5.0.0 is not safe to use" ;;
	esac
}

# These functions look up processes by their IDs. Linux has /proc, also on machines without ps.
if [ -r /proc/self/stat ]; then
	sees_processes() { :; }

	# each_stat calls $1 for each process, with the content of /proc/PID/stat in $stat. It misses processes with a newline in
	# their names. It must run in a subshell, because it changes how words are split.
	each_stat() {
		stats=$(cat /proc/[0-9]*/stat 2>/dev/null)
		set -f
		IFS='
'
		for stat in $stats; do
			IFS=' '
			"$1"
		done
	}

	# has_value prints a process's ID if its stat has $value in the field at $place. Field 0 is the state.
	has_value() {
		# shellcheck disable=SC2086
		set -- ${stat##*) }
		shift "$place"
		[ "$1" != "$value" ] || echo "${stat%% *}"
	}

	children_of() (place=1 value=$1; each_stat has_value)
	members_of() (place=3 value=$1; each_stat has_value)
	command_line() { cat "/proc/$1/cmdline"; }

	# is_screen prints the process's ID if it is a screen with $value in its arguments.
	is_screen() {
		case $stat in *"(screen) "*) ;; *) return ;; esac
		case $(command_line "${stat%% *}" 2>/dev/null) in *"$value"*) echo "${stat%% *}" ;; esac
	}

	screens_of() (value=$1; each_stat is_screen)

	# has_ended succeeds if no process with an ID runs.
	has_ended() {
		stat=$(cat "/proc/$1/stat" 2>/dev/null)
		case ${stat##*) } in "" | Z* | X*) ;; *) return 1 ;; esac
	}
else
	sees_processes() { command -v ps && command -v pgrep; } >/dev/null
	children_of() { pgrep -P "$1"; }
	members_of() { pgrep -s "$1"; }
	command_line() { ps -ww -o args= -p "$1"; }
	screens_of() { pgrep -f "$1"; }
	has_ended() { case $(ps -o stat= -p "$1") in "" | Z*) ;; *) return 1 ;; esac }
fi

create() {
	find_program "$1"
	case $1 in -*)
		# Some shells would take the name for an option of exec.
		shift
		set -- "$found" "$@"
		;;
	esac
	for dir in "$base/wsep-$name" "/tmp/wsep-$name"; do
		made=yes
		reason=$(make_directory 2>&1) && break
		made=
	done
	[ -n "$made" ] || none "$reason"
	export SCREENDIR="$dir/s"
	say dir "$dir"
	read_variables || none "can't write to $dir"
	reason=$(start_screen "$program" wsep "$dir" "$mask" "$@" 2>&1 </dev/null) || none "screen: $reason"
}

# make_directory makes the session's directory and the files in it. Later writes then need no more room on the disk.
make_directory() {
	mkdir "$dir" || return
	mkdir "$dir/s" && mkfifo "$dir/alive" "$dir/go" && say "$server" >"$dir/server" && screenrc >"$dir/screenrc" &&
		put "$dir/pid" "" && put "$dir/exit" "" && put "$dir/watcher" "" && take && return
	rm -rf "$dir"
	return 1
}

# read_variables reads the command's variables from the server.
read_variables() {
	while IFS= read -r line; do
		case $line in
		+*) say "${line#+}" || return ;;
		*) return 0 ;;
		esac
	done
	exit 1
} >"$dir/environment"

# screenrc prints the settings of screen.
screenrc() {
	type=screen-256color
	has_terminal_type $type || type=screen
	# The display shows only the command's output. The command gets all keys, also Ctrl-S and Ctrl-Q. Screen does not wait for
	# a client that does not read.
	#
	# ti and te are empty: screen does not use the client's alternate screen, so that the client keeps its scrollback. After an
	# Esc screen waits 10 ms for the rest of a key's sequence. Screen takes a mouse report for a key (kmous), and translates it
	# to the report of its own terminal type. So Km must be that type's report. XT says that the terminal understands titles,
	# mouse modes and bracketed paste. Terminals that do not understand them ignore them.
	say "
		startup_message off
		deflogin off
		multiuser off
		escape ''
		unbindall
		vbell off
		bell_msg ''
		activity ''
		msgminwait 0
		msgwait 0
		defnonblock 2
		altscreen on
		defutf8 on
		defflow off
		maptimeout 10
		term $type
		termcapinfo * ti@:te@:Km=\E[M:XT
	"
}

# start_screen starts screen with the environment that this script got. The script's own variables may have replaced some of
# it. If env has no -S, as in BusyBox, this environment is also the command's. Then it lacks variables whose names a shell
# can't have. Screen sets SHELL if it is not set. The shell may refuse to set its own variables, such as UID.
#
# Screen knows the width of every character only in a UTF-8 locale. program restores SHELL and LC_ALL for the command.
start_screen() {
	unset SHELL
	(eval "$environment") 2>/dev/null && eval "$environment"
	export SCREENDIR="$3/s" SYSSCREENRC=/dev/null
	[ -n "${SHELL+set}" ] || set -- "unset SHELL$@"
	if [ "$(locale charmap 2>/dev/null)" != UTF-8 ]; then
		if [ -n "${LC_ALL+set}" ]; then set -- "LC_ALL=\$WSEP_LC_ALL; $@"; else set -- "unset LC_ALL; $@"; fi
		export WSEP_LC_ALL="$LC_ALL" LC_ALL=C.UTF-8
	fi
	screen -U -c "$3/screenrc" -dmS s sh -c "$@"
}

# program runs in screen, and runs the command. It first waits for "go". A client is attached then, and the terminal has the
# client's size. The change of size may leave text on the terminal, so program clears it. Screen has changed the terminal's
# modes, so program restores the modes that the client's terminal had before. COLORTERM is unset because screen has no
# 24-bit colors.
#
# The exit code goes to a file. The pipe "alive" is closed when nothing is left of the command. The pipe "go" is opened for
# reading and writing, because that does not wait for another process to open it.
program='
	unset SCREENDIR SYSSCREENRC STY WINDOW TERMCAP COLORTERM WSEP_LC_ALL
	export WSEP_TTY=true
	[ -p "$1/go" ] && [ -p "$1/alive" ] || exit
	exec 4<>"$1/go" 3>"$1/alive"
	printf "%-9s\n" $$ 1<>"$1/pid" && echo up >&3 || exit
	read -r _ <&4
	exec 4<&-
	{ read -r modes <"$1/modes" && stty "$modes"; } 2>/dev/null
	printf "\033[H\033[2J"
	rm -f "$1/go"
	trap : HUP INT QUIT ILL ABRT FPE SEGV PIPE ALRM TERM USR1 USR2
	echo running 2>/dev/null >&3
	(
		wsep_environment=
		if [ -s "$1/environment" ] && env -S true 2>/dev/null; then
			set -a
			. "$1/environment"
			set +a
		fi
		rm -f "$1/environment"
		umask "$2"
		shift 2
		if [ -n "$wsep_environment" ]; then
			# env would take the name for a variable.
			case $1 in *=*) set -- sh -c "exec \"\$@\"" sh "$@" ;; esac
			set -- env -S "$wsep_environment" "TERM=$TERM" WSEP_TTY=true "$@"
		fi
		exec "$@" 3>&-
	)
	printf "%-9s\n" $? 1<>"$1/exit"
'

# take makes this process the session's keeper.
take() { put "$dir/keeper" $$; }

# watch reports on the command until nothing is left of it. It reads the pipe "alive". The open waits until program opens the
# other end. Program writes a line when it waits for "go", and "running" when the command runs. fit writes lines too. The
# pipe is closed when nothing is left of the command.
#
# The keeper takes the watcher's exit for the command's. So once the server knows of the session, a closed output does not
# end the watcher.
watch() {
	[ "$mode" = new ] || trap '' PIPE
	{
		if [ "$mode" = new ] && ! read -r _; then
			say none "screen did not run a program"
			kill $$
			exit
		fi
		say started
		trap '' PIPE # The server knows of the session.
		[ -p "$dir/go" ] || say running
		while read -r line; do
			say "$line"
		done
	} 2>/dev/null <"$dir/alive"
	code=$(number exit)
	[ -z "$code" ] || say exit "$code"
	say gone
}

# guard wakes the watcher if screen exits before it runs program.
guard() (
	exec </dev/null
	i=0
	while [ $i -lt 10 ] || screen_runs; do
		command_pid && exit
		sleep 0.1
		i=$((i + 1))
	done
	command_pid || : >"$dir/alive"
)

# command_pid prints the process ID of program, which leads the command's process group. It fails if there is none, or if
# kill and pkill would not take it for a single process.
command_pid() {
	pid=$(number pid)
	case $pid in "" | 0* | 1 | *[!0-9]*) return 1 ;; esac
	echo "$pid"
}

# owns succeeds if the process with an ID is this session's. After its exit another process may have the number.
owns() {
	case $1 in "" | *[!0-9]*) return 1 ;; esac
	case $(command_line "$1" 2>/dev/null) in *"$name"*) ;; *) return 1 ;; esac
}

# send sends a signal to processes and process groups. A group is -ID. All shells understand this form of kill. After -s,
# dash needs --, which BusyBox takes for a process.
send() {
	signal=$1
	shift
	kill "-$signal" "$@" 2>/dev/null
}

# send_signal signals the command's process group. KILL and STOP go to the command alone, because program can't trap them,
# and has to report the exit code.
send_signal() {
	case $1 in
	KILL | STOP) send "$1" $(children_of "$(command_pid)") ;;
	*) send "$1" "-$(command_pid)" ;;
	esac
}

# fit gives the command's terminal the size of the client that attached last. If $1 is a number, fit reports when screen has
# done so, or has not answered for two seconds. It reports through the pipe "alive", because only the watcher writes to
# stdout. It ends with the session's directory, because a screen that has exited does not answer.
fit() {
	screen -S s -p 0 -X fit
	[ -n "$1" ] || return
	screen -S s -Q echo '' &
	i=0
	while [ $i -lt 100 ] && [ -p "$dir/alive" ] && kill -0 $!; do
		sleep 0.02
		i=$((i + 1))
	done
	kill -KILL $!
	[ ! -p "$dir/alive" ] || echo fitted "$1" 1<>"$dir/alive"
} >/dev/null 2>&1

# quit makes screen exit, which hangs up the command's terminal. It does not wait for screen to answer.
quit() { screen -S s -X quit >/dev/null 2>&1 & }

# kill_all kills screen, the command, and all processes in the command's terminal. If the number of program may belong to
# another process by now, it kills screen alone.
kill_all() {
	pid=$(command_pid) && if owns "$pid" || { [ -z "$stale" ] && has_ended "$pid"; }; then
		send KILL $(members_of "$pid")
		send KILL "-$pid"
	fi
	for socket in "$dir"/s/*.s; do
		daemon=${socket##*/}
		daemon=${daemon%.s}
		owns "$daemon" && kill -KILL "$daemon" 2>/dev/null
	done
}

# check kills the command if its screen was killed. No client can attach to it any more. A screen that was killed leaves its
# socket behind. A screen that exits with its command removes it.
check() {
	pid=$(command_pid) && owns "$pid" || return
	for socket in "$dir"/s/*.s; do
		daemon=${socket##*/}
		[ -S "$socket" ] && ! owns "${daemon%.s}" && kill_all
	done
}

# screen_runs succeeds if a screen may still run. A killed screen leaves its socket behind.
screen_runs() {
	for socket in "$dir"/s/*.s; do
		daemon=${socket##*/}
		[ -e "$socket" ] && kill -0 "${daemon%.s}" && return
	done 2>/dev/null
	return 1
}

# clean removes the session's files. It first gives screen time to exit.
clean() {
	i=0
	while [ $i -lt 50 ] && screen_runs; do
		sleep 0.02
		i=$((i + 1))
	done
	# An attaching screen may still add a file to the directory.
	i=0
	while rm -rf "$dir" 2>/dev/null; [ -e "$dir" ] && [ $i -lt 50 ]; do
		sleep 0.02
		i=$((i + 1))
	done
}

# finish ends the command, and removes the session's files.
finish() {
	quit
	i=0
	while [ $i -lt 20 ] && kill -0 "$watcher" 2>/dev/null; do
		sleep 0.05
		i=$((i + 1))
	done
	kill_all
	clean
}

# abandon ends a session that has not started. A starting screen may have no socket yet, and may still add a file to the
# directory. So abandon kills and removes several times. The processes in screen's terminal are hung up.
abandon() {
	trap '' TERM PIPE
	[ -n "$made" ] || return
	kill "$watcher" 2>/dev/null
	for _ in 1 2 3; do
		send KILL $(screens_of "/wsep-$name")
		rm -rf "$dir"
		sleep 0.02
	done 2>/dev/null
}

# server_gone succeeds if the server that $1 identifies ran on this machine and has exited. It fails if that is unknown.
server_gone() {
	# shellcheck disable=SC2086
	set -- $1
	[ $# -eq 4 ] || return 1
	[ "$1" = "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" ] || return 1
	[ "$2" = "$(readlink /proc/self/ns/pid 2>/dev/null)" ] || return 1
	stat=$(cat "/proc/$3/stat" 2>/dev/null) || return 0
	started=$4
	# shellcheck disable=SC2086
	set -- ${stat##*) }
	case $1 in Z | X) return 0 ;; esac
	[ "${20}" != "$started" ]
}

# orphan runs when the keeper has lost its server. If the server has exited, orphan ends the session at once. Otherwise it
# waits for another keeper to take over, for $patience seconds.
orphan() {
	i=0
	while [ $i -lt "$patience" ] && [ "$(number keeper)" = $$ ]; do
		kill -0 "$watcher" 2>/dev/null || break
		server_gone "$server" && break
		sleep 1
		i=$((i + 1))
	done
	[ "$(number keeper)" = $$ ] && finish
	kill "$watcher" 2>/dev/null
}

# sweep ends this user's sessions whose server and keeper were both killed. It may run longer than the keeper, so it holds
# none of the keeper's files open.
sweep() (
	exec </dev/null
	running=$server
	for dir in "$base"/wsep-????????-????-????-????-???????????? /tmp/wsep-????????-????-????-????-????????????; do
		[ -d "$dir" ] && [ ! -L "$dir" ] && [ -O "$dir" ] && [ -r "$dir/server" ] || continue
		read -r other <"$dir/server"
		[ "$other" != "$running" ] && [ "$other" != "$server" ] || continue
		server_gone "$other" || {
			running=$other
			continue
		}
		name=${dir##*/wsep-}
		owns "$(number keeper)" && continue
		export SCREENDIR="$dir/s"
		stale=
		watcher=$(command_pid) && owns "$watcher" || stale=yes watcher=
		finish
	done
)

case $mode in
new)
	usable_machine
	trap 'exit 1' TERM PIPE
	trap abandon EXIT
	create "$@"
	;;
join)
	find_directory || { say lost; exit 1; }
	say dir "$dir"
	old="$(number keeper) $(number watcher)"
	take || fail other "can't write to $dir"
	for pid in $old; do
		owns "$pid" && kill "$pid" 2>/dev/null
	done
	;;
drop)
	find_directory
	made=yes
	abandon
	exit
	;;
esac
watch &
watcher=$!
# Only the watcher writes to stdout from here on. So the output ends when the watcher exits.
exec >/dev/null 2>&1
put "$dir/watcher" $watcher
case $mode in
new)
	guard &
	sweep &
	;;
join) : >"$dir/alive" ;; # If nothing is left of the command, no other process opens this end.
esac

while read -r order argument; do
	trap - TERM PIPE EXIT
	case $order in
	go) [ ! -p "$dir/go" ] || echo 1<>"$dir/go" ;;
	fit) fit "$argument" & ;;
	signal) send_signal "$argument" 2>/dev/null ;;
	check) check ;;
	quit) quit ;;
	kill) kill_all ;;
	clean)
		clean
		kill "$watcher" 2>/dev/null
		exit 0
		;;
	esac
done
trap - TERM PIPE EXIT
orphan
