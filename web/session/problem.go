package session

import (
	"encoding/json"
	"net/http"
)

// problem answers with an RFC 9457 document, like the API does.
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client is gone: nobody to tell
		"status": status, "title": http.StatusText(status), "detail": detail,
	})
}
