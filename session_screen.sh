# Keeps a session: a command in GNU screen that clients attach to. The session's Server runs this where the command is to
# run, tells it what to do by lines on stdin, and is told by lines on stdout:
#
#   dir D          the session's directory
#   started        the command waits for "go"
#   running        the command goes: what is typed is for it, and what is shown is its own
#   exit N         the command has ended
#   gone           nothing is left of the command
#   lost           there is nothing to take over
#   none R         there is no screen to use, for the reason R
#   fail K R       the session can't be, for a reason R of the kind K
#
# Arguments: "new" or, to take over from a keeper that was lost, "join", or, to end what one has left that was killed as it
# started, "drop"; the session's name; the server's identity (boot ID, PID namespace, PID and start time, or nothing); how
# many seconds a session outlives a server that may come back; then, for "new", the command.
environment=$(export -p) mask=$(umask)
umask 077
mode=$1 name=$2 server=$3 patience=$4 stale= made= watcher=
shift 4

say() { printf '%s\n' "$*"; }
fail() { say "fail $*"; exit 1; }

# A socket's path may have some hundred bytes.
base=${TMPDIR:-/tmp}
case $base in /*) ;; *) base=/tmp ;; esac
[ "${#base}" -le 40 ] || base=/tmp
dir=$base/wsep-$name

export SCREENDIR="$dir/s" SYSSCREENRC=/dev/null

# find_program fails unless $1 can be run, as execvp would find it. It sets found.
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

# has_terminal_type tells whether the machine knows a terminal type.
has_terminal_type() { tput -T "$1" longname >/dev/null 2>&1; }

# usable_screen fails unless there is a screen that is fit for use. Release 5.0.0 gives terminals to everybody
# (CVE-2025-46803) and, where it is setuid root, files too (CVE-2025-23395).
usable_screen() {
	command -v screen >/dev/null || { say none "screen is not installed"; exit; }
	case $(screen --version 2>/dev/null) in
	*" 5.0.0"* | *" 5.00.00"*) say none "screen 5.0.0 is not safe to use"; exit ;;
	esac
}

create() {
	find_program "$1"
	case $1 in -*)
		# Some shells take it for an option of exec.
		shift
		set -- "$found" "$@"
		;;
	esac
	made=yes
	reason=$(mkdir "$dir" 2>&1) || {
		made=
		fail other "$reason"
	}
	say dir "$dir"
	mkdir "$dir/s" && mkfifo "$dir/alive" "$dir/go" || fail other "can't fill $dir"
	say "$server" >"$dir/server"
	take
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
	" >"$dir/screenrc"
	reason=$(start_screen "$program" wsep "$dir" "$mask" "$@" 2>&1 </dev/null) || fail other "screen: $reason"
}

# start_screen starts screen in the environment that the command is to have. This script's variables may have changed it.
# Screen adds SHELL where there is none.
start_screen() {
	unset SHELL
	eval "$environment"
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
	echo $$ >"$1/pid"
	exec 4<>"$1/go" 3>"$1/alive"
	read -r _ <&4
	exec 4<&-
	{ read -r modes <"$1/modes" && stty "$modes"; } 2>/dev/null
	printf "\033[H\033[2J"
	rm -f "$1/go"
	trap : HUP INT QUIT ILL ABRT FPE SEGV PIPE ALRM TERM USR1 USR2
	echo running 2>/dev/null >&3
	(umask "$2" && shift 2 && exec "$@" 3>&-)
	echo $? >"$1/exit.new" && mv "$1/exit.new" "$1/exit"
'

# take makes this the session's keeper.
take() { echo $$ >"$dir/keeper"; }

# watch tells about the command until it is gone. Opening the pipe waits for the command to open its end, reading it for
# the command to go and then to close it. The keeper takes the watcher's end for the command's, so a watcher that is not heard ends only
# where nobody knows of the session.
watch() {
	[ "$mode" = new ] || trap '' PIPE
	{
		say started
		trap '' PIPE # From now on somebody knows.
		read -r _ && {
			say running 2>/dev/null
			read -r _
		}
	} <"$dir/alive"
	if [ -r "$dir/exit" ]; then say exit "$(cat "$dir/exit")"; fi
	say gone
}

# command_pid prints the command's process ID, and nothing that kill or pkill would take for something else.
command_pid() {
	pid=$(cat "$dir/pid" 2>/dev/null)
	case $pid in "" | 0* | 1 | *[!0-9]*) return 1 ;; esac
	echo "$pid"
}

# owns tells whether a process, by its ID, is this session's. When that has ended, the number may be somebody else's.
owns() {
	case $1 in "" | *[!0-9]*) return 1 ;; esac
	case $(ps -ww -o args= -p "$1" 2>/dev/null) in *"$name"*) ;; *) return 1 ;; esac
}

# has_ended tells whether no process with an ID runs.
has_ended() {
	case $(ps -o stat= -p "$1" 2>/dev/null) in "" | Z*) ;; *) return 1 ;; esac
}

# send_signal signals the command. What nobody can trap would end the shell that waits for the exit code too.
send_signal() {
	case $1 in
	KILL | STOP) pkill "-$1" -P "$(command_pid)" ;;
	*) kill -s "$1" -- "-$(command_pid)" ;;
	esac
}

# quit asks the command to end, kill_all sees to it, and to what it has left running in its terminal, unless it is not
# certain that this is the command's. quit does not wait for a screen that does not answer.
quit() { screen -S s -X quit >/dev/null 2>&1 & }

kill_all() {
	pid=$(command_pid) && if owns "$pid" || { [ -z "$stale" ] && has_ended "$pid"; }; then
		pkill -KILL -s "$pid" 2>/dev/null
		kill -KILL -- "-$pid" 2>/dev/null
	fi
	for socket in "$dir"/s/*.s; do
		daemon=${socket##*/}
		daemon=${daemon%.s}
		owns "$daemon" && kill -KILL "$daemon" 2>/dev/null
	done
}

