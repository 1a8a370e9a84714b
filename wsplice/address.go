package wsplice

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/xerrors"
)

// host names a machine in a URL or an allowlist: it is an address or a name.
type host struct {
	addr netip.Addr // no zone, not IPv4-mapped
	name string     // lower case, without a final dot
}

func (h host) isAddr() bool { return h.addr.IsValid() }

func (h host) String() string {
	if h.isAddr() {
		return h.addr.String()
	}
	return h.name
}

// Limits of RFC 1035 section 2.3.4, as text.
const (
	maxName  = 253
	maxLabel = 63
)

// parseHost parses a host, an IPv6 address with or without its brackets.
//
// It refuses text that ends in a number and is not a plain IPv4 address, as the URL Standard does. Some resolvers take
// 127.1, 0x7f.1 or 2130706433 for an address, and would not look it up as a name.
func parseHost(text string) (host, error) {
	text = strings.TrimSuffix(strings.ToLower(text), ".")
	if addr, err := netip.ParseAddr(unbracket(text)); err == nil {
		if addr.Zone() != "" {
			return host{}, xerrors.New("address with a zone")
		}
		return host{addr: addr.Unmap()}, nil
	}
	labels := strings.Split(text, ".")
	for _, label := range labels {
		if !isLabel(label) {
			return host{}, xerrors.New("neither a host name nor an address")
		}
	}
	if len(text) > maxName || endsInNumber(labels) {
		return host{}, xerrors.New("neither a host name nor an address")
	}
	return host{name: text}, nil
}

// unbracket removes the brackets around an IPv6 address.
func unbracket(text string) string {
	inner, ok := strings.CutPrefix(text, "[")
	if !ok || !strings.HasSuffix(inner, "]") || !strings.Contains(inner, ":") {
		return text
	}
	return strings.TrimSuffix(inner, "]")
}

// isLabel reports whether a part of a name has only letters, digits, hyphens and underscores. Internationalized names
// are listed and dialed in their ASCII form.
func isLabel(label string) bool {
	outside := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}
	return label != "" && len(label) <= maxLabel && !strings.ContainsFunc(label, outside)
}

func endsInNumber(labels []string) bool {
	last := labels[len(labels)-1]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, xerrors.Errorf("port %q is not a number from 1 to 65535", text)
	}
	return uint16(port), nil
}

// notPublic are the ranges of IPv4 that name no machine on the public internet: the ranges that the IANA
// special-purpose address registry calls not globally reachable, multicast, and reserved ranges.
var notPublic = prefixes(
	"0.0.0.0/8",       // this network, RFC 791
	"10.0.0.0/8",      // private, RFC 1918
	"100.64.0.0/10",   // carriers' shared space, RFC 6598
	"127.0.0.0/8",     // loopback, RFC 1122
	"169.254.0.0/16",  // link-local, RFC 3927, where clouds give a machine its secrets
	"172.16.0.0/12",   // private, RFC 1918
	"192.0.0.0/24",    // protocol assignments, RFC 6890
	"192.0.2.0/24",    // documentation, RFC 5737
	"192.88.99.0/24",  // 6to4 relays, RFC 7526
	"192.168.0.0/16",  // private, RFC 1918
	"198.18.0.0/15",   // benchmarks, RFC 2544
	"198.51.100.0/24", // documentation, RFC 5737
	"203.0.113.0/24",  // documentation, RFC 5737
	"224.0.0.0/4",     // multicast, RFC 5771
	"240.0.0.0/4",     // reserved, RFC 1112, and broadcast
)

// globalUnicast has all public addresses of IPv6 (RFC 4291 section 2.4). The ranges in notGlobal are exceptions.
var (
	globalUnicast = netip.MustParsePrefix("2000::/3")
	notGlobal     = prefixes(
		"2001::/23",     // protocol assignments, RFC 2928, among them Teredo, which leads to IPv4 addresses
		"2001:db8::/32", // documentation, RFC 3849
		"3fff::/20",     // documentation, RFC 9637
	)
)

// An address in one of these ranges leads to an IPv4 address. It begins at byte nat64Start or sixToStart.
var (
	nat64 = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixTo = netip.MustParsePrefix("2002::/16")    // 6to4, RFC 3056
)

const (
	nat64Start = 12
	sixToStart = 2
)

// isPublic reports whether an address is on the public internet. The address must not be IPv4-mapped nor have a zone.
func isPublic(addr netip.Addr) bool {
	switch {
	case addr.Is4():
		return !containedIn(notPublic, addr)
	case nat64.Contains(addr):
		return isPublic(embedded(addr, nat64Start))
	case sixTo.Contains(addr):
		return isPublic(embedded(addr, sixToStart))
	}
	return globalUnicast.Contains(addr) && !containedIn(notGlobal, addr)
}

// embedded returns the IPv4 address that begins at a byte of an IPv6 address.
func embedded(addr netip.Addr, start int) netip.Addr {
	bytes := addr.As16()
	return netip.AddrFrom4([4]byte(bytes[start:]))
}

func containedIn(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func prefixes(texts ...string) (prefixes []netip.Prefix) {
	for _, text := range texts {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}
