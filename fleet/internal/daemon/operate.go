package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/xerrors"

	"cdr.dev/wsep/fleet"
	"cdr.dev/wsep/internal/peerlog"
)

// operator asks a running wsepd of this machine.
type operator struct{ dir, name string }

// add adds the flags that choose the wsepd.
func (o *operator) add(c *cobra.Command) {
	c.Flags().StringVar(&o.dir, "dir", "", "ask the wsepd with the `DIR`")
	c.Flags().StringVar(&o.name, "name", "", "ask the wsepd with the `NAME`; the default is the only one that runs, or any of them")
}

// socket returns the socket of the wsepd to ask.
func (o *operator) socket() (string, error) {
	switch {
	case o.dir != "":
		return filepath.Join(o.dir, adminSocket), nil
	case o.name != "":
		dir, err := nodeDir(o.name)
		return filepath.Join(dir, adminSocket), err
	}
	pattern, err := nodeDir("*")
	if err != nil {
		return "", err
	}
	sockets, err := filepath.Glob(filepath.Join(pattern, adminSocket))
	if err != nil {
		return "", err
	}
	for _, s := range sockets {
		if conn, err := net.Dial("unix", s); err == nil {
			_ = conn.Close()
			return s, nil // All of this user are of the same fleet, as a rule.
		}
	}
	return "", xerrors.New("no wsepd of this user runs here: name one with --dir or --name")
}

// answerError is why wsepd did not do something. It runs.
type answerError string

func (e answerError) Error() string { return string(e) }

// ask sends a request, and decodes the answer.
func (o *operator) ask(method, path string, query url.Values, answer any) error {
	socket, err := o.socket()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequest(method, adminHost+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return xerrors.Errorf("no wsepd answers at %s: %w", socket, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return answerError(strings.TrimSpace(string(body)))
	}
	return json.Unmarshal(body, answer)
}

func lsCommand(stdout io.Writer) *cobra.Command {
	var o operator
	var asJSON bool
	c := &cobra.Command{Use: "ls [flags]", Short: "List the fleet's nodes and sessions", Args: noArgs}
	o.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.RunE = run(func([]string) error {
		var l listing
		if err := o.ask(http.MethodGet, "/ls", nil, &l); err != nil {
			return err
		}
		if asJSON {
			encoder := json.NewEncoder(stdout)
			encoder.SetIndent("", "  ")
			return encoder.Encode(l)
		}
		return l.print(stdout)
	})
	return c
}

// print prints tables. Text from outside may be hostile.
func (l listing) print(stdout io.Writer) error {
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tLOAD\tADDRESS")
	for _, n := range l.Nodes {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", n.Name, n.State, n.Load, cmp.Or(n.Address, "-"))
	}
	fmt.Fprintln(w, "\nOWNER\tNAME\tNODE\tSTATE\tCLIENTS\tCOMMAND")
	for _, s := range l.Sessions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", peerlog.Text(cmp.Or(s.Owner, "-")), peerlog.Text(cmp.Or(s.Name, s.ID)), s.Node, s.State, s.Clients,
			peerlog.Text(strings.Join(s.Command, " ")))
	}
	if len(l.Silent) > 0 {
		fmt.Fprintf(w, "\nDid not answer within a second: %s\n", strings.Join(l.Silent, ", "))
	}
	if l.Registry != "" {
		fmt.Fprintf(w, "\nNames may be missing: %s\n", peerlog.Text(l.Registry))
	}
	return w.Flush()
}

const drainLong = `Makes a node start nothing from now on. Its sessions go on, and clients attach to them. The command returns when the node has
nothing left, and says what it waits for. The node starts commands again when its wsepd was started again.`

func drainCommand(stdout io.Writer) *cobra.Command {
	var o operator
	var noWait bool
	c := &cobra.Command{Use: "drain [flags] NODE", Short: "Empty a node", Long: drainLong, Args: cobra.ExactArgs(1)}
	o.add(c)
	c.Flags().BoolVar(&noWait, "no-wait", false, "return when the node starts nothing any more")
	c.RunE = run(func(args []string) error {
		query := url.Values{"node": args}
		var status fleet.NodeStatus
		if err := o.ask(http.MethodPost, "/drain", query, &status); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s is draining: nothing starts there\n", args[0])
		if noWait {
			return nil
		}
		return o.awaitEmpty(stdout, args[0], status)
	})
	return c
}

// emptyPause is how often a node is asked what it has.
const emptyPause = 500 * time.Millisecond

// awaitEmpty waits until a node has nothing left. A node that does not answer for a moment may have something.
func (o *operator) awaitEmpty(stdout io.Writer, node string, status fleet.NodeStatus) error {
	for told := ""; ; time.Sleep(emptyPause) {
		now := ""
		err := o.ask(http.MethodGet, "/status", url.Values{"node": {node}}, &status)
		_, answered := errors.AsType[answerError](err)
		switch {
		case answered:
			now = "not known what " + node + " still has: " + err.Error()
		case err != nil:
			return err
		case status.State != fleet.NodeDraining:
			return xerrors.Errorf("%s was started again, so it is no longer draining", node)
		case status.Load == 0:
			fmt.Fprintf(stdout, "%s is empty\n", node)
			return nil
		default:
			now = fmt.Sprintf("%s still has %d: %s", node, status.Load, strings.Join(o.sessionsOf(node), ", "))
		}
		if now != told {
			fmt.Fprintln(stdout, now)
			told = now
		}
	}
}

// sessionsOf returns what a node has, for people.
func (o *operator) sessionsOf(node string) (names []string) {
	var l listing
	if err := o.ask(http.MethodGet, "/ls", nil, &l); err != nil {
		return []string{err.Error()}
	}
	for _, s := range l.Sessions {
		if s.Node == node {
			names = append(names, peerlog.Text(strings.TrimPrefix(s.Owner+"/"+cmp.Or(s.Name, s.ID), "/")))
		}
	}
	if len(names) == 0 {
		names = []string{"commands without a name"}
	}
	return names
}

const forgetLong = `Gives up a name whose session is at a lost node. Clients that use the name then start a new session. If the node comes back, the old
session is there and has its ID only.`

func forgetCommand() *cobra.Command {
	var o operator
	var owner string
	c := &cobra.Command{Use: "forget [flags] NAME", Short: "Free a name of a lost node", Long: forgetLong, Args: cobra.ExactArgs(1)}
	o.add(c)
	c.Flags().StringVar(&owner, "owner", "", "the name's `OWNER`; a gateway of this program has none")
	c.RunE = run(func(args []string) error {
		return o.ask(http.MethodPost, "/forget", url.Values{"owner": {owner}, "name": args}, new(any))
	})
	return c
}

const healLong = `Lets a machine that keeps the registry, and has lost its disk, start again with an empty directory. It must not run now. Give the
command on another machine.`

func healCommand(stdout io.Writer) *cobra.Command {
	var o operator
	c := &cobra.Command{Use: "heal [flags] NAME", Short: "Replace a registry member whose disk was lost", Long: healLong, Args: cobra.ExactArgs(1)}
	o.add(c)
	c.RunE = run(func(args []string) error {
		if err := o.ask(http.MethodPost, "/heal", url.Values{"name": args}, new(any)); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "start wsepd on %s now\n", args[0])
		return nil
	})
	return c
}
