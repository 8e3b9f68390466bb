package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// loadConfig loads a Config as a command would.
func loadConfig(t *testing.T, args []string, env map[string]string) (Config, error) {
	t.Helper()
	var c Config
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.bind(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return c, c.load(flags, func(name string) string { return env[name] })
}

func TestFlagWinsOverVariableWinsOverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "envoke.yaml")
	writeFile(t, file, "port: 1001\nmax_script_size: 1002\nscript_timeout_ms: 1003\n")
	c, err := loadConfig(t, []string{"--config", file, "--port", "3001"},
		map[string]string{"PORT": "2001", "MAX_SCRIPT_SIZE": "2002"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 3001 || c.MaxScriptSize != 2002 || c.ScriptTimeoutMS != 1003 {
		t.Fatalf("port %d, max_script_size %d, script_timeout_ms %d", c.Port, c.MaxScriptSize, c.ScriptTimeoutMS)
	}
}

func TestVariableFromFileIsTrimmed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	writeFile(t, file, "  sqlite:/tmp/x.db\n")
	c, err := loadConfig(t, nil, map[string]string{"DATABASE_URL_FILE": file})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.databasePath(); got != "/tmp/x.db" {
		t.Fatalf("database path %q", got)
	}
}

func TestAddressesAreTrimmed(t *testing.T) {
	c, err := loadConfig(t, nil, map[string]string{"DATABASE_URL": "postgres://u:p@h/d\n", "REDIS_URL": " redis://h\n", "REDIS_CACHE_URL": "redis://h:6380\r\n"})
	if err != nil || c.DatabaseURL != "postgres://u:p@h/d" || c.RedisURL != "redis://h" || c.RedisCacheURL != "redis://h:6380" {
		t.Errorf("%q %q %q, %v", c.DatabaseURL, c.RedisURL, c.RedisCacheURL, err)
	}
}

func TestPostgresAddress(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	for address, want := range map[string]string{
		"postgres://ada:pass@db:5433/envoke":        "",
		"postgresql://ada@/envoke?host=/run/pg":     "",
		"postgres://ada:a#b:c@one:1,two:2/envoke":   "",
		"postgres://ada:s3cr?t@db/envoke":           "DATABASE_URL: it must be postgres://user:password@host:port/database",
		"postgres://ada:s3cr/t@db/envoke":           "DATABASE_URL: it must be postgres://user:password@host:port/database",
		"postgres://ada:s3crt@db/e?sslmode=perhaps": "DATABASE_URL: failed to configure TLS (sslmode is invalid)",
		"mysql://ada:s3crt@db/envoke":               "DATABASE_URL: it must be empty, sqlite:<path> or postgres://",
	} {
		writeFile(t, file, "\n  "+address+"\n")
		c, err := loadConfig(t, nil, map[string]string{"DATABASE_URL_FILE": file})
		switch {
		case want == "" && (err != nil || !c.onPostgres() || c.DatabaseURL != address):
			t.Errorf("%s: %v", address, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr")):
			t.Errorf("%s: the error is %v, want %q", address, err, want)
		}
	}
}

// TestAdminKey: it is long, can be sent as a header, and no fault says what it is.
func TestAdminKey(t *testing.T) {
	long := strings.Repeat("s3cr", 8)
	for name, test := range map[string]struct{ key, want string }{
		"none":         {"", ""},
		"random":       {long, ""},
		"trimmed":      {" " + long + "\n", ""},
		"longest":      {strings.Repeat("s3cr", 128), ""},
		"short":        {long[1:], "ADMIN_KEY: it must have 32 to 512 characters"},
		"too long":     {strings.Repeat("s3cr", 128) + "x", "ADMIN_KEY: it must have 32 to 512 characters"},
		"with a space": {long + " " + long, "ADMIN_KEY: it must be of printable ASCII"},
		"two lines":    {long + "\n" + long, "ADMIN_KEY: it must be of printable ASCII"},
		"no ASCII":     {long + "é", "ADMIN_KEY: it must be of printable ASCII"},
	} {
		file := filepath.Join(t.TempDir(), "key")
		writeFile(t, file, test.key)
		for _, env := range []map[string]string{{"ADMIN_KEY": test.key}, {"ADMIN_KEY_FILE": file}} {
			c, err := loadConfig(t, nil, env)
			switch {
			case test.want == "" && (err != nil || c.AdminKey != strings.TrimSpace(test.key)):
				t.Errorf("%s: %q, %v", name, c.AdminKey, err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "s3cr")):
				t.Errorf("%s: the error is %v, want %q", name, err, test.want)
			}
		}
	}
}

