package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"envoke/internal/cli"
	"envoke/internal/mtls"
)

// certs are the flags of the command.
type certs struct {
	out                string
	hosts              []string
	days               int
	force, renew, keep bool
}

// renewBefore is how long before its end a certificate is renewed by --keep.
const renewBefore = 30 * 24 * time.Hour

func certsCommand(s streams) *cobra.Command {
	c := &certs{}
	command := &cobra.Command{
		Use:   "certs",
		Short: "Make the certificates by which parts on several machines know each other",
		Long: "Make the certificates by which parts on several machines know each other: an authority in DIR/ca, and in DIR/envoy, DIR/host and DIR/control\n" +
			"what each kind of part gets: ca.crt (TLS_CA), tls.crt (TLS_CERT) and tls.key (TLS_KEY). DIR/ca/ca.key makes more of them: it belongs on none of the machines.",
		Example: "  envoke certs --out certs\n  envoke certs --out certs --renew",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.run(s, time.Now())
		},
	}
	f := command.Flags()
	f.StringVar(&c.out, "out", "", "folder of the set")
	f.StringSliceVar(&c.hosts, "host", nil, "names or IP addresses of machines, for tools that compare them; the parts compare roles")
	f.IntVar(&c.days, "days", int(mtls.CertificateLife.Hours()/24), "days that the roles' certificates last; the authority lasts ten years")
	f.BoolVar(&c.force, "force", false, "overwrite a set: all parts need their new files then, and a restart")
	f.BoolVar(&c.renew, "renew", false, "keep the authority and make new certificates for the roles: parts take them up as they run")
	f.BoolVar(&c.keep, "keep", false, "leave a set as it is that lasts for another 30 days, renew an older one, make one where there is none")
	command.MarkFlagsMutuallyExclusive("force", "renew", "keep")
	if err := command.MarkFlagRequired("out"); err != nil {
		panic(err)
	}
	return command
}

func (c *certs) run(s streams, now time.Time) error {
	if most := int(mtls.AuthorityLife.Hours() / 24); c.days < 1 || c.days > most {
		return cli.Misuse("--days is %d: it must be 1 to %d", c.days, most)
	}
	set := mtls.Set{Dir: c.out, Names: c.hosts, Life: time.Duration(c.days) * 24 * time.Hour, Now: now}
	made, err := c.make(set)
	if err != nil {
		return err
	}
	roles, authority, err := set.Ends()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.stdout, "%s %s: the roles' certificates end on %s, the authority on %s\n",
		made, c.out, roles.UTC().Format(time.DateOnly), authority.UTC().Format(time.DateOnly))
	return nil
}

// make does what the flags say, and says what that was.
func (c *certs) make(set mtls.Set) (string, error) {
	if c.keep {
		return keepCerts(set)
	}
	if c.renew {
		return "renewed", set.Renew()
	}
	err := set.Make(c.force)
	if errors.Is(err, mtls.ErrExists) {
		err = fmt.Errorf("%w: --renew makes new certificates of its authority, --force another authority, which nobody believes yet", err)
	}
	return "made", err
}

func keepCerts(set mtls.Set) (string, error) {
	roles, authority, err := set.Ends()
	switch {
	case err != nil && nothingIn(set.Dir):
		return "made", set.Make(false)
	case err == nil && authority.Sub(set.Now) < renewBefore:
		return "", fmt.Errorf("the authority in %s ends on %s: make another set with --force", set.Dir, authority.UTC().Format(time.DateOnly))
	case err == nil && roles.Sub(set.Now) > renewBefore:
		return "kept", nil
	}
	return "renewed", set.Renew()
}

// nothingIn tells whether there is no authority: what else is there does not matter then, but
// is not overwritten either.
func nothingIn(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, mtls.AuthorityFolder, mtls.AuthorityFile))
	return errors.Is(err, fs.ErrNotExist)
}
