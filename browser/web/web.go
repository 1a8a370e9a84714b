// Package web has the built web terminal, if the program was built with the tag wseppage. ci/browser.sh --build builds it.
package web

import "io/fs"

// Page has the files of the web terminal. It is nil without the tag.
var Page fs.FS
