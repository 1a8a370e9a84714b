# Unpacks the archive at stdin in the folder $1. The last line of stderr is the archive's hash.
command -v tar >/dev/null || exit 97
hash() { cat >/dev/null && echo none; }
for program in sha256sum sha256 'shasum -a 256'; do
	if command -v "${program%% *}" >/dev/null; then
		hash() { $program; }
		break
	fi
done
scratch=$(mktemp -d) || exit
trap 'rm -rf "$scratch"' EXIT
mkfifo "$scratch/copy" || exit
hash <"$scratch/copy" >"$scratch/hash" &
tee "$scratch/copy" | {
	tar -xpof - -C "$1"
	code=$?
	cat >/dev/null
	exit $code
}
code=$?
wait
echo "wsep-sha256 $(cat "$scratch/hash")" >&2
exit $code
