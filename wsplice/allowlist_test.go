package wsplice

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAllowsHost(t *testing.T) {
	for _, tc := range []struct {
		entries string
		url     string
		want    bool
	}{
		{"", "ws://example.com", false},
		{" , ,", "ws://example.com", false},
		{"example.com", "ws://example.com", true},
		{"example.com", "wss://example.com:8443", true},
		{"Example.COM.", "ws://eXample.com", true},
		{"example.com", "ws://example.com.", true},
		{"example.com", "ws://www.example.com", false},
		{"example.com", "ws://notexample.com", false},
		{"example.com", "ws://example.com.evil.test", false},
		{"example.com:80", "ws://example.com", true},
		{"example.com:80", "wss://example.com", false},
		{"example.com:443", "wss://example.com", true},
		{"example.com:8080", "ws://example.com:8080", true},
		{"example.com:8080", "ws://example.com:8081", false},
		{"a.test b.test,c.test", "ws://b.test", true},
		{"a.test b.test,c.test", "ws://c.test", true},
		{"a.test\tb.test\nc.test", "ws://c.test", true},
		{"*.example.com", "ws://a.example.com", true},
		{"*.example.com", "ws://a.b.EXAMPLE.com", true},
		{"*.example.com", "ws://example.com", false},
		{"*.example.com", "ws://evilexample.com", false},
		{"*.example.com:443", "wss://a.example.com", true},
		{"*.example.com:443", "ws://a.example.com", false},
		{"localhost", "ws://localhost", true},
		{"localhost", "ws://127.0.0.1", false},
		{"127.0.0.1", "ws://localhost", false},
		{"127.0.0.1", "ws://127.0.0.1:99", true},
		{"127.0.0.1:99", "ws://127.0.0.1:99", true},
		{"127.0.0.1:99", "ws://127.0.0.1:98", false},
		{"127.0.0.1", "ws://[::ffff:127.0.0.1]", true},
		{"::ffff:127.0.0.1", "ws://127.0.0.1", true},
		{"::1", "ws://[::1]", true},
		{"[::1]", "ws://[::1]", true},
		{"[::1]", "ws://[0:0::1]", true},
		{"[::1]:80", "ws://[::1]", true},
		{"[::1]:80", "wss://[::1]", false},
		{"10.0.0.0/8", "ws://10.255.0.1", true},
		{"10.0.0.0/8", "ws://11.0.0.1", false},
		{"10.0.0.0/8:80", "ws://10.1.1.1", true},
		{"10.0.0.0/8:80", "wss://10.1.1.1", false},
		{"fd00::/8", "ws://[fd12::1]", true},
		{"fd00::/8", "ws://[fe80::1]", false},
		{"[fd00::]/8:80", "ws://[fd12::1]", true},
		{"[fd00::]/8:80", "wss://[fd12::1]", false},
		// A public address is dialed without a name only if it is listed.
		{"example.com", "ws://8.8.8.8", false},
		{"::/0", "ws://127.0.0.1", false},
	} {
		t.Run(tc.entries+" "+tc.url, func(t *testing.T) {
			a, err := ParseAllowlist(tc.entries)
			require.NoError(t, err)
			target, err := parseTarget(tc.url)
			require.NoError(t, err)
			require.Equal(t, tc.want, a.allowsHost(target.host, target.port))
		})
	}
}

func TestAllowlistTakesSeveralEntries(t *testing.T) {
	a, err := ParseAllowlist("a.test", "b.test c.test")
	require.NoError(t, err)
	require.False(t, a.Empty())
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		require.True(t, a.allowsHost(host{name: name}, 80), name)
	}
}

func TestEmptyAllowlistAllowsNothing(t *testing.T) {
	empty, err := ParseAllowlist()
	require.NoError(t, err)
	for _, a := range []*Allowlist{nil, {}, empty} {
		require.True(t, a.Empty())
		require.False(t, a.allowsHost(host{}, 80))
		require.False(t, a.allowsHost(host{name: "example.com"}, 80))
		require.False(t, a.allowsHost(host{addr: netip.MustParseAddr("8.8.8.8")}, 80))
	}
	require.False(t, (*Allowlist)(nil).allowsAddr(netip.MustParseAddrPort("8.8.8.8:80")))
}

func TestParseAllowlistRefuses(t *testing.T) {
	for _, entry := range []string{
		"*", "*.", "**.example.com", "*.*.com", "a.*.com", "*example.com", "*.127.0.0.1", "*.[::1]", "*.10.0.0.0/8",
		".", "..", ".example.com", "example..com", "exa mple.com:", "example.com:", "example.com:0", "example.com:65536",
		"example.com:http", "example.com:-1", "example.com:+1", ":80", "bücher.example", "http://example.com",
		"example.com/path", "user@example.com", "example.com?", "a:b:c", "[example.com]", "[127.0.0.1]", "[::1", "::1]", "[",
		"]", "[]", ":", "[::1]80", "[::1]:", "fe80::1%eth0", "[fe80::1%eth0]:80", "127.1", "127.0.0.01", "127.0.0.256", "0x7f.1",
		"0x7f000001", "2130706433", "017700000001", "0x", "1.2.3.0x4", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.1/8",
		"10.0.0.0/8/8", "::ffff:10.0.0.0/104", "fd00::1/8", "fe80::%eth0/64", "\x00", strings.Repeat("a", 64) + ".test",
		strings.Repeat("a.", 127) + "test",
	} {
		t.Run(entry, func(t *testing.T) {
			a, err := ParseAllowlist("ok.test", entry)
			require.Error(t, err)
			require.Nil(t, a)
		})
	}
}

