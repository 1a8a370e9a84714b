//go:build unix

package main

import (
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"cdr.dev/wsep/internal/certtest"
)

// cmdCertificates writes the certificates of two authorities, and one with its key that each has issued.
func cmdCertificates(ts *testscript.TestScript, neg bool, args []string) {
	checkUsage(ts, neg, args, 1, -1)
	for i, name := range args {
		authority, err := certtest.New()
		ts.Check(err)
		cert, key, err := authority.Issue(int64(i) + 2)
		ts.Check(err)
		for suffix, content := range map[string][]byte{"-ca.pem": authority.PEM(), ".pem": cert, ".key": key} {
			ts.Check(os.WriteFile(ts.MkAbs(name+suffix), content, 0o600))
		}
	}
}
