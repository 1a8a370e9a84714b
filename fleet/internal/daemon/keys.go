package daemon

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/fleet"
)

const keysLong = `Shows or changes the keys that sign the IDs of sessions. To rotate them, "add" a key, "promote" it, and "remove" the old one when no
session that it has signed is left. After each step copy the file "keys" of the trust directory to the other machines: wsepd
reads it again within %v.`

func keysCommand(stdout io.Writer) *cobra.Command {
	var dir string
	c := &cobra.Command{Use: "keys", Short: "Rotate the keys that sign IDs", Long: fmt.Sprintf(keysLong, ringPause), Args: noArgs}
	c.PersistentFlags().StringVar(&dir, "trust", "", "the `DIR` with the fleet's secrets")
	change := func(use, short string, args int, change func(*fleet.KeyRing, string) (*fleet.KeyRing, error)) {
		c.AddCommand(&cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(args), RunE: run(func(args []string) error {
			return changeRing(stdout, dir, strings.Join(args, ""), change)
		})})
	}
	change("ls", "List the keys; the first one signs", 0, func(r *fleet.KeyRing, _ string) (*fleet.KeyRing, error) { return r, nil })
	change("add", "Add a key, which verifies and does not sign yet", 0, func(r *fleet.KeyRing, _ string) (*fleet.KeyRing, error) { return r.Add() })
	change("promote KEY", "Sign with a key from now on", 1, (*fleet.KeyRing).Promote)
	change("remove KEY", "Refuse the IDs that a key has signed", 1, (*fleet.KeyRing).Remove)
	return c
}

// changeRing changes the ring of a trust directory, and prints the names of its keys.
func changeRing(stdout io.Writer, dir, key string, change func(*fleet.KeyRing, string) (*fleet.KeyRing, error)) error {
	t, err := existingTrust(dir)
	if err != nil {
		return err
	}
	ring, err := t.ring()
	if err != nil {
		return err
	}
	changed, err := change(ring, key)
	if err != nil {
		return err
	}
	if changed != ring {
		if err := t.writeRing(changed); err != nil {
			return err
		}
	}
	for _, name := range changed.Keys() {
		fmt.Fprintln(stdout, name)
	}
	return nil
}

// existingTrust returns a directory that must be there.
func existingTrust(given string) (trust, error) {
	dir, err := trustDir(given)
	if err != nil {
		return trust{}, err
	}
	if t := (trust{dir}); t.exists() {
		return t, nil
	}
	return trust{}, xerrors.Errorf("%s is no trust directory: name one with --trust, or start wsepd once", dir)
}

const issueLong = `Writes certificates for nodes whose machines are not to have the authority's key, as NAME.cert.pem and NAME.key.pem of the trust
directory. Copy them there, with ca.pem and keys. They are valid for a year.`

func issueCommand(stdout io.Writer) *cobra.Command {
	var dir string
	var roles []string
	c := &cobra.Command{Use: "issue [flags] NAME...", Short: "Issue certificates", Long: issueLong, Args: cobra.MinimumNArgs(1)}
	c.Flags().StringVar(&dir, "trust", "", "the `DIR` with the fleet's secrets")
	c.Flags().StringSliceVar(&roles, "roles", []string{"node", "gateway"}, "what they may be: node, gateway or both")
	c.RunE = run(func(names []string) error {
		node, gateway, err := parseRoles(roles)
		if err != nil {
			return usageError{err}
		}
		t, err := existingTrust(dir)
		if err != nil {
			return err
		}
		authority, err := t.authority()
		if err != nil {
			return xerrors.Errorf("the authority's key: %w", err)
		}
		for _, name := range names {
			if err := t.issue(authority, name, rolesOf(node, gateway)); err != nil {
				return err
			}
			fmt.Fprintln(stdout, t.file(name+".cert.pem"))
		}
		return nil
	})
	return c
}

// rolesOf returns the roles of a certificate.
func rolesOf(node, gateway bool) []fleet.Role {
	roles := []fleet.Role{fleet.RoleRegistry}
	if node {
		roles = append(roles, fleet.RoleNode)
	}
	if gateway {
		roles = append(roles, fleet.RoleGateway)
	}
	return roles
}

// issue writes a certificate.
func (t trust) issue(authority *fleet.Authority, name string, roles []fleet.Role) error {
	issued, err := authority.Issue(name, roles...)
	if err != nil {
		return err
	}
	cert, key, err := fleet.EncodeCertificate(issued)
	if err != nil {
		return err
	}
	if err := writeFile(t.file(name+".key.pem"), key); err != nil {
		return err
	}
	return writeFile(t.file(name+".cert.pem"), cert)
}