func TestAllFaultsAreReportedTogether(t *testing.T) {
	file := filepath.Join(t.TempDir(), "envoke.yaml")
	writeFile(t, file, "no_such_setting: 1\nworker_queue: many\nMAX_WORKERS: 3\n")
	_, err := loadConfig(t, []string{"--config", file, "--max-workers", "0"}, map[string]string{
		"PORT":                   "http",
		"HOST":                   "0.0.0.0",
		"INSECURE_PUBLIC":        "perhaps",
		"LOG_LEVEL":              "loud",
		"DATABASE_URL":           "mysql://ada:s3cret@db/envoke",
		"REDIS_URL":              "http://cache",
		"OPENFAAS_GATEWAY_URL":   "http://ada:s3cret@faas",
		"NODEJS_RUNTIME_URL":     "ftp://x",
		"SCRIPT_TIMEOUT_MS_FILE": "/does/not/exist",
	})
	if err == nil {
		t.Fatal("no fault was found")
	}
	for _, want := range []string{
		`PORT: "http" must be a whole number`, `INSECURE_PUBLIC: "perhaps" must be true or false`, "HOST is 0.0.0.0", "--insecure-public", "LOG_LEVEL is \"loud\"", "DATABASE_URL: it must be empty, sqlite:<path> or postgres://",
		"REDIS_URL: it must be redis://user:password@host:port/number", "OPENFAAS_GATEWAY_URL: user and password", "NODEJS_RUNTIME_URL", "SCRIPT_TIMEOUT_MS", "/does/not/exist",
		`"no_such_setting"`, "worker_queue", `"MAX_WORKERS"`, "MAX_WORKERS is 0",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

// TestLinks: TCP without certificates is refused, and so is half of a setting.
func TestLinks(t *testing.T) {
	whole := map[string]string{
		"CONTROL_LISTEN": "10.0.0.1:9010", "CONTROL_ADDRESSES": "control-1:9010, 10.0.0.2:9010",
		"TLS_CA": "ca", "TLS_CERT": "cert", "TLS_KEY": "key",
	}
	for _, test := range []struct{ name, value, want string }{
		{"TLS_KEY", "key", ""},
		{"TLS_KEY", "", "TLS_KEY is not set: parts meet by TCP only with certificates"},
		{"TLS_CA", "", "TLS_CA is not set"},
		{"CONTROL_ADDRESSES", "", "CONTROL_ADDRESSES is not set"},
		{"CONTROL_ADDRESSES", "control-1", "CONTROL_ADDRESSES has \"control-1\""},
		{"CONTROL_ADDRESSES", "a:1,a:1", "CONTROL_ADDRESSES has a:1 twice"},
		{"CONTROL_LISTEN", "control-1:9010", "CONTROL_LISTEN is \"control-1:9010\": it must be <IP address>:<port>"},
		{"HOST_LISTEN", "9011", "HOST_LISTEN is \"9011\""},
		{"METRICS_LISTEN", "0.0.0.0:9002", ""},
		{"METRICS_LISTEN", "9002", "METRICS_LISTEN is \"9002\""},
		{"HOST_DRAIN_SECONDS", "-1", "HOST_DRAIN_SECONDS is -1"},
		{"NODEJS_RUNTIME_URL", "http://127.0.0.1:9100", ""},
		{"NODEJS_RUNTIME_URL", "http://127.0.0.1:9100,http://10.0.0.1:9100", "NODEJS_RUNTIME_URL has 10.0.0.1, which is another machine"},
	} {
		env := maps.Clone(whole)
		env[test.name] = test.value
		_, err := loadConfig(t, nil, env)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s=%s: %v, want %q", test.name, test.value, err, test.want)
		}
	}
}

func TestPublicBind(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		ok   bool
	}{
		{"loopback", []string{"--host", "127.0.0.1"}, true},
		{"another loopback", []string{"--host", "127.0.0.9"}, true},
		{"IPv6 loopback", []string{"--host", "::1"}, true},
		{"localhost", []string{"--host", "localhost"}, true},
		{"all addresses", []string{"--host", "0.0.0.0"}, false},
		{"all IPv6 addresses", []string{"--host", "::"}, false},
		{"a private address", []string{"--host", "10.0.0.1"}, false},
		{"all addresses, wanted", []string{"--host", "0.0.0.0", "--insecure-public"}, true},
		{"a name", []string{"--host", "example.org"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := loadConfig(t, test.args, nil); (err == nil) != test.ok {
				t.Fatalf("error %v, want ok %v", err, test.ok)
			}
		})
	}
}

const exampleFile = "../../docs/envoke.example.yaml"

var update = flag.Bool("update", false, "rewrite docs/envoke.example.yaml from the flags")

// The example has every setting, with what --help says of it and its default.
func TestExampleFile(t *testing.T) {
	want := example()
	if *update {
		writeFile(t, exampleFile, want)
	}
	got, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("the example is not what the flags are; run go test ./cmd/envoke -run TestExampleFile -update (-want +got):\n%s", diff)
	}
	defaults, err := loadConfig(t, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(t, []string{"--config", exampleFile}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.File = ""
	if diff := cmp.Diff(defaults, c); diff != "" {
		t.Errorf("the example differs from the defaults (-want +got):\n%s", diff)
	}
}

func example() string {
	var c Config
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.SortFlags = false
	c.bind(flags)
	text := "# Every setting of Envoke with its default, for --config. Leave out what you do not change.\n"
	flags.VisitAll(func(f *pflag.Flag) {
		value := f.DefValue
		if f.Value.Type() == "string" {
			value = strconv.Quote(value)
		}
		if f.Name != "config" {
			text += fmt.Sprintf("\n# %s\n%s: %s\n", f.Usage, strings.ToLower(envName(f.Name)), value)
		}
	})
	return text
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
