package wsplice_test

import (
	"cdr.dev/wsep"
	"cdr.dev/wsep/wsplice"
)

// Commands run over a Channel. The tests of package wsep check an Execer over it.
var _ wsep.Conn = (*wsplice.Channel)(nil)
