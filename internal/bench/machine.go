package bench

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"envoke/runtimes/rust"
)

// Machine is where and with what a run was made.
type Machine struct {
	CPU      string    `json:"cpu"`
	CPUs     int       `json:"cpus"`
	Memory   int64     `json:"memory_bytes"`
	Kernel   string    `json:"kernel"`
	Versions []Version `json:"versions"` // of what is there
	// OtherLoad is how many CPUs everything that is not part of the benchmark took
	// during a measurement. Above a few hundredths the figures are rough.
	OtherLoad Spread `json:"other_load_cpus"`
}

// Version is that of a program that took part.
type Version struct {
	Of      string `json:"of"`
	Version string `json:"version"`
}

// describeMachine leaves out what it cannot find out.
func describeMachine(ctx context.Context, config Config) Machine {
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	memory, _ := os.ReadFile("/proc/meminfo")
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return Machine{
		CPU:      modelName(string(cpu)),
		CPUs:     runtime.NumCPU(),
		Memory:   totalMemory(string(memory)),
		Kernel:   strings.TrimSpace(string(kernel)),
		Versions: versions(ctx, config),
	}
}

func versions(ctx context.Context, config Config) []Version {
	var envoke string
	if config.Envoke != "" {
		envoke = revision(ctx, config.Envoke)
	}
	node := filepath.Join(config.PeersDir, "node", "node_modules")
	python := filepath.Join(config.PeersDir, "python")
	return slices.DeleteFunc([]Version{
		{"Envoke", envoke},
		{"Envoy", version(ctx, config.Envoy)},
		{"Go", strings.TrimPrefix(runtime.Version(), "go")},
		{"Node.js", version(ctx, config.Node)},
		{"Python", version(ctx, config.Python)},
		{"Rust", rustVersion(ctx, config.Rustc)},
		{"wazero", moduleVersion("github.com/tetratelabs/wazero")},
		{"uvicorn", wheelVersion(python, "uvicorn")},
		{"functions-framework for Node.js", packageVersion(filepath.Join(node, "@google-cloud", "functions-framework"))},
		{"functions-framework for Python", wheelVersion(python, "functions_framework")},
		{"workerd", packageVersion(filepath.Join(node, "workerd"))},
	}, func(v Version) bool { return v.Version == "" })
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

// totalMemory reads "MemTotal: <n> kB" of /proc/meminfo, in bytes.
func totalMemory(meminfo string) int64 {
	_, rest, _ := strings.Cut(meminfo, "MemTotal:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	return n << 10
}

var versionNumber = regexp.MustCompile(`\d+\.\d+\.\d+`)

func version(ctx context.Context, binary string) string {
	out, _ := exec.CommandContext(ctx, binary, "--version").Output()
	return string(versionNumber.Find(out))
}

// revision is the commit that a binary was built from. One that was built in a second
// work tree of git does not know it: then it is that of the current folder.
func revision(ctx context.Context, binary string) string {
	const digits = 12
	settings := make(map[string]string)
	if info, err := buildinfo.ReadFile(binary); err == nil {
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
	}
	if commit := settings["vcs.revision"]; len(commit) > digits {
		if settings["vcs.modified"] == "true" {
			return commit[:digits] + "-dirty"
		}
		return commit[:digits]
	}
	out, _ := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev="+strconv.Itoa(digits)).Output()
	return strings.TrimSpace(string(out))
}

// rustVersion asks a compiler as hosts do, who have it find its libraries.
func rustVersion(ctx context.Context, rustc string) string {
	if rustc == "" {
		return ""
	}
	found, _ := rust.Find(ctx, rustc)
	return found.Version
}

// moduleVersion is that of a module in this program.
func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, module := range info.Deps {
		if module.Path == path {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return ""
}

// wheelVersion is that of a Python package in a folder of them.
func wheelVersion(folder, name string) string {
	found, _ := filepath.Glob(filepath.Join(folder, name+"-*.dist-info"))
	if len(found) == 0 {
		return ""
	}
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), name+"-"), ".dist-info")
}

// packageVersion is that of an npm package in a folder of its own.
func packageVersion(folder string) string {
	content, _ := os.ReadFile(filepath.Join(folder, "package.json"))
	var about struct {
		Version string `json:"version"`
	}
	_ = json.Unmarshal(content, &about) // what is not there has no version
	return about.Version
}
