package wsep

import (
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"github.com/charmbracelet/x/conpty"
	"golang.org/x/sys/windows"
	"golang.org/x/xerrors"
)

// job holds a command's process and all that it starts. They are killed when the job is closed, and so when this process ends.
type job struct{ handle windows.Handle }

func newJob() (job, error) {
	h, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return job{}, xerrors.Errorf("create job: %w", err)
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	_, err = windows.SetInformationJobObject(h, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits)))
	if err != nil {
		_ = windows.CloseHandle(h)
		return job{}, xerrors.Errorf("limit job: %w", err)
	}
	return job{h}, nil
}

// start starts a command that is to be created suspended.
func (j job) start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	var err error
	handleErr := cmd.Process.WithHandle(func(process uintptr) { err = j.adopt(windows.Handle(process)) })
	if err == nil {
		err = handleErr
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	return err
}

// spawn starts a command in a console.
func (j job) spawn(pty *conpty.ConPty, cmd *exec.Cmd) (*os.Process, error) {
	cmd.SysProcAttr.CreationFlags |= windows.CREATE_SUSPENDED
	pid, h, err := pty.Spawn(cmd.Path, cmd.Args, &syscall.ProcAttr{Dir: cmd.Dir, Env: cmd.Env, Sys: cmd.SysProcAttr})
	if err != nil {
		return nil, &os.PathError{Op: startOp, Path: cmd.Path, Err: err}
	}
	// As long as the handle is open, no other process has the number.
	handle := windows.Handle(h)
	defer func() { _ = windows.CloseHandle(handle) }()
	process, err := os.FindProcess(pid)
	if err == nil {
		if err = j.adopt(handle); err == nil {
			return process, nil
		}
		_ = process.Release()
	}
	_ = windows.TerminateProcess(handle, killedCode)
	return nil, err
}

// ntResumeProcess resumes all threads of a process. It takes the process, where ResumeThread takes a thread that os/exec has
// closed.
var ntResumeProcess = windows.NewLazySystemDLL("ntdll.dll").NewProc("NtResumeProcess")

// adopt puts a suspended process into the job, and lets it run. So all that it starts is in the job too.
func (j job) adopt(process windows.Handle) error {
	if err := assignToJob(j.handle, process); err != nil {
		return xerrors.Errorf("assign process to job: %w", err)
	}
	if status, _, _ := ntResumeProcess.Call(uintptr(process)); status != 0 {
		return xerrors.Errorf("resume process: %w", windows.NTStatus(status))
	}
	return nil
}

// assignToJob puts a process into a job. A test replaces it.
var assignToJob = windows.AssignProcessToJobObject

func (j job) terminate() { _ = windows.TerminateJobObject(j.handle, killedCode) }

func (j job) close() { _ = windows.CloseHandle(j.handle) }
