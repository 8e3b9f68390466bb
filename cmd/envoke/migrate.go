package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"github.com/spf13/cobra"

	"envoke/internal/postgres"
	"envoke/internal/sqlite"
)

// steps are those by which the tables of either kind of database are made and unmade.
type steps interface {
	Made(context.Context) (bool, error) // whether a step was ever taken
	ListSources() []*goose.Source
	Status(context.Context) ([]*goose.MigrationStatus, error)
	GetDBVersion(context.Context) (int64, error)
	Up(context.Context) ([]*goose.MigrationResult, error)
	DownTo(ctx context.Context, version int64) ([]*goose.MigrationResult, error)
	Close() error
}

// migration is what the subcommands of migrate have in common.
type migration struct {
	streams
	settings settings
}

func migrateCommand(s streams) *cobra.Command {
	m := &migration{streams: s, settings: newSettings(nil)}
	command := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the tables of the database up to date, or back",
		Long: "Bring the tables of the database up to date, or back.\n\nserve and control bring them up to date when they start; this is for databases\n" +
			"of which their own user is not the owner, and for going back to an older version.",
	}
	for _, name := range []string{"config", "data-dir", "database-url"} {
		command.PersistentFlags().AddFlag(m.settings.all.Lookup(name))
	}
	up := &cobra.Command{
		Use: "up", Short: "Take the steps that are missing", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return m.run(c.Context(), true, m.up) },
	}
	status := &cobra.Command{
		Use: "status", Short: "Show which steps were taken", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return m.run(c.Context(), false, m.status) },
	}
	command.AddCommand(up, m.downCommand(), status)
	return command
}

func (m *migration) downCommand() *cobra.Command {
	var (
		to  int64
		yes bool
	)
	command := &cobra.Command{
		Use: "down", Short: "Undo the last step, or all after --to: what it had added is deleted", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return m.run(c.Context(), true, func(ctx context.Context, s steps) error { return m.down(ctx, s, to, yes) })
		},
	}
	command.Flags().Int64Var(&to, "to", -1, "number of the last step that stays, 0 for none (default: all but the last)")
	command.Flags().BoolVar(&yes, "yes", false, "delete the data that the undone steps hold")
	return command
}

// run opens the database's steps. What changes tables does not run beside an Envoke on the
// same data folder, which would go on with tables that it does not know.
func (m *migration) run(ctx context.Context, changes bool, do func(context.Context, steps) error) (err error) {
	config := m.settings.config
	if err := config.load(m.settings.all, m.getenv); err != nil {
		return err
	}
	if changes && !config.onPostgres() {
		if err := makeFolder(config.DataDir); err != nil {
			return err
		}
		unlock, err := lockFolder(config.DataDir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	s, err := openSteps(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := checkKnown(ctx, s); err != nil {
		return err
	}
	return do(ctx, s)
}

// checkKnown refuses tables of a newer Envoke, of whose steps nothing is known here.
func checkKnown(ctx context.Context, s steps) error {
	made, err := s.Made(ctx)
	if err != nil || !made {
		return err
	}
	current, err := s.GetDBVersion(ctx)
	if err != nil {
		return err
	}
	sources := s.ListSources()
	if known := sources[len(sources)-1].Version; current > known {
		return fmt.Errorf("a newer Envoke made the tables (step %d; this one knows %d): use that one's envoke migrate", current, known)
	}
	return nil
}

func openSteps(ctx context.Context, c *Config) (steps, error) {
	if c.onPostgres() {
		return postgres.OpenMigrations(ctx, c.DatabaseURL)
	}
	return sqlite.OpenMigrations(ctx, c.databasePath())
}

func (m *migration) up(ctx context.Context, s steps) error {
	taken, err := s.Up(ctx)
	printSteps(m.stdout, "took", taken)
	if err == nil && len(taken) == 0 {
		fmt.Fprintln(m.stdout, "nothing to do: the tables are up to date")
	}
	return err
}

func (m *migration) down(ctx context.Context, s steps, to int64, yes bool) error {
	made, err := s.Made(ctx)
	if err != nil {
		return err
	}
	var current int64
	if made {
		if current, err = s.GetDBVersion(ctx); err != nil {
			return err
		}
	}
	if to < 0 {
		to = current - 1
	}
	if to >= current {
		fmt.Fprintln(m.stdout, "nothing to do: the tables are at step", current)
		return nil
	}
	if !yes {
		return fmt.Errorf("this undoes the steps %d to %d and deletes what they hold, such as functions and sessions: back up, stop all of Envoke, and say --yes", to+1, current)
	}
	undone, err := s.DownTo(ctx, to)
	printSteps(m.stdout, "undid", undone)
	return err
}

func printSteps(w io.Writer, verb string, results []*goose.MigrationResult) {
	for _, r := range results {
		fmt.Fprintln(w, verb, filepath.Base(r.Source.Path))
	}
}

// status only reads: where no step was ever taken, goose would make its own table to say so.
func (m *migration) status(ctx context.Context, s steps) error {
	made, err := s.Made(ctx)
	if err != nil {
		return err
	}
	if !made {
		for _, source := range s.ListSources() {
			fmt.Fprintln(m.stdout, "pending ", filepath.Base(source.Path))
		}
		return nil
	}
	all, err := s.Status(ctx)
	for _, one := range all {
		fmt.Fprintf(m.stdout, "%-8s %s\n", one.State, filepath.Base(one.Source.Path))
	}
	return err
}
