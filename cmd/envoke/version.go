package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"envoke/envoy"
)

// version is set by the linker: -X main.version=….
var version = "0.1.0-dev"

func versionCommand(s streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the versions of Envoke, Go and the pinned Envoy",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(s.stdout, "envoke %s\n%s %s/%s\nenvoy %s\n",
				version, runtime.Version(), runtime.GOOS, runtime.GOARCH, envoy.Version)
			return err
		},
	}
}
