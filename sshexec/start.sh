# Checks that a command can run. It reports the result in a line on stdout that begins with a mark:
#
#   ok PID         this process becomes the command
#   fail REASON
#
# Arguments: the mark, in two parts; the user's and the group's ID or nothing; the directory or nothing; the program;
# the word terminal or nothing; the warden's directory or nothing; the word env if the command sets variables, or
# nothing. At the end "$@" is the program, or what runs it. All names begin with wsep_: another name may be a variable
# of the command's environment, and setting it would change that.
wsep_mark=$1 wsep_secret=$2

wsep_say() { printf '%s%s %s\n' "$wsep_mark" "$wsep_secret" "$*"; }
wsep_fail() { wsep_say fail "$1"; exit 1; }

[ -w /dev/null ] || wsep_fail null
[ -z "$9" ] || command -v env >/dev/null || wsep_fail env
case $3 in "" | "$(id -u)") ;; *) wsep_fail user ;; esac
case $4 in "" | "$(id -g)") ;; *) wsep_fail user ;; esac

if [ -n "$5" ]; then
	[ -e "$5" ] || wsep_fail directory-missing
	[ -d "$5" ] || wsep_fail directory-file
	# cd has a meaning of its own for some relative names.
	case $5 in
	/*) CDPATH='' cd -P "$5" ;;
	*) CDPATH='' cd -P "./$5" ;;
	esac 2>/dev/null || wsep_fail directory-denied
fi

# Find the program as execvp does. command -v would find builtins first.
wsep_program=$6
case $6 in
*/*) [ -e "$6" ] || wsep_fail program-missing ;;
*)
	wsep_path=$PATH:
	while :; do
		[ -n "$wsep_path" ] || wsep_fail program-missing
		wsep_program=${wsep_path%%:*}
		wsep_program=${wsep_program:-.}/$6
		wsep_path=${wsep_path#*:}
		[ -f "$wsep_program" ] && [ -x "$wsep_program" ] && break
	done
	;;
esac
[ -f "$wsep_program" ] && [ -x "$wsep_program" ] || wsep_fail program-denied
case $wsep_program in /*) ;; *) wsep_program=./$wsep_program ;; esac

# If the system can't run a file, exec has a shell run it as a script. The system can run ELF, Mach-O, and scripts that
# name an interpreter.
case $(od -An -tx1 -N4 2>/dev/null <"$wsep_program") in
*23*21*)
	read -r wsep_line wsep_rest <"$wsep_program"
	wsep_line=${wsep_line#??}
	[ -e "${wsep_line:-${wsep_rest%% *}}" ] || wsep_fail interpreter-missing
	;;
"" | *7f*45*4c*46* | *c[ef]*fa*ed*fe* | *fe*ed*fa*c[ef]* | *ca*fe*ba*be*) ;;
*) wsep_fail program-format ;;
esac

# Not all servers give a command without a terminal a process group. setsid keeps the process ID of a process that does
# not lead one.
wsep_group=
[ -n "$7" ] || kill -0 "-$$" 2>/dev/null || ! command -v setsid >/dev/null || wsep_group=setsid

# See warden.sh.
wsep_file=${8:+$8/$$}
[ -z "$wsep_file" ] || printf '' 2>/dev/null >"$wsep_file" || wsep_fail warden

# When the start was given up, this write fails. Then the command must not run, even if the login's shell ignores
# SIGPIPE.
wsep_quit() { rm -f "$wsep_file"; exit 1; }
wsep_say ok $$ 2>/dev/null || wsep_quit
[ -n "$7" ] || wsep_say >&2 || wsep_quit

# env takes a program with an equals sign for a variable.
case $wsep_program in
*=*) set -- /bin/sh -c 'exec "$0" "$@"' "$wsep_program" ;;
*) set -- "$wsep_program" ;;
esac
