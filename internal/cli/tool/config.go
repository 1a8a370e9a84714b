package tool

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/xerrors"

	"cdr.dev/wsep/internal/cli/client"
)

// completionTimeout is how long a shell waits for IDs.
const completionTimeout = 2 * time.Second

const defaultURL = "ws://127.0.0.1:8080"

// config is the configuration file.
type config struct {
	Default string          `json:"default"` // the host to use without --url and WSEP_URL: a name, or a URL
	Hosts   map[string]host `json:"hosts"`
}

// host is a server with a name. Paths are relative to the file's folder.
type host struct {
	URL       string `json:"url"`
	TokenFile string `json:"token_file"`
	CA        string `json:"ca"`
	Cert      string `json:"cert"`
	Key       string `json:"key"`
}

// configPath returns the path of the configuration file: $XDG_CONFIG_HOME/wsep/config.json, or what the platform has instead.
func configPath() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "wsep", "config.json")
}

// readConfig reads a configuration file. None is as good as an empty one.
func readConfig(path string) (config, error) {
	var c config
	content, err := os.ReadFile(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return c, xerrors.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// chooseServer returns the server of the flags, the environment and the configuration, in this order.
func chooseServer(flags client.ServerFlags) (client.Server, error) {
	path := configPath()
	c, err := readConfig(path)
	if err != nil {
		return client.Server{}, err
	}
	url := first(flags.URL, os.Getenv("WSEP_URL"), c.Default, defaultURL)
	known := c.Hosts[url]
	inFolder := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(filepath.Dir(path), name)
	}
	flags.URL = first(known.URL, url)
	flags.TokenFile = first(flags.TokenFile, inFolder(known.TokenFile), os.Getenv("WSEP_TOKEN_FILE"))
	flags.CAFile = first(flags.CAFile, inFolder(known.CA))
	flags.CertFile = first(flags.CertFile, inFolder(known.Cert))
	flags.KeyFile = first(flags.KeyFile, inFolder(known.Key))
	return flags.Server()
}

// first returns the first string that is not empty.
func first(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
