package observe

import (
	"encoding/json"
	"maps"
	"net/http"
	"sort"
	"sync"
)

// Health answers /healthz (the process serves) and /readyz (listeners are up and state is recovered).
type Health struct {
	mu     sync.Mutex // guards checks; never held while a check runs
	checks map[string]func() error
}

// NewHealth returns a Health without checks: it is ready until one is added that says otherwise.
func NewHealth() *Health {
	return &Health{checks: map[string]func() error{}}
}

// Add registers a part; ready returns nil when the part can serve, otherwise why not in one short sentence. It is
// called from many goroutines and must not block. Adding a name again replaces its check.
func (h *Health) Add(name string, ready func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[name] = ready
}

// Failing returns the parts that are not ready, and why.
func (h *Health) Failing() map[string]error {
	h.mu.Lock()
	checks := maps.Clone(h.checks)
	h.mu.Unlock()

	failing := map[string]error{}
	for name, check := range checks {
		if err := check(); err != nil {
			failing[name] = err
		}
	}
	return failing
}

// Ready reports whether every part is ready.
func (h *Health) Ready() bool { return len(h.Failing()) == 0 }

// Handler serves /healthz and /readyz. /readyz answers 503 and names the parts that are missing.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		failing := h.Failing()
		if len(failing) == 0 {
			writeJSON(w, http.StatusOK, map[string]any{"status": "ready"})
			return
		}
		type part struct {
			Name   string `json:"name"`
			Reason string `json:"reason"`
		}
		parts := make([]part, 0, len(failing))
		for name, err := range failing {
			parts = append(parts, part{name, err.Error()})
		}
		sort.Slice(parts, func(i, j int) bool { return parts[i].Name < parts[j].Name })
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"status": "not ready", "waiting_for": parts})
	})
	return mux
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone: nobody to tell
}
