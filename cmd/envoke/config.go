package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"envoke/internal/faas"
)

// Config holds every setting. A setting is a flag (--max-script-size), an
// environment variable (MAX_SCRIPT_SIZE) and a key of the config file
// (max_script_size); the flag wins over the variable, the variable over the file.
// A variable NAME_FILE names a file that holds the value, which is trimmed.
type Config struct {
	File string

	Host           string
	Port           int
	AdminPort      int
	InsecurePublic bool

	DataDir, CacheDir, RunDir string
	Rustc, Envoy              string
	EnvoyConcurrency          int
	Filter                    bool
	CacheMemoryMB             int

	DatabaseURL             string
	RedisURL, RedisCacheURL string
	AdminKey                string
	SecretsKeyFile          string
	SessionExpirySeconds    int
	DBLoggingEnabled        bool
	AccessLog               string
	LogRetentionHours       int
	LogPayloads             bool
	LogPayloadBytes         int
	LogWaitingMB            int
	LogMaskKeys             string

	RuntimeSelectionStrategy, RuntimeMappingsFile string

	Interpreters map[faas.Language]*string // that were asked for
	RuntimeURLs  map[faas.Language]*string // of hosts elsewhere

	RuntimeTimeoutSeconds int
	StreamTimeoutSeconds  int
	RuntimeMaxRequests    int
	RequestTimeoutSeconds int
	DrainTimeoutSeconds   int
	MaxScriptSize         int
	ScriptTimeoutMS       int
	BuildWaitMS           int

	MaxModuleSize             int
	WASMCompileTimeoutSeconds int

	IdleWorkers, MaxWorkers        int
	WorkerConcurrency, WorkerQueue int
	QueueWaitMS                    int
	WorkerIdleSeconds              int
	WorkerMemoryMB                 int
	WorkerCPUMS                    int
	WorkerScratchMB                int
	WorkerMaxCalls                 int
	WorkerMaxMinutes               int
	Sandbox                        string

	Egress, EgressAllow, EgressDeny               string
	EgressMaxConnections, EgressWorkerConnections int
	EgressIdleSeconds                             int

	Dependencies             bool
	NPMRegistry, PipIndexURL string

	LogLevel, LogFormat string
	Door
	Links
	Edge
	Declared
	OpenFaaS
	Cluster
}

// bind declares the flags; their defaults are the settings' defaults.
func (c *Config) bind(f *pflag.FlagSet) {
	f.StringVar(&c.File, "config", "", "YAML file of settings, keys as the variables in lower case")

	f.StringVar(&c.Host, "host", "127.0.0.1", "address of Envoy's public listener")
	f.IntVar(&c.Port, "port", 9000, "port of Envoy's public listener, 0 for any free one")
	f.IntVar(&c.AdminPort, "admin-port", 9001, "port for operators on 127.0.0.1: metrics, health, debugging; 0 for any free one")
	f.BoolVar(&c.InsecurePublic, "insecure-public", false, "listen on other than loopback although nobody checks who calls")

	f.StringVar(&c.DataDir, "data-dir", "", "folder of the database and the access log (default $XDG_DATA_HOME/envoke)")
	f.StringVar(&c.CacheDir, "cache-dir", "", "folder of what can be fetched again, such as Envoy (default $XDG_CACHE_HOME/envoke)")
	f.StringVar(&c.RunDir, "run-dir", "", "folder of the sockets, of a short path (default: a new temporary one for serve, one of the user for parts alone)")
	c.bindDoor(f)
	c.bindInterpreters(f)
	f.StringVar(&c.Rustc, "rustc", "", "Rust compiler with the target wasm32-wasip1, 1.63 or newer (default: rustc on PATH; without one, only ready WebAssembly modules run)")
	f.StringVar(&c.Envoy, "envoy", "", "Envoy binary of the pinned version (default: fetched into the cache folder)")
	f.IntVar(&c.EnvoyConcurrency, "envoy-concurrency", 0, "Envoy's worker threads, 0 for one per core")
	f.BoolVar(&c.Filter, "filter", true, "have Envoy load the Wasm filter; without it requests pass by, and nothing else changes")

	f.IntVar(&c.CacheMemoryMB, "cache-memory-mb", 64, "memory for results of functions that may be cached, in MiB; 0 caches nothing")

	c.bindStores(f)
	c.bindKeys(f)
	f.IntVar(&c.SessionExpirySeconds, "session-expiry-seconds", 3600, "life of a session")
	f.BoolVar(&c.DBLoggingEnabled, "db-logging-enabled", true, "store a row for each request")
	c.bindLogs(f)

	f.StringVar(&c.RuntimeSelectionStrategy, "runtime-selection-strategy", "prefix", "how a function's name tells its language: prefix, config (by --runtime-mappings-file), or discovery (by Services of Kubernetes)")
	f.StringVar(&c.RuntimeMappingsFile, "runtime-mappings-file", "", "JSON list of {pattern, runtime_type, is_regex}: the first that matches a name is its language")
	c.bindHosts(f)
	c.bindLinks(f)
	c.bindEdge(f)
	c.bindCluster(f)
	f.IntVar(&c.RuntimeTimeoutSeconds, "runtime-timeout-seconds", 30, "longest time that one execute may take, or a stream from one part to the next")
	f.IntVar(&c.StreamTimeoutSeconds, "stream-timeout-seconds", 300, "longest time that a whole stream may take")
	f.IntVar(&c.RuntimeMaxRequests, "runtime-max-requests", 8192, "requests under way at the hosts of one language before Envoy answers 429")
	f.IntVar(&c.RequestTimeoutSeconds, "request-timeout-seconds", 60, "longest time that a caller may take to send a request")
	f.IntVar(&c.DrainTimeoutSeconds, "drain-timeout-seconds", 35, "longest wait for requests under way when stopping")
	f.IntVar(&c.MaxScriptSize, "max-script-size", 1<<20, "largest script_content, in bytes")
	f.IntVar(&c.ScriptTimeoutMS, "script-timeout-ms", 5000, "longest time that loading a script may take")

	f.IntVar(&c.BuildWaitMS, "build-wait-ms", 10_000, "how long an initialize waits for its code to be built before it answers 202")
	f.IntVar(&c.MaxModuleSize, "max-module-size", 32<<20, "largest WebAssembly module, in bytes before base64")
	f.IntVar(&c.WASMCompileTimeoutSeconds, "wasm-compile-timeout-seconds", 60, "longest time that compiling Rust source, or loading a WebAssembly module, may take")
	c.bindWorkers(f)

	f.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", "text", "text or json")
}

