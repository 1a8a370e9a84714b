package wsep

import (
	"context"
	"errors"
	"log"

	"golang.org/x/sys/windows"
)

// Again is a LocalExecer that starts a command once more, and logs so, if Wine could not create its process. Wine's NtCreateUserProcess
// fails with STATUS_INTERNAL_ERROR if the new process has ended before its first instruction. This package ends none so early.
type Again LocalExecer

// Start implements Execer.
func (a Again) Start(ctx context.Context, c Command) (Process, error) {
	p, err := LocalExecer(a).Start(ctx, c)
	if errors.Is(err, windows.ERROR_INTERNAL_ERROR) {
		log.Printf("Wine could not create a process: %v", err)
		p, err = LocalExecer(a).Start(ctx, c)
	}
	return p, err
}
