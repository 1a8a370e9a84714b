package wsplice_test

import (
	"cdr.dev/wsep"
	"cdr.dev/wsep/wsplice"
)

// What commands run over. The contract of Execer is tested over it where that of the others is.
var _ wsep.Conn = (*wsplice.Channel)(nil)
