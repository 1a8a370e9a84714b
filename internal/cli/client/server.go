package client

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/xerrors"

	"cdr.dev/wsep"
	"cdr.dev/wsep/internal/cli/serve"
	"cdr.dev/wsep/internal/cli/serverurl"
)

// Server is a server to connect to.
type Server struct {
	URL    string
	Header http.Header
	TLS    *tls.Config   // nil means this machine's authorities, and no certificate of one's own
	Resume time.Duration // how long a lost connection is waited for; 0 means not at all
}

// Dialer returns an Execer for the server's commands.
func (s Server) Dialer() wsep.Dialer {
	resume := s.Resume
	if resume == 0 {
		resume = -1 // To a Dialer 0 is the default.
	}
	return wsep.Dialer{URL: s.URL, Header: s.Header, HTTPClient: httpClient(s.TLS), Resume: resume}
}

// httpClient returns a client with the configuration. nil means the default.
func httpClient(config *tls.Config) *http.Client {
	if config == nil {
		return nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = config
	return &http.Client{Transport: transport}
}

// ServerFlags are the flags that choose a server, and the access to it.
type ServerFlags struct {
	URL       string
	TokenFile string // "" means none
	CAFile    string // "" means this machine's authorities
	CertFile  string // "" means none, as KeyFile
	KeyFile   string
	Resume    time.Duration
	headers   []string
}

// Add adds the flags. url describes the default URL in the help.
func (f *ServerFlags) Add(flags *pflag.FlagSet, url, usage string) {
	flags.StringVar(&f.URL, "url", url, usage)
	flags.StringArrayVar(&f.headers, "header", nil, "send the `\"NAME: VALUE\"` with the request; may be repeated")
	flags.StringVar(&f.TokenFile, "token-file", "", "present the token in `FILE` to the server")
	flags.StringVar(&f.CAFile, "ca", "", "trust the server if an authority in `FILE` (PEM) certifies it, and no other; for wss://")
	flags.StringVar(&f.CertFile, "cert", "", "present the certificate in `FILE` (PEM) to the server; for wss://")
	flags.StringVar(&f.KeyFile, "key", "", "the `FILE` (PEM) with the key of --cert")
	flags.DurationVar(&f.Resume, "resume", time.Minute, "wait up to `DURATION` for a lost connection to come back; 0 means not at all")
}

// serverFlags are the names of the flags that do not go with a server inside the program.
var serverFlags = []string{"url", "header", "token-file", "ca", "cert", "key"}

// Server returns the server that the flags choose.
func (f *ServerFlags) Server() (s Server, err error) {
	if f.Resume < 0 {
		return Server{}, xerrors.New("--resume must not be negative")
	}
	s.Resume = f.Resume
	if s.URL, err = serverurl.Parse(f.URL); err != nil {
		return Server{}, xerrors.Errorf("--url: %w", err)
	}
	if s.TLS, err = f.tlsConfig(s.URL); err != nil {
		return Server{}, err
	}
	if s.Header, err = parseHeaders(f.headers); err != nil {
		return Server{}, xerrors.Errorf("--header: %w", err)
	}
	if f.TokenFile != "" {
		err = presentToken(s.Header, f.TokenFile)
	}
	return s, err
}

// tlsConfig reads the files for TLS. It returns nil if there are none.
func (f *ServerFlags) tlsConfig(url string) (*tls.Config, error) {
	if f.CAFile == "" && f.CertFile == "" && f.KeyFile == "" {
		return nil, nil
	}
	if !serverurl.Secure(url) {
		return nil, xerrors.Errorf("%s is without TLS, so --ca, --cert and --key have no meaning: use wss://", url)
	}
	config := new(tls.Config)
	if f.CAFile != "" {
		pem, err := os.ReadFile(f.CAFile)
		if err != nil {
			return nil, xerrors.Errorf("--ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, xerrors.Errorf("--ca: %s has no certificate in PEM form", f.CAFile)
		}
	}
	if f.CertFile != "" || f.KeyFile != "" {
		own, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
		if err != nil {
			return nil, xerrors.Errorf("--cert and --key: %w", err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}

func parseHeaders(lines []string) (http.Header, error) {
	header := http.Header{}
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, xerrors.Errorf("%q is not NAME: VALUE", line)
		}
		if strings.EqualFold(name, "Host") {
			return nil, xerrors.New("the host is what --url says")
		}
		header.Add(name, strings.TrimSpace(value))
	}
	return header, nil
}

func presentToken(header http.Header, file string) error {
	if header.Get("Authorization") != "" {
		return xerrors.New("give one of --token-file and --header Authorization")
	}
	token, err := serve.ReadToken(file)
	if err != nil {
		return err
	}
	header.Set("Authorization", serve.Bearer(token))
	return nil
}
