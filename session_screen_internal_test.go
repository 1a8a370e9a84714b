package wsep

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestDisplayHoldsNothingBack: output that looks a little like screen's endNotice may be a prompt. It must be shown at once.
func TestDisplayHoldsNothingBack(t *testing.T) {
	for _, shown := range []string{"[", "[s", "ls [", "[screen", "\x1b[", "[screen is not"} {
		r, w := io.Pipe()
		go func() { _, _ = io.WriteString(w, shown) }() // Ends when it has been read.
		limit := time.AfterFunc(10*time.Second, func() { _ = w.CloseWithError(io.ErrNoProgress) })
		defer limit.Stop()
		buf := make([]byte, 100)
		d := &display{r: r}
		n, err := d.Read(buf)
		require.NoError(t, err)
		require.NoError(t, d.err, "it was shown before the end")
		require.Equal(t, shown, string(buf[:n]))
		require.NoError(t, r.Close())
	}
	for _, cut := range []int{0, minNotice, len(endNotice) - 1} {
		out, err := io.ReadAll(&display{r: io.MultiReader(
			strings.NewReader("bye"+string(endNotice[:cut])), strings.NewReader(string(endNotice[cut:])),
		)})
		require.NoError(t, err)
		require.Equal(t, "bye", string(out), cut)
	}
}
