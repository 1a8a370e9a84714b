package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// contender is a program that is measured.
type contender struct {
	name    string
	program string // in the folder of the programs, or an absolute path
	over    string // how the program connects, if it has several ways
	works   []string
}

// The contenders' names.
const (
	old   = "v0.2.4"
	user  = "user's connection"
	own   = "own ends"
	local = "local"
	raw   = "raw nhooyr"
	coder = "raw coder"
	ssh   = "OpenSSH"
	relay = "splice" // a relay that moves bytes by splice(2)
)

var (
	streams = []string{"upload", "download", "echo", "rtt"}
	starts  = append(slices.Clone(streams), "start")
	cpu     = []string{"upload-cpu", "download-cpu"}
	common  = slices.Concat(starts, []string{"many", "idle", "allocs"}, cpu)
	all     = slices.Concat(starts, []string{"again", "far", "many", "idle", "allocs"}, cpu)
)

var contenders = []contender{
	{old, "v024", "", common},
	{user, "ours", "user", common},
	{own, "ours", "own", all},
	{local, "ours", "local", starts},
	{relay, "splicing", "", slices.Concat(streams, cpu)},
	{raw, "raw", "nhooyr", streams},
	{coder, "raw", "coder", streams},
	{ssh, "ssh", "", starts},
}

// present returns the contenders that can be measured here.
func present() []contender {
	_, clientErr := exec.LookPath("ssh")
	_, serverErr := exec.LookPath("sshd")
	err := errors.Join(clientErr, serverErr)
	if err == nil {
		return contenders
	}
	log.Printf("%s is not measured: %v", ssh, err)
	return slices.DeleteFunc(slices.Clone(contenders), func(c contender) bool { return c.name == ssh })
}

// build builds the contenders' programs. The one of v0.2.4 has a module of its own, because a module can't require two versions of wsep.
func build(ctx context.Context, dir, binaries string) error {
	for _, args := range [][]string{
		{"build", "-C", dir, "-o", binaries, "./cmd/ours", "./cmd/raw", "./cmd/splicing", "./cmd/ssh"},
		{"build", "-C", filepath.Join(dir, "v024"), "-o", binaries, "."},
	} {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("build: %w", err)
		}
	}
	return nil
}
