# Checks that a command can run, and says so, or why it can't, by a line on stdout that begins with a mark:
#
#   ok PID         this process becomes the command
#   fail REASON
#
# Arguments: the mark, in two parts; the user's and the group's ID or nothing; the directory or nothing; the program;
# the word terminal or nothing; the warden's directory or nothing; the word env if that is to set variables, or nothing.
# Then "$@" is the program, and what it takes to run it. What is named here may also be a variable of the environment, and
# would be changed there, so all names begin alike.
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

# As execvp finds it. command -v finds builtins first.
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

# exec has a shell run as a script what the system can't run. It can run scripts with an interpreter, ELF and Mach-O.
case $(od -An -tx1 -N4 2>/dev/null <"$wsep_program") in
*23*21*)
	read -r wsep_line wsep_rest <"$wsep_program"
	wsep_line=${wsep_line#??}
	[ -e "${wsep_line:-${wsep_rest%% *}}" ] || wsep_fail interpreter-missing
	;;
"" | *7f*45*4c*46* | *c[ef]*fa*ed*fe* | *fe*ed*fa*c[ef]* | *ca*fe*ba*be*) ;;
*) wsep_fail program-format ;;
esac

# Not all servers give a command without a terminal a process group. setsid keeps the process ID of who leads none.
wsep_group=
[ -n "$7" ] || kill -0 "-$$" 2>/dev/null || ! command -v setsid >/dev/null || wsep_group=setsid

# See warden.sh.
wsep_file=${8:+$8/$$}
[ -z "$wsep_file" ] || printf '' 2>/dev/null >"$wsep_file" || wsep_fail warden

# Nobody listens who has given up. Then the command must not run, though the login may have SIGPIPE ignored.
wsep_quit() { rm -f "$wsep_file"; exit 1; }
wsep_say ok $$ 2>/dev/null || wsep_quit
[ -n "$7" ] || wsep_say >&2 || wsep_quit

# env takes a program with an equals sign for a variable.
case $wsep_program in
*=*) set -- /bin/sh -c 'exec "$0" "$@"' "$wsep_program" ;;
*) set -- "$wsep_program" ;;
esac
