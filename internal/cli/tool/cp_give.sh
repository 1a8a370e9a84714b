# Packs $1 into an archive on stdout. The last line of stderr is the archive's hash.
command -v tar >/dev/null || exit 97
if ! [ -e "$1" ] && ! [ -L "$1" ]; then
	echo 'there is no such file or folder' >&2
	exit 1
fi
hash() { cat >/dev/null && echo none; }
for program in 'openssl dgst -sha256 -r' sha256sum sha256 'shasum -a 256'; do
	if command -v "${program%% *}" >/dev/null; then
		hash() { $program; }
		break
	fi
done
cd -- "$(dirname -- "$1")" || exit
scratch=$(mktemp -d) || exit
trap 'rm -rf "$scratch"' EXIT
mkfifo "$scratch/copy" || exit
hash <"$scratch/copy" >"$scratch/hash" &
{
	tar -cf - -- "$(basename -- "$1")"
	echo $? >"$scratch/code"
} | tee "$scratch/copy"
wait
echo "wsep-sha256 $(cat "$scratch/hash")" >&2
exit "$(cat "$scratch/code")"
