# Keeps a session: a command in GNU screen that clients attach to. The session's Server runs this where the command is to
# run, tells it what to do by lines on stdin, and is told by lines on stdout:
#
#   dir D          the session's directory
#   started        the command waits for "go"
#   running        the command goes: what is typed is for it, and what is shown is its own
#   fitted N       the order "fit N" has been carried out
#   exit N         the command has ended
#   gone           nothing is left of the command
#   lost           there is nothing to take over
#   none R         no screen can keep the session here, for the reason R
#   fail K R       the session can't be, for a reason R of the kind K
#
# Arguments: "new" or, to take over from a keeper that was lost, "join", or, to end what one has left that was killed as it
# started, "drop"; the session's name; the server's identity (boot ID, PID namespace, PID and start time, or nothing); how
# many seconds a session outlives a server that may come back; then, for "new", the command. A new keeper reads the
# command's variables first: lines of environmentScript, in session_environment.go, each after a "+", and then one without.
environment=$(export -p) mask=$(umask)
umask 077
mode=$1 name=$2 server=$3 patience=$4 stale= made= watcher=
shift 4

say() { printf '%s\n' "$*"; }
fail() { say "fail $*"; exit 1; }

# A session's directory is in base or, where it can't be made there, in /tmp. A socket's path may have some hundred bytes.
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

# put writes a number into a file, over the number that put wrote before. So it needs no more room on a disk that has become
# full.
put() { printf '%-9s\n' "$2" 1<>"$1"; }

# number prints the number in one of the session's files, if there is one.
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

# none ends the keeper, since the machine can't keep a session.
none() { say none "$*"; exit; }

# usable_machine ends the keeper unless there is what it needs, and a screen that is fit for use. Release 5.0.0 gives
# terminals to everybody (CVE-2025-46803) and, where it is setuid root, files too (CVE-2025-23395).
usable_machine() {
	for needed in screen cat mkdir mkfifo rm sleep; do
		command -v "$needed" >/dev/null || none "$needed is not installed"
	done
	sees_processes || none "neither /proc nor ps and pgrep show the processes"
	case $(screen --version 2>/dev/null) in
	*" 5.0.0"* | *" 5.00.00"*) none "screen 5.0.0 is not safe to use" ;;
	esac
}

# What the system tells of processes, by their IDs. Linux tells it in /proc, which is there where ps is not.
if [ -r /proc/self/stat ]; then
	sees_processes() { :; }

	# each_stat calls $1 with what /proc/PID/stat says of each process, but for those with a newline in their names. It is
	# for a subshell, for it changes how words are split.
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

	# has_value prints a process's ID if its stat has a value at a place. The first after the name is that of the state.
	has_value() {
		# shellcheck disable=SC2086
		set -- ${stat##*) }
		shift "$place"
		[ "$1" != "$value" ] || echo "${stat%% *}"
	}

	children_of() (place=1 value=$1; each_stat has_value)
	members_of() (place=3 value=$1; each_stat has_value)
	command_line() { cat "/proc/$1/cmdline"; }

	# is_screen prints the ID of a screen with a text among its arguments.
	is_screen() {
		case $stat in *"(screen) "*) ;; *) return ;; esac
		case $(command_line "${stat%% *}" 2>/dev/null) in *"$value"*) echo "${stat%% *}" ;; esac
	}

	screens_of() (value=$1; each_stat is_screen)

	# has_ended tells whether no process with an ID runs.
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
		# Some shells take it for an option of exec.
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

# make_directory makes the session's directory, with all files that will be written to.
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
	# Nothing on the display but what the command shows; no key that is not the command's, Ctrl-S and Ctrl-Q included; no
	# wait for utmp or for a client that has stopped reading. The display keeps its own scrollback, so screen stays off its
	# alternate screen. An escape waits some ms for what would make a key of it. What terminfo says of mouse reports (kmous)
	# is taken for a key, and becomes what screen's own terminal types say: it has to be the same. Terminals of
	# all types understand titles, mouse modes and bracketed paste, or ignore them (XT).
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

# start_screen starts screen in the environment that this script was started in, which its variables may have changed. It
# is the command's where env has no -S, as that of BusyBox, but for names that a shell can't have. Screen adds SHELL where
# there is none. A shell may refuse a variable that is its own, such as UID.
start_screen() {
	unset SHELL
	(eval "$environment") 2>/dev/null && eval "$environment"
	export SCREENDIR="$3/s" SYSSCREENRC=/dev/null
	[ -n "$LC_ALL$LC_CTYPE$LANG" ] || export LC_CTYPE=C.UTF-8
	[ -n "${SHELL+set}" ] || set -- "unset SHELL$@"
	screen -U -c "$3/screenrc" -dmS s sh -c "$@"
}

