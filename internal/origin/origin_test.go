package origin

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHosts(t *testing.T) {
	for _, tc := range []struct {
		host     string
		patterns []string
		allowed  bool
	}{
		{"localhost", nil, true},
		{"localhost:8080", nil, true},
		{"LOCALHOST", nil, true},
		{"localhost.:80", nil, true},
		{"app.localhost", nil, true},
		{"app.localhost.", nil, true},
		{"127.0.0.1:80", nil, true},
		{"127.9.9.9", nil, true},
		{"[::1]", nil, true},
		{"[::1]:80", nil, true},
		{"", nil, false},
		{"notlocalhost", nil, false},
		{"localhost.example.com", nil, false},
		{"192.168.0.1", nil, false},
		{"example.com", nil, false},
		{"localhost", []string{}, false},
		{"Example.com:443", []string{"example.com"}, true},
		{"a.example.com", []string{"*.example.com"}, true},
		{"example.com", []string{"*.example.com"}, false},
		{"anything", []string{"*"}, true},
		{"example.com", []string{"[", "example.com"}, true},
		{"localhost", []string{"example.com"}, false},
	} {
		r := &http.Request{Host: tc.host}
		want := ErrHost
		if tc.allowed {
			want = nil
		}
		require.Equal(t, want, Check(r, tc.patterns, nil), "%q by %q", tc.host, tc.patterns)
	}
}

func TestOrigins(t *testing.T) {
	const host = "localhost:8080"
	for _, tc := range []struct {
		origins  []string
		patterns []string
		allowed  bool
	}{
		{nil, nil, true},
		{[]string{"http://" + host}, nil, true},
		{[]string{"https://LOCALHOST:8080"}, nil, true},
		{[]string{"http://localhost"}, nil, false},
		{[]string{"http://localhost:8081"}, nil, false},
		{[]string{"null"}, nil, false},
		{[]string{""}, nil, false},
		{[]string{"http://%zz"}, nil, false},
		{[]string{"https://evil.example"}, nil, false},
		{[]string{"https://a.example.com"}, []string{"https://*.example.com"}, true},
		{[]string{"http://a.example.com"}, []string{"https://*.example.com"}, false},
		{[]string{"http://" + host, "http://" + host}, nil, false},
	} {
		r := &http.Request{Host: host, Header: http.Header{"Origin": tc.origins}}
		want := ErrOrigin
		if tc.allowed {
			want = nil
		}
		require.Equal(t, want, Check(r, nil, tc.patterns), "%q by %q", tc.origins, tc.patterns)
	}
}
