package api_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"linehall/internal/auth"
	"linehall/web/api"
)

func (o *organisation) Programmes(_ context.Context, q api.ProgrammeQuery) ([]api.Programme, error) {
	all := []api.Programme{{ID: "c1", Room: "9000", State: "kept", StartedAt: time.Unix(0, 0).UTC()}, {ID: "c2", Room: "9001", State: "kept"}}
	return slices.DeleteFunc(all, func(p api.Programme) bool { return q.Room != "" && p.Room != q.Room }), o.fail
}

func (o *organisation) Programme(ctx context.Context, id string) (api.ProgrammeDetails, error) {
	all, err := o.Programmes(ctx, api.ProgrammeQuery{})
	for _, p := range all {
		if p.ID == id {
			return api.ProgrammeDetails{Programme: p}, err
		}
	}
	return api.ProgrammeDetails{}, fmt.Errorf("recording %s: %w", id, api.ErrNotFound)
}

func (o *organisation) Part(_ context.Context, id string, number int) (api.Audio, error) {
	return api.Audio{Name: fmt.Sprintf("%s-%d.mkv", id, number), Type: "video/x-matroska", Content: strings.NewReader("0123456789"), Close: func() error { return nil }}, o.fail
}

func (o *organisation) PartSound(ctx context.Context, id string, number int) (api.Audio, error) {
	return o.Part(ctx, id, number)
}

func (o *organisation) DeleteProgramme(context.Context, string) error { return o.fail }

func (o *organisation) ExportProgramme(_ context.Context, _, format, by string) (api.ProgrammeExport, error) {
	return api.ProgrammeExport{ID: "x1", Format: format, State: "waiting", By: by}, o.fail
}

func (o *organisation) OpenExport(ctx context.Context, id, _ string) (api.Audio, error) {
	return o.Part(ctx, id, 1)
}

func (o *organisation) DropExport(context.Context, string, string) error { return o.fail }

func (o *organisation) RecordRoom(context.Context, string, auth.Principal, bool, bool) error {
	return o.fail
}

// Who watches, exports or deletes a recorded meeting stands in the audit log, who is refused does as well; a token bound to a
// room sees only what was recorded there.
func TestWatchingIsOnRecord(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		if rec := w.ask(t, as(auth.Chair), http.MethodGet, "/programmes/c1/parts/1/file", nil); rec.Code != http.StatusOK || rec.Body.String() != "0123456789" {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	if rec := w.ask(t, as(auth.Auditor), http.MethodGet, "/programmes/c1/parts/1/file?download=true", nil); rec.Code != http.StatusOK ||
		rec.Header().Get("Content-Disposition") != `attachment; filename="c1-1.mkv"` {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	if rec := w.ask(t, as(auth.Operator), http.MethodGet, "/programmes/c1/parts/1/sound", nil); rec.Code != http.StatusForbidden {
		t.Errorf("an operator may list and record, not watch: %d", rec.Code)
	}
	if rec := w.ask(t, as(auth.Chair), http.MethodDelete, "/programmes/c1", nil); rec.Code != http.StatusForbidden {
		t.Errorf("a chair deletes: %d", rec.Code)
	}
	got := w.actions(t)
	for what, n := range map[string]int{
		"anna meeting_recording.watch c1": 1, "anna meeting_recording.export c1": 1, "anna meeting_recording.watch.refused c1": 1, "anna meeting_recording.delete.refused c1": 1,
	} {
		if found := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != what })); found != n {
			t.Errorf("%q is on record %d times: %v", what, found, got)
		}
	}
	bound := auth.Principal{Kind: auth.KindToken, Name: "wall", Role: auth.Chair, Room: "9001"}
	if list := decode(t, w.ask(t, bound, http.MethodGet, "/programmes", nil))["programmes"].([]any); len(list) != 1 {
		t.Errorf("%v", list)
	}
	if rec := w.ask(t, bound, http.MethodGet, "/programmes/c1/parts/1/file", nil); rec.Code != http.StatusNotFound {
		t.Errorf("%d", rec.Code)
	}
	if rec := w.ask(t, bound, http.MethodPost, "/rooms/9000/recording", map[string]any{}); rec.Code != http.StatusForbidden {
		t.Errorf("%d", rec.Code)
	}
}
