package wsep

import (
	"context"
	"slices"
)

// The size of a session is that of the client that has attached, typed or resized last. That client leads. The other clients
// see what fits their terminals, from the upper left.

// lead makes the viewer the one that leads, and gives the model its size. resizeProcess must follow. A viewer that has left
// does not lead. The lock is held.
func (h *nativeHost) lead(v *viewer) {
	i := slices.Index(h.viewers, v)
	if i < 0 {
		return
	}
	h.viewers = append(slices.Delete(h.viewers, i, i+1), v)
	h.model.Resize(v.rows, v.cols)
	for _, v := range h.viewers {
		v.fit()
	}
}

// leader returns the viewer that leads, or nil if no client is attached. The lock is held.
func (h *nativeHost) leader() *viewer {
	if len(h.viewers) == 0 {
		return nil
	}
	return h.viewers[len(h.viewers)-1]
}

// resizeProcess gives the process's terminal the size of the model.
func (h *nativeHost) resizeProcess(ctx context.Context) error {
	h.sizing.Lock()
	defer h.sizing.Unlock()
	h.screen.Lock()
	rows, cols := h.model.Size()
	h.screen.Unlock()
	if rows == h.rows && cols == h.cols {
		return nil
	}
	if err := h.process.Resize(ctx, uint16(rows), uint16(cols)); err != nil {
		return err
	}
	h.rows, h.cols = rows, cols
	return nil
}