func (c *Config) bindWorkers(f *pflag.FlagSet) {
	f.IntVar(&c.IdleWorkers, "idle-workers", 2, "worker processes kept ready for code that has none, at least: more after a burst of new functions")
	f.IntVar(&c.MaxWorkers, "max-workers", 256, "most worker processes of one runtime host")
	f.IntVar(&c.WorkerConcurrency, "worker-concurrency", 64, "calls under way at once in one worker")
	f.IntVar(&c.WorkerQueue, "worker-queue", 512, "calls waiting for one worker before 429")
	f.IntVar(&c.QueueWaitMS, "queue-wait-ms", 100, "longest wait for a turn, or twice what a call takes, while more calls of a function come than it can serve; 0: until their deadlines")
	f.IntVar(&c.WorkerIdleSeconds, "worker-idle-seconds", 300, "a worker without calls for so long is ended")
	f.IntVar(&c.WorkerMemoryMB, "worker-memory-mb", 128, "JavaScript heap, or Python's memory, of one worker, in MiB")
	f.IntVar(&c.WorkerCPUMS, "worker-cpu-ms", 0, "CPU time that one call may take, in ms; 0: none but its deadline")
	f.IntVar(&c.WorkerScratchMB, "worker-scratch-mb", 64, "files that one worker may keep in its scratch folder, in MiB")
	f.IntVar(&c.WorkerMaxCalls, "worker-max-calls", 1_000_000, "a worker that has taken so many calls is replaced; 0: never for that")
	f.IntVar(&c.WorkerMaxMinutes, "worker-max-minutes", 1440, "a worker that has served for so long is replaced; 0: never for that")
	f.StringVar(&c.Sandbox, "sandbox", sandboxBest, "best: run workers behind those walls that this kernel has, and say which it lacks; require: refuse to start without one")
	c.bindEgress(f)

	f.BoolVar(&c.Dependencies, "dependencies", true, "install packages that functions depend on; without it none may have any")
	f.StringVar(&c.NPMRegistry, "npm-registry", "https://registry.npmjs.org/", "where packages of JavaScript come from")
	f.StringVar(&c.PipIndexURL, "pip-index-url", "https://pypi.org/simple", "where packages of Python come from")
}

// bindInterpreters declares the flag of each language that has an interpreter.
func (c *Config) bindInterpreters(f *pflag.FlagSet) {
	c.Interpreters = map[faas.Language]*string{}
	for _, l := range languages() {
		if i := l.interpreted; i != nil {
			c.Interpreters[l.Language] = f.String(i.setting, "", i.usage)
		}
	}
}

