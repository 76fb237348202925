package api_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"linehall/internal/auth"
	"linehall/web/api"
)

func (o *organisation) Features(_ context.Context, ext string) (api.TerminalFeatures, error) {
	return api.TerminalFeatures{Extension: ext, Settings: o.settings[ext]}, o.fail
}

func (o *organisation) SetFeatures(_ context.Context, ext string, s api.FeatureSettings) error {
	if s.Always.To == "110" {
		return &api.InvalidError{Fields: []api.InvalidField{{Path: "always.to", Message: "not to an emergency number"}, {Path: "busy.to", Message: "nor there"}}}
	}
	if o.settings == nil {
		o.settings = map[string]api.FeatureSettings{}
	}
	o.settings[ext] = s
	return o.fail
}

func (o *organisation) SetPIN(_ context.Context, ext, pin string) error {
	o.pins = append(o.pins, ext+" "+pin)
	return o.fail
}

func (o *organisation) LogOut(_ context.Context, ext string) error {
	o.pins = append(o.pins, ext+" out")
	return o.fail
}

func (o *organisation) Groups(context.Context) []api.Group {
	return []api.Group{
		{Number: "8100", Strategy: "all", Members: []api.GroupMember{{Extension: "8001", Site: "hq", Free: true}}},
		{Number: "2100", Strategy: "linear", Members: []api.GroupMember{{Extension: "2001", Site: "branch1"}}},
	}
}

func (o *organisation) SetGroupMember(_ context.Context, group, ext string, in bool) error {
	o.pins = append(o.pins, fmt.Sprint(group, " ", ext, " ", in))
	return o.fail
}

// settings is a complete body.
func settings(edit ...func(map[string]any)) map[string]any {
	off := map[string]any{"on": false, "to": ""}
	s := map[string]any{
		"always": off, "busy": off, "no_answer": off, "unreachable": off, "after_hours": map[string]any{"on": false, "to": "", "from": "", "until": ""},
		"no_answer_seconds": 20, "do_not_disturb": false, "block_anonymous": false, "call_limit": 0,
		"boss":        map[string]any{"on": false, "secretary": "", "only": false, "allow": []string{}},
		"speed_dials": map[string]string{}, "pickup_groups": []string{}, "logged_out": []string{},
	}
	for _, f := range edit {
		f(s)
	}
	return s
}

// A change says on record what became different, and a refusal names each field.
func TestFeaturesOfATerminal(t *testing.T) {
	w := newWorld(t)
	admin := as(auth.Admin)
	rec := w.ask(t, admin, http.MethodPut, "/terminals/8001/features", settings(func(s map[string]any) {
		s["always"], s["do_not_disturb"] = map[string]any{"on": true, "to": "8002"}, true
	}))
	if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), `"always":{"on":true,"to":"8002"}`) {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	events, err := w.audit.List(t.Context(), 0, 1)
	if err != nil || len(events) != 1 {
		t.Fatal(events, err)
	}
	changed := slices.Sorted(maps.Keys(events[0].Detail))
	if events[0].Action != "terminal.features" || events[0].Object != "8001" || !slices.Equal(changed, []string{"always", "do_not_disturb", "no_answer_seconds"}) {
		t.Errorf("recorded %+v", events[0])
	}
	rec = w.ask(t, admin, http.MethodPut, "/terminals/8001/features", settings(func(s map[string]any) { s["always"] = map[string]any{"on": true, "to": "110"} }))
	if body := rec.Body.String(); rec.Code != http.StatusUnprocessableEntity || !strings.Contains(body, `"location":"body.always.to"`) || !strings.Contains(body, `"location":"body.busy.to"`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	for name, body := range map[string]map[string]any{
		"a field is missing": {"do_not_disturb": true},
		"an unknown field":   settings(func(s map[string]any) { s["colour"] = "red" }),
		"out of range":       settings(func(s map[string]any) { s["no_answer_seconds"] = 1 }),
	} {
		if rec := w.ask(t, admin, http.MethodPut, "/terminals/8001/features", body); rec.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
	if rec := w.ask(t, admin, http.MethodGet, "/terminals/7777/features", nil); rec.Code != http.StatusNotFound {
		t.Errorf("unknown extension: %d", rec.Code)
	}
}

// A PIN is never on record.
func TestPINIsNotRecorded(t *testing.T) {
	w := newWorld(t)
	if rec := w.ask(t, as(auth.Operator), http.MethodPut, "/terminals/8001/pin", map[string]any{"pin": "4821"}); rec.Code != http.StatusNoContent {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if !slices.Equal(w.pins, []string{"8001 4821"}) {
		t.Errorf("set %v", w.pins)
	}
	events, err := w.audit.List(t.Context(), 0, 10)
	if err != nil || strings.Contains(fmt.Sprint(events), "4821") || events[0].Action != "terminal.pin" {
		t.Errorf("%+v %v", events, err)
	}
}

// A member of staff switches what is their own, and joins no pickup group by themselves.
func TestOwnFeatures(t *testing.T) {
	w := newWorld(t)
	own := as(auth.User)
	own.Name = "8001"
	for _, tc := range []struct {
		method, path string
		body         any
		want         int
	}{
		{http.MethodGet, "/terminals/8001/features", nil, 200},
		{http.MethodGet, "/terminals/2001/features", nil, 403},
		{http.MethodPut, "/terminals/8001/features", settings(), 200},
		{http.MethodPut, "/terminals/2001/features", settings(), 403},
		{http.MethodPut, "/terminals/8001/features", settings(func(s map[string]any) { s["pickup_groups"] = []string{"board"} }), 403},
		{http.MethodPut, "/terminals/8001/pin", map[string]any{"pin": "4821"}, 204},
		{http.MethodPut, "/terminals/2001/pin", map[string]any{"pin": "4821"}, 403},
		{http.MethodDelete, "/terminals/8001/guest", nil, 204},
		{http.MethodGet, "/groups", nil, 403},
	} {
		if rec := w.ask(t, own, tc.method, tc.path, tc.body); rec.Code != tc.want {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, rec.Code, rec.Body)
		}
	}
	own.Kind = auth.KindToken // a token may bear any name
	if rec := w.ask(t, own, http.MethodGet, "/terminals/8001/features", nil); rec.Code != http.StatusForbidden {
		t.Errorf("a token named like the extension: %d", rec.Code)
	}
}

func TestGroupsOfASite(t *testing.T) {
	w := newWorld(t)
	branch := as(auth.Operator)
	branch.Site = "branch1"
	rec := w.ask(t, branch, http.MethodGet, "/groups", nil)
	if body := rec.Body.String(); rec.Code != http.StatusOK || strings.Contains(body, "8100") || !strings.Contains(body, "2100") {
		t.Errorf("%d %s", rec.Code, body)
	}
	if rec := w.ask(t, branch, http.MethodPut, "/groups/8100/members/8001", map[string]any{"logged_in": true}); rec.Code != http.StatusNotFound {
		t.Errorf("another site's member: %d", rec.Code)
	}
}
