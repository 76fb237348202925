package signal

import "time"

// AskEvery sets how often Still is asked; before the handler serves.
func (h *Handler) AskEvery(d time.Duration) { h.stillEvery = d }