# program runs in screen. It waits until a client is there, so that the command finds the client's size, and clears what
# the change of size left behind. The terminal gets the modes that the client's had before screen, for screen has others.
# It leaves the command's exit code in a file; that it ends shows by the pipe. Who opens a pipe for both reading and
# writing does not wait for the other end, so that "go" reaches it in any case. Screen has no 24-bit colors.
program='
	unset SCREENDIR SYSSCREENRC STY WINDOW TERMCAP COLORTERM
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
			# env would take it for a variable.
			case $1 in *=*) set -- sh -c "exec \"\$@\"" sh "$@" ;; esac
			set -- env -S "$wsep_environment" "TERM=$TERM" WSEP_TTY=true "$@"
		fi
		exec "$@" 3>&-
	)
	printf "%-9s\n" $? 1<>"$1/exit"
'

# take makes this process the session's keeper.
take() { put "$dir/keeper" $$; }

# watch tells about the command until it is gone. Opening the pipe waits for the command to open its end. What runs in
# screen then says a line when it has come to wait for "go", and "running" when the command goes. It closes its end when the
# command is gone. Lines of fit are passed on. The keeper takes the watcher's end for the command's, so a watcher that is
# not heard ends only where nobody knows of the session.
watch() {
	[ "$mode" = new ] || trap '' PIPE
	{
		if [ "$mode" = new ] && ! read -r _; then
			say none "screen did not run a program"
			kill $$
			exit
		fi
		say started
		trap '' PIPE # From now on somebody knows.
		[ -p "$dir/go" ] || say running
		while read -r line; do
			say "$line"
		done
	} 2>/dev/null <"$dir/alive"
	code=$(number exit)
	[ -z "$code" ] || say exit "$code"
	say gone
}

# guard wakes the watcher if screen exits before it runs anything.
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

# command_pid prints the command's process ID. It prints nothing that kill or pkill would understand as something else.
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

# send sends a signal to processes, and to the process groups -ID. In this form alone of kill all shells take a group for
# what it is: after -s dash needs --, and BusyBox takes that for a process.
send() {
	signal=$1
	shift
	kill "-$signal" "$@" 2>/dev/null
}

# send_signal signals the command. What nobody can trap would end the shell that waits for the exit code too.
send_signal() {
	case $1 in
	KILL | STOP) send "$1" $(children_of "$(command_pid)") ;;
	*) send "$1" "-$(command_pid)" ;;
	esac
}

# fit gives the command's terminal the size of the client that attached last. With a number it says when screen has done
# so, or has not answered for two seconds. It says so through the pipe, for only the watcher writes to stdout.
fit() {
	screen -S s -p 0 -X fit
	[ -n "$1" ] || return
	screen -S s -Q echo '' &
	i=0
	while [ $i -lt 100 ] && kill -0 $!; do
		sleep 0.02
		i=$((i + 1))
	done
	kill -KILL $!
	[ ! -p "$dir/alive" ] || echo fitted "$1" 1<>"$dir/alive"
} >/dev/null 2>&1

# quit asks the command to end, kill_all sees to it, and to what it has left running in its terminal, unless it is not
# certain that this is the command's. quit does not wait for a screen that does not answer.
quit() { screen -S s -X quit >/dev/null 2>&1 & }

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

# check kills a command whose screen was killed: no client can attach to it any more. A screen that exits with its command
# removes its socket.
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
	# A screen that was about to attach may put something into a directory that is being removed.
	i=0
	while rm -rf "$dir" 2>/dev/null; [ -e "$dir" ] && [ $i -lt 50 ]; do
		sleep 0.02
		i=$((i + 1))
	done
}

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

# abandon ends a session that has not started. A screen that is just starting may not be known by its socket yet, and may
# put something into a directory that is being removed. What it runs ends with its terminal. The watcher would wait for the
# command for ever.
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

# server_gone succeeds if the server that $1 identifies has certainly exited: it ran on this machine, and no longer does.
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

# orphan is run by a keeper without its server. If the server can't come back, it ends the session at once. If the server may
# come back, it waits first.
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

# sweep ends sessions of this user whose server and keeper have both been killed. It has nothing of the keeper's open, and
# goes on when that has ended.
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
# From here on only the watcher writes to stdout, so its exit ends the output.
exec >/dev/null 2>&1
put "$dir/watcher" $watcher
case $mode in
new)
	guard &
	sweep &
	;;
join) : >"$dir/alive" ;; # The command may be gone, and then nobody else opens this end.
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
