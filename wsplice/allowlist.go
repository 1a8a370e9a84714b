package wsplice

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/xerrors"
)

// Allowlist says which remotes a [Server] may dial. nil and an empty Allowlist allow nothing. An Allowlist does not
// change and is safe for concurrent use. [ParseAllowlist] makes one.
//
// A remote is checked twice. The host in its URL must be listed. The address that is dialed must be listed itself or be
// on the public internet. So a listed name opens no way to this machine or to the networks behind it, whatever address
// the name's owner gives it.
type Allowlist struct {
	names    []allowedName
	networks []allowedNetwork
}

type allowedName struct {
	name  string // as parseHost returns it
	below bool   // it means the names below this one, at any depth, and not this one
	port  uint16 // 0 is every port
}

type allowedNetwork struct {
	prefix netip.Prefix
	port   uint16 // 0 is every port
}

// ParseAllowlist returns the [Allowlist] of the entries. An entry is one or several of these, separated by spaces or
// commas:
//
//	example.com             the name
//	*.example.com           all names below it, at any depth, and not itself
//	192.0.2.7, 2001:db8::7  the address, as a URL's host or as what a listed name resolves to
//	10.1.0.0/16, fd00::/8   all addresses of the range, likewise
//
// A colon and a port may follow each. Then it allows this port alone. IPv6 addresses need brackets before a port:
// [fd00::7]:443, [fd00::]/8:443. Upper case and a name's final dot make no difference.
func ParseAllowlist(entries ...string) (*Allowlist, error) {
	a := new(Allowlist)
	for _, entry := range entries {
		for _, word := range strings.FieldsFunc(entry, isSeparator) {
			if err := a.add(word); err != nil {
				return nil, xerrors.Errorf("allowed host %q: %w", word, err)
			}
		}
	}
	return a, nil
}

func isSeparator(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }

func (a *Allowlist) add(word string) error {
	text, port, err := splitEntry(word)
	if err != nil {
		return err
	}
	if address, bits, ok := strings.Cut(text, "/"); ok {
		return a.addRange(address, bits, port)
	}
	name, below := strings.CutPrefix(text, "*.")
	h, err := parseHost(name)
	switch {
	case err != nil:
		return err
	case below && h.isAddr():
		return xerrors.New("there are no names below an address")
	case h.isAddr():
		a.networks = append(a.networks, allowedNetwork{netip.PrefixFrom(h.addr, h.addr.BitLen()), port})
	default:
		a.names = append(a.names, allowedName{h.name, below, port})
	}
	return nil
}

func (a *Allowlist) addRange(address, bits string, port uint16) error {
	prefix, err := netip.ParsePrefix(unbracket(address) + "/" + bits)
	switch {
	case err != nil:
		return xerrors.New("not a range of addresses")
	case prefix.Addr().Is4In6():
		return xerrors.New("name the IPv4 range itself")
	case prefix != prefix.Masked():
		return xerrors.Errorf("not where a range begins, did you mean %s?", prefix.Masked())
	}
	a.networks = append(a.networks, allowedNetwork{prefix, port})
	return nil
}

// Empty reports whether nothing is allowed.
func (a *Allowlist) Empty() bool { return a == nil || len(a.names)+len(a.networks) == 0 }

// splitEntry splits the port off an entry. The last colon begins it, if it is the only one or follows a bracket.
func splitEntry(word string) (text string, port uint16, err error) {
	colon, bracket := strings.LastIndexByte(word, ':'), strings.LastIndexByte(word, ']')
	if colon < 0 || colon < bracket || bracket < 0 && strings.Count(word, ":") > 1 {
		return word, 0, nil
	}
	port, err = parsePort(word[colon+1:])
	return word[:colon], port, err
}

// allowsHost reports whether a URL may name the host and the port.
func (a *Allowlist) allowsHost(h host, port uint16) bool {
	if a == nil {
		return false
	}
	if h.isAddr() {
		return a.lists(netip.AddrPortFrom(h.addr, port))
	}
	return slices.ContainsFunc(a.names, func(n allowedName) bool {
		return matchesPort(n.port, port) && n.matches(h.name)
	})
}

// allowsAddr reports whether an address may be dialed for a host that allowsHost allows.
func (a *Allowlist) allowsAddr(addr netip.AddrPort) bool {
	addr = netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port())
	return a != nil && (isPublic(addr.Addr()) || a.lists(addr))
}

// lists reports whether the address itself is listed.
func (a *Allowlist) lists(addr netip.AddrPort) bool {
	return slices.ContainsFunc(a.networks, func(n allowedNetwork) bool {
		return matchesPort(n.port, addr.Port()) && n.prefix.Contains(addr.Addr())
	})
}

func matchesPort(allowed, port uint16) bool { return allowed == 0 || allowed == port }

func (n allowedName) matches(name string) bool {
	if n.below {
		return strings.HasSuffix(name, "."+n.name)
	}
	return name == n.name
}
