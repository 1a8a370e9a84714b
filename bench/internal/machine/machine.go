// Package machine describes the machine where measurements were made.
package machine

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// Machine describes a machine.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// This describes the machine that this process runs on.
func This() Machine {
	return Machine{CPU: cpu(), Cores: runtime.NumCPU(), Kernel: kernel(), Go: runtime.Version()}
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, cores: %d, %s, %s", m.CPU, m.Cores, m.Kernel, m.Go)
}

// cpu returns the processor's name, or its architecture if the system does not tell the name.
func cpu() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range bytes.Lines(info) {
		key, value, _ := strings.Cut(string(line), ":")
		if strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func kernel() string {
	release, err := exec.Command("uname", "-sr").Output()
	if err != nil {
		return runtime.GOOS
	}
	return strings.TrimSpace(string(release))
}