// bindHosts declares the flag of each language that says where its hosts are.
func (c *Config) bindHosts(f *pflag.FlagSet) {
	c.RuntimeURLs = map[faas.Language]*string{}
	usage := "unix:<path> or http://<IP address>:<port> of a %s host, or several with commas between; empty: started here"
	for _, l := range languages() {
		c.RuntimeURLs[l.Language] = f.String(l.hostsFlag(), "", fmt.Sprintf(usage, l.Language))
		usage = "the same of %s hosts"
	}
}

// notBuilt are variables of the contract whose part does not exist yet. Silence
// would send somebody's data where they do not expect it.
var notBuilt = []string{
	"KUBERNETES_NAMESPACE",
}

// load fills what flags left unset from the environment, then from the config
// file, and checks the whole, with what a part of the installation checks. The error names
// every fault at once.
func (c *Config) load(f *pflag.FlagSet, getenv func(string) string, parts ...func(*Config) []error) error {
	faults := fillFromEnv(f, getenv)
	faults = append(faults, c.fillFromFile(f)...)
	c.trimStores()
	for _, name := range notBuilt {
		if getenv(name) != "" || getenv(name+"_FILE") != "" {
			faults = append(faults, fmt.Errorf("%s is set, but this version has no such part: unset it", name))
		}
	}
	faults = append(faults, c.check()...)
	for _, check := range parts {
		faults = append(faults, check(c)...)
	}
	faults = append(faults, c.fillFolders(getenv)...)
	if len(faults) == 0 {
		return nil
	}
	lines := make([]string, len(faults))
	for i, fault := range faults {
		lines[i] = "  " + fault.Error()
	}
	return fmt.Errorf("the configuration has faults (%d):\n%s", len(faults), strings.Join(lines, "\n"))
}

// plainCause takes pflag's prefix off, which quotes the flag where the fault is a
// variable's.
func plainCause(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	kind := invalid.GetFlag().Value.Type()
	switch kind {
	case "int":
		kind = "a whole number"
	case "bool":
		kind = "true or false"
	}
	return fmt.Errorf("%q must be %s", invalid.GetValue(), kind)
}

func (c *Config) fillFromFile(f *pflag.FlagSet) (faults []error) {
	if c.File == "" {
		return nil
	}
	raw, err := os.ReadFile(c.File)
	if err != nil {
		return []error{fmt.Errorf("config file: %w", err)}
	}
	var values map[string]any
	if err := yaml.Unmarshal(raw, &values); err != nil {
		return []error{fmt.Errorf("config file %s: %w", c.File, err)}
	}
	for key, value := range values {
		flag := f.Lookup(strings.ReplaceAll(key, "_", "-"))
		switch {
		case flag == nil || key != strings.ToLower(envName(flag.Name)) || flag.Name == "config":
			faults = append(faults, fmt.Errorf("config file %s: no setting is called %q", c.File, key))
		case !flag.Changed:
			if err := f.Set(flag.Name, scalar(value)); err != nil {
				faults = append(faults, fmt.Errorf("config file %s: %s: %w", c.File, key, plainCause(err)))
			}
		}
	}
	return faults
}

// scalar writes numbers as the file did: YAML's decoder makes them float64.
func scalar(value any) string {
	if number, ok := value.(float64); ok {
		return strconv.FormatFloat(number, 'f', -1, 64)
	}
	return fmt.Sprint(value)
}

// number is a setting that has bounds.
type number struct {
	name       string
	value      int
	least, top int
}

// checkNumbers names those that are out of bounds.
func checkNumbers(numbers []number) (faults []error) {
	for _, n := range numbers {
		if n.value < n.least || n.value > n.top {
			faults = append(faults, fmt.Errorf("%s is %d: it must be %d to %d", n.name, n.value, n.least, n.top))
		}
	}
	return faults
}

