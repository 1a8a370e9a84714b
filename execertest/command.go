package execertest

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"

	"cdr.dev/wsep"
)

var commandLines = []line{
	{"Args", args},
	{"ArgsEmpty", argsEmpty},
	{"ArgsLong", argsLong},
	{"ArgsNotUTF8", argsNotUTF8},
	{"Env", env},
	{"EnvWins", envWins},
	{"WorkingDir", workingDir},
	{"Pid", pid},
	{"Untouched", untouched},
	{"IDWithoutTerminal", idWithoutTerminal},
}

// awkward are strings that are easily changed on the way.
var awkward = []string{
	"plain", "", " ", "two words", " leading and trailing ", "line\nbreak", "\n", "tab\there", "carriage\rreturn",
	"-n", "--", "--help", "-", "a=b", "=", "==", "a=b=c",
	`'`, `"`, `'"'"'`, `\`, `\n`, `\\`, "*", "?", "[a-z]*", "~", "{a,b}", "$HOME", "${HOME}", "$(id)", "`id`", "!!",
	"#", ";", "&", "|", "<", ">", "(", ")", "%s%d%n", "</script>", `{"type":"exit_code"}`,
	"Grüße, 世界 🙂", "e\u0301", "\u2028", "\x01\x1b[31m\x7f",
}

// args: every argument arrives unchanged. Nothing on the way takes it for an option, a pattern or a script.
func args(f *fixture) {
	out := f.run(f.command(program{outArgs}, awkward...))
	require.Equal(f, awkward, strings.Split(strings.TrimSuffix(out, "\x00"), "\x00"))
}

// argsEmpty: a command without arguments gets none, and the empty argument is one.
func argsEmpty(f *fixture) {
	require.Equal(f, "0\n", f.run(f.command(program{outCount})))
	require.Equal(f, "3\n", f.run(f.command(program{outCount}, "", "", "")))
	// This gets no arguments at all.
	c := f.nothing()
	c.Args = nil
	require.Empty(f, f.run(c))
	c.Args = []string{}
	require.Empty(f, f.run(c))
}

// argsLong: arguments may be long.
func argsLong(f *fixture) {
	long := strings.Repeat("0123456789abcdef", 2<<10)
	require.Equal(f, long, f.run(f.command(program{outArg(1)}, long)))
}

// argsNotUTF8: an argument that is not valid UTF-8 arrives unchanged, or the command is refused.
func argsNotUTF8(f *fixture) {
	const latin1 = "gr\xfc\xdfe"
	var p wsep.Process
	var err error
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.within(patience, "Start", func() { p, err = f.execer.Start(ctx, f.command(program{outArg(1)}, latin1)) })
	if err != nil {
		requireStartError(f, err)
		require.ErrorIs(f, err, wsep.ErrInvalidCommand)
		return
	}
	started := &process{Process: p, f: f, cancel: cancel}
	f.Cleanup(started.end)
	require.Equal(f, latin1, started.out().all())
	started.requireExit(0)
}

// env: the values of variables arrive unchanged.
func env(f *fixture) {
	var names, values []string
	for i, value := range awkward {
		name := "WSEP_TEST_" + strconv.Itoa(i)
		names, values = append(names, name), append(values, name+"="+value)
	}
	c := f.command(program{outVariables(names...)})
	c.Env = append(c.Env, values...)
	out := f.run(c)
	require.Equal(f, awkward, strings.Split(strings.TrimSuffix(out, "\x00"), "\x00"))
}

// envWins: a variable of the command wins over an inherited one, and the others stay.
func envWins(f *fixture) {
	show := f.command(program{outVariables("PATH", "HOME")})
	inherited := strings.Split(f.run(show), "\x00")
	require.NotEmpty(f, inherited[0], "inherited PATH")
	show.Env = append(show.Env, "HOME=/elsewhere")
	require.Equal(f, inherited[0]+"\x00/elsewhere\x00", f.run(show))
}

// workingDir: the command starts in its directory.
func workingDir(f *fixture) {
	dir := f.tempDir() + "/a directory; with $odd 'name"
	f.run(f.command(program{makeDir}, dir))
	c := f.command(program{outDir})
	c.WorkingDir = dir
	require.Equal(f, dir+"\n", f.run(c))
}

// pid: Pid returns the process's own ID.
func pid(f *fixture) {
	for _, mode := range []mode{piped, onTerminal} {
		p := f.start(mode(f.command(program{outPid})))
		require.Equal(f, strconv.Itoa(p.Pid()), strings.TrimSpace(p.out().all()))
		p.requireExit(0)
	}
}

// untouched: Start writes nothing into the command's slices, not even behind their ends. The caller may change the
// command once Start has returned.
func untouched(f *fixture) {
	c := typed(f.command(program{readLine, outArg(1), out("\n"), outVariables("WSEP_TEST")}, "argument"))
	lastArg, lastEnv := len(c.Args)-1, len(c.Env)
	args := append(slices.Clone(c.Args), "behind")
	env := append(slices.Clone(c.Env), "WSEP_TEST=variable", "BEHIND=1")
	c.Args, c.Env = args[:lastArg+1:lastArg+2], env[:lastEnv+1:lastEnv+2]
	argsBefore, envBefore := slices.Clone(args), slices.Clone(env)
	for _, tty := range []bool{false, true} {
		c.TTY = tty
		p := f.start(c)
		require.Equal(f, argsBefore, args)
		require.Equal(f, envBefore, env)
		args[lastArg], env[lastEnv] = "changed", "WSEP_TEST=changed"
		p.out()
		p.write("\n")
		lines := strings.Fields(strings.TrimRight(p.out().all(), "\x00"))
		require.Equal(f, []string{"argument", "variable"}, lines)
		p.requireExit(0)
		copy(args, argsBefore)
		copy(env, envBefore)
	}
}

// idWithoutTerminal: two commands with the same ID and without a terminal are separate processes.
func idWithoutTerminal(f *fixture) {
	c := typed(f.command(program{out("ready\n"), cat}))
	c.ID = "same"
	first, second := f.start(c), f.start(c)
	first.out().await("ready")
	second.out().await("ready")
	require.NotEqual(f, first.Pid(), second.Pid())
	first.write("first")
	first.closeStdin()
	require.Equal(f, "ready\nfirst", first.out().all())
	first.requireExit(0)
	second.write("second")
	second.closeStdin()
	require.Equal(f, "ready\nsecond", second.out().all())
	second.requireExit(0)
}
