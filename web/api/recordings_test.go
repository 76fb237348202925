package api_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"linehall/internal/auth"
	"linehall/web/api"
)

func (o *organisation) Recordings(_ context.Context, q api.RecordingQuery) ([]api.Recording, error) {
	all := []api.Recording{
		{ID: "c1-1", CallID: "c1", State: "kept", From: api.Party{Extension: "8001", Site: "hq"}, To: api.Party{Extension: "2001", Site: "branch1"}},
		{ID: "c2-1", CallID: "c2", State: "kept", From: api.Party{Extension: "8001", Site: "hq"}, To: api.Party{Extension: "8002", Site: "hq"}},
	}
	return slices.DeleteFunc(all, func(r api.Recording) bool { return q.Call != "" && r.CallID != q.Call }), o.fail
}

func (o *organisation) Recording(ctx context.Context, id string) (api.Recording, error) {
	all, err := o.Recordings(ctx, api.RecordingQuery{})
	for _, r := range all {
		if r.ID == id {
			return r, err
		}
	}
	return api.Recording{}, fmt.Errorf("recording %s: %w", id, api.ErrNotFound)
}

func (o *organisation) Audio(_ context.Context, id, form string) (api.Audio, error) {
	return api.Audio{Name: id + "." + form, Type: "audio/" + form, Content: strings.NewReader("0123456789"), Close: func() error { return nil }}, o.fail
}

func (o *organisation) DeleteRecording(context.Context, string) error { return o.fail }

func (o *organisation) Record(context.Context, string, bool, string) error { return o.fail }

// Who listens, exports or deletes stands in the audit log, who is refused does as well; a player's many requests are one
// entry, and get the part that they ask for.
func TestListeningIsOnRecord(t *testing.T) {
	w := newWorld(t)
	auditor := as(auth.Auditor)
	for range 3 {
		if rec := w.ask(t, auditor, http.MethodGet, "/recordings/c1-1/audio", nil); rec.Code != http.StatusOK || rec.Body.String() != "0123456789" {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	if rec := w.ask(t, auditor, http.MethodGet, "/recordings/c1-1/audio?download=true&format=flac", nil); rec.Code != http.StatusOK ||
		rec.Header().Get("Content-Disposition") != `attachment; filename="c1-1.flac"` || rec.Header().Get("Content-Type") != "audio/flac" {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	for path, p := range map[string]auth.Principal{"/recordings/c1-1/audio": as(auth.Operator), "/recordings/c1-1": auditor} {
		method := http.MethodGet
		if path == "/recordings/c1-1" {
			method = http.MethodDelete
		}
		if rec := w.ask(t, p, method, path, nil); rec.Code != http.StatusForbidden {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
	if rec := w.ask(t, as(auth.Admin), http.MethodDelete, "/recordings/c1-1", nil); rec.Code != http.StatusNoContent {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	got := w.actions(t)
	for what, n := range map[string]int{
		"anna recording.listen c1-1": 1, "anna recording.export c1-1": 1, "anna recording.listen.refused c1-1": 1, "anna recording.delete.refused c1-1": 1, "anna recording.delete c1-1": 1,
	} {
		if found := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != what })); found != n {
			t.Errorf("%q is on record %d times: %v", what, found, got)
		}
	}
}

// One who is bound to a site hears what touches it.
func TestRecordingsOfASite(t *testing.T) {
	w := newWorld(t)
	p := as(auth.Auditor)
	p.Site = "branch1"
	if list := decode(t, w.ask(t, p, http.MethodGet, "/recordings", nil))["recordings"].([]any); len(list) != 1 {
		t.Errorf("%v", list)
	}
	if rec := w.ask(t, p, http.MethodGet, "/recordings/c2-1/audio", nil); rec.Code != http.StatusNotFound {
		t.Errorf("%d", rec.Code)
	}
}
