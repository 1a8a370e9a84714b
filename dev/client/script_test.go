//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/cli/servercmd"
	"cdr.dev/wsep/internal/cli/tool"
	"cdr.dev/wsep/internal/sshtest"
)

// TestMain lets the test binary also run as the client, as the server, and as cmd/wsep.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"client":           main,
		"panicking-client": panickingMain,
		"wsep":             func() { os.Exit(tool.Main(os.Args[1:], os.Stdout, os.Stderr)) },
		"server":           func() { os.Exit(servercmd.Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScript runs the scripts in testdata/script. They have testscript's commands and these:
//
//	serve [-wsep] [FLAG...]          start a server on a free port, as wsep serve if asked for; set $URL and $SERVER to its
//	                                 URL and its pid, and $PAGE to the address of its page without the last /
//	serverended CODE                 wait until the server has exited, with this code; its log is in the file serverlog
//	certificates NAME...             make an authority for each name: NAME-ca.pem, and NAME.pem with NAME.key, which it has issued
//	silent                           start a server that takes connections and never answers; set $URL
//	connected                        wait until a client has sent something to it
//	exits CODE PROGRAM [ARG...]      run a program, which must exit with the code
//	spawn [-tty ROWSxCOLS] PROGRAM [ARG...]
//	                                 start a program in the background, in a terminal of its own if asked for;
//	                                 set $PID
//	expect REGEXP [NAME...]          wait until the spawned program has written a match, beyond what the last expect
//	                                 matched; set the variables to the regexp's groups
//	send TEXT                        type, or write to stdin; \r and the like as in Go
//	closestdin                       close the stdin of a program without a terminal
//	resize ROWSxCOLS                 resize the terminal
//	raw                              wait until the terminal is raw
//	restored                         check that a program that has ended left the terminal as it found it
//	ended CODE                       wait until the spawned program has exited, with this code
//	signal NAME PID                  send a signal
//	gone PID                         wait until the process does not run
//	line [BYTES]                     put a line that can be cut before the server; set $URL to its end; each connection is cut
//	                                 when it has carried so many bytes to the server
//	answered                         wait until the server has sent something to the spawned program over the line
//	cut                              cut the line: connections end, and none can be made
//	mend                             mend the line
//	screen FILE                      write what the program's terminal shows to a file
//	showsagain FILE                  wait until the terminal shows what is in the file
//	wrote N REGEXP                   check that the program's output so far has N matches
//
// The condition [sshd] says whether there is an SSH host: $SSH_USER at $SSH_ADDRESS. The key is in $SSH_IDENTITY, and in the
// agent at $SSH_AGENT. $SSH_KNOWN_HOSTS has the host's key. The home there is $SSH_HOME.
//
// A wait that takes longer than patience fails.
func TestScript(t *testing.T) {
	heedSignals()
	sshEnv := startSSHD(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			// Otherwise the race detector waits a second before the program exits. Left processes could exit meanwhile.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Vars = append(env.Vars, sshEnv...)
			env.Values[serverKey{}] = new(*server)
			env.Values[spawnedKey{}] = new(*spawned)
			env.Values[lineKey{}] = new(line)
			env.Values[silentKey{}] = make(chan struct{}, 16)
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "sshd" {
				return false, xerrors.Errorf("unknown condition %q", name)
			}
			return len(sshEnv) > 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":        cmdServe,
			"serverended":  cmdServerEnded,
			"silent":       cmdSilent,
			"connected":    cmdConnected,
			"exits":        cmdExits,
			"spawn":        cmdSpawn,
			"expect":       cmdExpect,
			"send":         cmdSend,
			"closestdin":   cmdCloseStdin,
			"resize":       cmdResize,
			"raw":          cmdRaw,
			"restored":     cmdRestored,
			"ended":        cmdEnded,
			"signal":       cmdSignal,
			"gone":         cmdGone,
			"line":         cmdLine(t),
			"answered":     cmdAnswered,
			"certificates": cmdCertificates,
			"cut":          cmdCut,
			"mend":         cmdMend,
			"screen":       cmdScreen,
			"showsagain":   cmdShowsAgain,
			"wrote":        cmdWrote,
		},
	})
}

// startSSHD starts an SSH host for the scripts, and returns its variables. There are none if sshd is not installed.
func startSSHD(t *testing.T) []string {
	if sshtest.Path() == "" {
		return nil
	}
	s := sshtest.Start(t)
	return []string{
		"SSH_USER=" + s.User, "SSH_ADDRESS=" + s.Address, "SSH_IDENTITY=" + s.Identity, "SSH_AGENT=" + s.Agent(t),
		"SSH_KNOWN_HOSTS=" + s.KnownHosts, "SSH_HOME=" + s.Home,
	}
}

// heedSignals catches the signals that this program was started to ignore, for example by nohup. The programs that the scripts
// start then get the default: a program inherits ignored signals, but not caught ones.
func heedSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 2, -1)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code is %d, want %d", code, want)
	}
}
