package wsplice

import (
	"testing"

	"cdr.dev/wsep/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