# check ends a command whose screen was killed: nobody can attach to it any more. A screen that ends with its command
# takes its socket with it.
check() {
	pid=$(command_pid) && owns "$pid" || return
	for socket in "$dir"/s/*.s; do
		daemon=${socket##*/}
		[ -S "$socket" ] && ! owns "${daemon%.s}" && kill_all
	done
}

# screen_runs tells whether a screen may still be there. One that was killed has left its socket.
screen_runs() {
	for socket in "$dir"/s/*.s; do
		daemon=${socket##*/}
		[ -e "$socket" ] && kill -0 "${daemon%.s}" && return
	done 2>/dev/null
	return 1
}

# clean removes the session's files, when screen has had its time to go.
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
# put something into a directory that is being removed. The watcher would wait for the command for ever.
abandon() {
	trap '' TERM PIPE
	[ -n "$made" ] || return
	kill "$watcher" 2>/dev/null
	for _ in 1 2 3; do
		pkill -KILL -f "/wsep-$name"
		rm -rf "$dir"
		sleep 0.02
	done 2>/dev/null
}

# server_gone tells whether the server that $1 identifies has certainly ended: it ran on this machine, and no more.
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

# orphan is what a keeper does without its server: it ends the session at once when the server can't come back, and after
# some time when it does not.
orphan() {
	i=0
	while [ $i -lt "$patience" ] && [ "$(cat "$dir/keeper" 2>/dev/null)" = $$ ]; do
		kill -0 "$watcher" 2>/dev/null || break
		server_gone "$server" && break
		sleep 1
		i=$((i + 1))
	done
	[ "$(cat "$dir/keeper" 2>/dev/null)" = $$ ] && finish
	kill "$watcher" 2>/dev/null
}

# sweep ends sessions of this user whose server and keeper have both been killed.
sweep() (
	running=$server
	for dir in "$base"/wsep-????????-????-????-????-????????????; do
		[ -d "$dir" ] && [ ! -L "$dir" ] && [ -O "$dir" ] && [ -r "$dir/server" ] || continue
		read -r other <"$dir/server"
		[ "$other" != "$running" ] && [ "$other" != "$server" ] || continue
		server_gone "$other" || {
			running=$other
			continue
		}
		name=${dir##*/wsep-}
		owns "$(cat "$dir/keeper" 2>/dev/null)" && continue
		export SCREENDIR="$dir/s"
		stale=
		watcher=$(command_pid) && owns "$watcher" || stale=yes watcher=
		finish
	done
)

case $mode in
new)
	usable_screen
	trap 'exit 1' TERM PIPE
	trap abandon EXIT
	create "$@"
	;;
join)
	[ -d "$dir" ] || { say lost; exit 1; }
	say dir "$dir"
	old=$(cat "$dir/keeper" 2>/dev/null)
	take
	owns "$old" && kill "$old" 2>/dev/null
	;;
drop)
	made=yes
	abandon
	exit
	;;
esac
watch &
watcher=$!
case $mode in
new) sweep </dev/null >/dev/null 2>&1 & ;;
join) : >"$dir/alive" ;; # The command may be gone, and then nobody else opens this end.
esac

while read -r order argument; do
	trap - TERM PIPE EXIT
	case $order in
	go) if [ -p "$dir/go" ]; then echo 1<>"$dir/go"; else say running; fi ;;
	fit) screen -S s -p 0 -X fit >/dev/null 2>&1 & ;;
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
