//go:build wseppage

package web

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

func init() { Page, _ = fs.Sub(dist, "dist") } // The name is valid.
