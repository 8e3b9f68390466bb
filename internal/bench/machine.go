package bench

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
)

// Machine is where and with what a run was made.
type Machine struct {
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Node   string `json:"node"`
	Python string `json:"python"`
	Envoy  string `json:"envoy"`
	// OtherLoad is how many CPUs everything that is not part of the benchmark took
	// during a measurement. Above a few hundredths the figures are rough.
	OtherLoad Spread `json:"other_load_cpus"`
}

// describeMachine leaves empty what it cannot find out.
func describeMachine(ctx context.Context, config Config) Machine {
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return Machine{
		CPU:    modelName(string(cpu)),
		CPUs:   runtime.NumCPU(),
		Kernel: strings.TrimSpace(string(kernel)),
		Go:     strings.TrimPrefix(runtime.Version(), "go"),
		Node:   version(ctx, config.Node),
		Python: version(ctx, config.Python),
		Envoy:  version(ctx, config.Envoy),
	}
}

// modelName reads the first model name of /proc/cpuinfo, which some
// architectures do not give.
func modelName(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

var versionNumber = regexp.MustCompile(`\d+\.\d+\.\d+`)

func version(ctx context.Context, binary string) string {
	out, _ := exec.CommandContext(ctx, binary, "--version").Output()
	return string(versionNumber.Find(out))
}