func (c *Config) check() []error {
	faults := checkNumbers([]number{
		{"PORT", c.Port, 0, 65535},
		{"ADMIN_PORT", c.AdminPort, 0, 65535},
		{"ENVOY_CONCURRENCY", c.EnvoyConcurrency, 0, 1024},
		{"CACHE_MEMORY_MB", c.CacheMemoryMB, 0, 64 << 10},
		{"SESSION_EXPIRY_SECONDS", c.SessionExpirySeconds, 1, 365 * 24 * 3600},
		{"LOG_RETENTION_HOURS", c.LogRetentionHours, 1, 10 * 365 * 24},
		{"LOG_WAITING_MB", c.LogWaitingMB, 128, 1 << 20},
		{"LOG_PAYLOAD_BYTES", c.LogPayloadBytes, 128, 256 << 10},
		{"RUNTIME_TIMEOUT_SECONDS", c.RuntimeTimeoutSeconds, 1, 24 * 3600},
		{"STREAM_TIMEOUT_SECONDS", c.StreamTimeoutSeconds, 1, 24 * 3600},
		{"WORKER_CPU_MS", c.WorkerCPUMS, 0, 24 * 3600 * 1000},
		{"RUNTIME_MAX_REQUESTS", c.RuntimeMaxRequests, 1, 1 << 20},
		{"REQUEST_TIMEOUT_SECONDS", c.RequestTimeoutSeconds, 1, 24 * 3600},
		{"DRAIN_TIMEOUT_SECONDS", c.DrainTimeoutSeconds, 1, 24 * 3600},
		{"MAX_SCRIPT_SIZE", c.MaxScriptSize, 1, 64 << 20},
		{"SCRIPT_TIMEOUT_MS", c.ScriptTimeoutMS, 1, 10 * 60 * 1000},
		{"BUILD_WAIT_MS", c.BuildWaitMS, 1, 10 * 60 * 1000},
		{"MAX_MODULE_SIZE", c.MaxModuleSize, 1, 256 << 20},
		{"WASM_COMPILE_TIMEOUT_SECONDS", c.WASMCompileTimeoutSeconds, 1, 3600},
		{"IDLE_WORKERS", c.IdleWorkers, 0, 10000},
		{"MAX_WORKERS", c.MaxWorkers, 1, 10000},
		{"WORKER_CONCURRENCY", c.WorkerConcurrency, 1, 10000},
		{"WORKER_QUEUE", c.WorkerQueue, 0, 100000},
		{"QUEUE_WAIT_MS", c.QueueWaitMS, 0, 24 * 3600 * 1000},
		{"WORKER_IDLE_SECONDS", c.WorkerIdleSeconds, 1, 7 * 24 * 3600},
		{"WORKER_MEMORY_MB", c.WorkerMemoryMB, 16, 64 << 10},
		{"WORKER_SCRATCH_MB", c.WorkerScratchMB, 1, 64 << 10},
		{"WORKER_MAX_CALLS", c.WorkerMaxCalls, 0, 1 << 31},
		{"WORKER_MAX_MINUTES", c.WorkerMaxMinutes, 0, 365 * 24 * 60},
	})
	if c.Sandbox != sandboxBest && c.Sandbox != sandboxRequire {
		faults = append(faults, fmt.Errorf("SANDBOX is %q: it must be %s or %s", c.Sandbox, sandboxBest, sandboxRequire))
	}
	faults = append(faults, c.checkEgress()...)
	faults = append(faults, c.checkIndexes()...)
	if _, _, err := newLogger(nil, c.LogLevel, c.LogFormat); err != nil {
		faults = append(faults, err)
	}
	faults = append(faults, c.checkKeys()...)
	if err := c.checkDatabase(); err != nil {
		faults = append(faults, fmt.Errorf("DATABASE_URL: %w", err))
	}
	faults = append(append(faults, c.checkRedis()...), c.checkLinks()...)
	faults = append(append(faults, c.checkRecords()...), c.checkElsewhere()...)
	faults = append(append(faults, c.checkEdge()...), c.checkOpenFaaS()...)
	if _, err := c.mappings(); err != nil {
		faults = append(faults, err)
	}
	return append(append(faults, c.checkDoor()...), c.checkHost()...)
}

func (c *Config) fillFolders(getenv func(string) string) (faults []error) {
	for _, folder := range []struct {
		path           *string
		variable, home string
	}{
		{&c.DataDir, "XDG_DATA_HOME", ".local/share"},
		{&c.CacheDir, "XDG_CACHE_HOME", ".cache"},
	} {
		if *folder.path == "" {
			base := getenv(folder.variable)
			if base == "" {
				base = filepath.Join(getenv("HOME"), folder.home)
			}
			*folder.path = filepath.Join(base, "envoke")
		}
		absolute, err := filepath.Abs(*folder.path)
		if err != nil {
			faults = append(faults, err)
		}
		*folder.path = absolute
	}
	return faults
}

func (c *Config) runtimeTimeout() time.Duration {
	return time.Duration(c.RuntimeTimeoutSeconds) * time.Second
}

func (c *Config) queueWait() time.Duration { return time.Duration(c.QueueWaitMS) * time.Millisecond }
