package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"envoke/internal/cli"
	"envoke/internal/routing"
	"envoke/xds"
)

// maxInclude bounds each file that is read, in bytes.
const maxInclude = 8 << 20

func meshCommand(s streams) *cobra.Command {
	command := &cobra.Command{
		Use:   "mesh",
		Short: "Put functions and hooks into proxies that are not Envoke's",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(includeCommand(s))
	return command
}

// include is what `envoke mesh envoy` is given.
type include struct {
	bootstrap, routes, out string
}

func includeCommand(s streams) *cobra.Command {
	var given include
	command := &cobra.Command{
		Use:   "envoy",
		Short: "Include functions and hooks in the static bootstrap of an Envoy of your own",
		Long: "Include functions and hooks in the static bootstrap of an Envoy of your own.\n\n" +
			"--bootstrap is its file, which stays as it is. --include has routes in the words of Envoke's configuration: rules with a function in backendRefs come before the routes that are there, and rules with hooks alone attach them to those. " +
			"What comes out is the same bootstrap with both, for `envoy -c`. The Envoy reaches the runtime hosts by their sockets in --run-dir, so it must run on this machine, as a user who may open them.",
	}
	command.Flags().StringVar(&given.bootstrap, "bootstrap", "", "file of the Envoy's bootstrap, in YAML or JSON")
	command.Flags().StringVar(&given.routes, "include", "", "file of the routes and hooks, in YAML")
	command.Flags().StringVar(&given.out, "out", "", "file that gets the whole bootstrap (default: it is printed)")
	return withSettings(command, []string{"runtime-timeout-seconds"}, func(_ context.Context, set settings) error {
		if given.bootstrap == "" || given.routes == "" {
			return cli.Misuse("--bootstrap and --include are both needed")
		}
		if err := set.config.load(set.all, s.getenv); err != nil {
			return err
		}
		if set.config.RunDir == "" {
			set.config.RunDir = defaultRunDir(s.getenv)
		}
		return given.run(set.config, s.stdout)
	})
}

func (i include) run(c *Config, stdout io.Writer) error {
	raw, err := readBounded(i.bootstrap)
	if err != nil {
		return err
	}
	var bootstrap map[string]any
	if err := yaml.Unmarshal(raw, &bootstrap); err != nil {
		return fmt.Errorf("%s: %w", i.bootstrap, err)
	}
	state := xds.State{MaxTimeout: c.runtimeTimeout()}
	if state.Routing, err = readInclude(i.routes); err != nil {
		return err
	}
	if state.Runtimes, err = runtimesHere(c); err != nil {
		return err
	}
	if err := xds.Include(bootstrap, state); err != nil {
		return fmt.Errorf("include %s in %s: %w", i.routes, i.bootstrap, err)
	}
	out, err := yaml.Marshal(bootstrap)
	if err != nil {
		return err
	}
	if i.out == "" {
		_, err = stdout.Write(out)
		return err
	}
	return replaceFile(i.out, out)
}

// runtimesHere are the hosts whose sockets are in the folder of this machine's parts.
func runtimesHere(c *Config) (all []xds.Runtime, err error) {
	at, err := filepath.Abs(c.RunDir)
	here := sockets{dir: at}
	for _, l := range served(c) {
		all = append(all, xds.Runtime{
			Language:  l.Language,
			Endpoints: []xds.Endpoint{{Path: here.host(string(l.Language))}},
			GRPC:      []xds.Endpoint{{Path: here.hostGRPC(string(l.Language))}},
		})
	}
	return all, err
}

func readInclude(path string) (declared routing.Routing, err error) {
	raw, err := readBounded(path)
	if err != nil {
		return declared, err
	}
	if err := yaml.UnmarshalStrict(raw, &declared); err != nil {
		return declared, fmt.Errorf("%s: %w", path, err)
	}
	return declared, nil
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, maxInclude+1))
	if err == nil && len(raw) > maxInclude {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxInclude)
	}
	return raw, err
}

// replaceFile has a file whole or as it was: an Envoy may be about to read it.
func replaceFile(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".envoke-*")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name())
	}
	return err
}
