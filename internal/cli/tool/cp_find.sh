# Prints the folder and the name of a copy, each followed by a NUL. $1 is where it is to go, $2 its name in a folder.
if [ -d "$1" ]; then
	printf '%s\0%s\0' "$1" "$2"
else
	dir=$(dirname -- "$1")
	if ! [ -d "$dir" ]; then
		printf '%s is no folder\n' "$dir" >&2
		exit 1
	fi
	printf '%s\0%s\0' "$dir" "$(basename -- "$1")"
fi