func TestAllowsAddr(t *testing.T) {
	for _, tc := range []struct {
		entries string
		addr    string
		want    bool
	}{
		{"example.com", "127.0.0.1:80", false},
		{"localhost", "127.0.0.1:80", false},
		{"localhost", "[::1]:80", false},
		{"127.0.0.1", "127.0.0.1:80", true},
		{"127.0.0.1", "127.0.0.2:80", false},
		{"127.0.0.1", "[::ffff:127.0.0.1]:80", true},
		{"127.0.0.1", "[64:ff9b::127.0.0.1]:80", false},
		{"127.0.0.0/8", "127.0.0.2:80", true},
		{"127.0.0.1:81", "127.0.0.1:80", false},
		{"127.0.0.1:81", "127.0.0.1:81", true},
		{"::1", "[::1]:80", true},
		{"fe80::/10", "[fe80::1%eth0]:80", true},
		{"64:ff9b::7f00:1", "[64:ff9b::127.0.0.1]:80", true},
	} {
		t.Run(tc.entries+" "+tc.addr, func(t *testing.T) {
			a, err := ParseAllowlist(tc.entries)
			require.NoError(t, err)
			require.Equal(t, tc.want, a.allowsAddr(netip.MustParseAddrPort(tc.addr)))
		})
	}
}

func TestIsPublic(t *testing.T) {
	public := []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0",
		"192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111",
		"2001:4860:4860::8888", "2a00::1", "64:ff9b::8.8.8.8", "2002:808:808::1",
	}
	internal := []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.255",
		"169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.1.1",
		"198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
		"255.255.255.255", "::", "::1", "::7f00:1", "::8.8.8.8", "fe80::1", "febf::1", "fec0::1", "fc00::1", "fd00:ec2::254",
		"ff02::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:db8::1", "3fff::1", "5f00::1",
		"4000::1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8",
		"2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:101::1",
	}
	for _, addr := range public {
		require.True(t, isPublic(netip.MustParseAddr(addr)), addr)
	}
	for _, addr := range internal {
		require.False(t, isPublic(netip.MustParseAddr(addr)), addr)
	}
}

// FuzzAllowlist checks that an Allowlist allows only listed hosts, whatever the entry and the URL.
func FuzzAllowlist(f *testing.F) {
	for _, entry := range []string{
		"example.com", "*.example.com:443", "127.0.0.1", "[::1]:80", "10.0.0.0/8:80", "fd00::/8", "a b,c", "0x7f.1", "",
	} {
		for _, url := range []string{
			"ws://example.com", "wss://a.example.com", "ws://127.0.0.1:80/x?y", "ws://[::1]", "ws://0x7f.1", "ws://a@b", "",
			"ws://[::ffff:10.0.0.1]/", "ws://[fe80::1%25eth0]", "ws://2130706433", "ws://127.0.0.1.", "ws://%31.example.com",
		} {
			f.Add(entry, url)
		}
	}
	f.Fuzz(func(t *testing.T, entry, url string) {
		a, err := ParseAllowlist(entry)
		if err != nil {
			return
		}
		target, err := parseTarget(url)
		if err != nil {
			return
		}
		checkTarget(t, target)
		if a.allowsHost(target.host, target.port) {
			requireListed(t, entry, target)
		}
	})
}

// checkTarget checks the properties of every accepted URL.
func checkTarget(t *testing.T, target target) {
	require.NotZero(t, target.port)
	require.True(t, target.host.isAddr() != (target.host.name != ""))
	require.NotContains(t, target.url.RequestURI(), " ")
	require.Regexp(t, `^[a-z0-9._:\[\]-]+$`, target.hostHeader())
	if target.host.isAddr() {
		require.Equal(t, target.host.addr, target.host.addr.Unmap().WithZone(""))
		return
	}
	// A name is not text that a resolver would take for an address.
	again, err := parseHost(target.host.name)
	require.NoError(t, err)
	require.Equal(t, target.host, again)
}

// requireListed checks that the entry's text contains the target, without the code of Allowlist.
func requireListed(t *testing.T, entry string, target target) {
	if target.host.isAddr() {
		require.True(t, strings.ContainsAny(entry, "0123456789:"), entry)
		return
	}
	entry = strings.ToLower(entry)
	_, parent, _ := strings.Cut(target.host.name, ".")
	for ; parent != ""; _, parent, _ = strings.Cut(parent, ".") {
		if strings.Contains(entry, "*."+parent) {
			return
		}
	}
	require.Contains(t, entry, target.host.name)
}
