package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/internal/audit"
	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/internal/site"
	"linehall/web/api"
	"linehall/web/session"
)

var update = flag.Bool("update", false, "write openapi.yaml")

const password = "correct horse battery"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// organisation is a small appliance: two phones, a call between sites, a line, a room.
type organisation struct {
	called   string // into a meeting
	settings map[string]api.FeatureSettings
	pins     []string // what was asked of PINs, guests and members
	hungUp   []string
	opened   map[string]time.Duration
	revoked  []string
	claims   []string
	renewed  int
	query    api.CDRQuery
	fail     error
}

func (o *organisation) Status(context.Context) api.Status {
	return api.Status{
		Name: "局机关", Domain: "linehall.test", Version: "0.1.0", Ready: true, Language: "zh-CN", TerminalsTotal: 2, CallsActive: 1,
		Sites:  []api.SiteStatus{{ID: "hq", Main: true, TerminalsTotal: 1}, {ID: "branch1", TerminalsTotal: 1, CallsActive: 1}},
		Alarms: []api.Alarm{{ID: "line_full:branch2", Severity: "warning", Code: "line_full", Site: new("branch2")}, {ID: "disk", Severity: "critical", Code: "disk"}},
	}
}

func (o *organisation) Terminals(context.Context) []api.Terminal {
	return []api.Terminal{
		{Extension: "8001", Site: "hq", State: "active", Registered: true, Since: &noon, Address: new("127.0.0.11:5060")},
		{Extension: "2001", Site: "branch1", State: "active"},
	}
}

func (o *organisation) Terminal(ctx context.Context, ext string) (api.Terminal, error) {
	for _, t := range o.Terminals(ctx) {
		if t.Extension == ext {
			return t, nil
		}
	}
	return api.Terminal{}, fmt.Errorf("terminal %s: %w", ext, api.ErrNotFound)
}

func (o *organisation) Credentials(_ context.Context, ext string) (api.Credentials, error) {
	return api.Credentials{Extension: ext, Password: "geheim", UDPPort: 5060}, o.fail
}

func (o *organisation) OpenEnrolment(_ context.Context, site string, length time.Duration) (time.Time, error) {
	if site != "branch1" {
		return time.Time{}, fmt.Errorf("site %q: %w", site, api.ErrNotFound)
	}
	o.opened[site] = length
	return noon.Add(length), nil
}

func (o *organisation) StartApply(context.Context, api.ApplyWish) (api.Apply, error) {
	return api.Apply{Running: true, Outcomes: []api.ApplyOutcome{}}, nil
}

func (o *organisation) LastApply(context.Context) api.Apply {
	return api.Apply{Outcomes: []api.ApplyOutcome{}}
}

func (o *organisation) PhoneStates(context.Context) ([]api.PhoneState, error) {
	return []api.PhoneState{
		{Extension: "8001", Site: "hq", Drift: []string{}, Wanted: api.PhoneWanted{Change: "none"}},
		{Extension: "2001", Site: "branch1", Drift: []string{"not_enrolled"}, Wanted: api.PhoneWanted{Change: "new"}, Refusal: &api.PhoneRefusal{Reason: "window_closed"}},
	}, o.fail
}

func (o *organisation) Windows(context.Context) []api.EnrolmentWindow {
	return []api.EnrolmentWindow{{Site: "branch1"}, {Site: "branch2"}}
}

func (o *organisation) CloseEnrolment(_ context.Context, site string) error {
	delete(o.opened, site)
	return o.fail
}

func (o *organisation) RevokePhone(_ context.Context, extension string) error {
	o.revoked = append(o.revoked, extension)
	return o.fail
}

func (o *organisation) ClaimPhone(_ context.Context, wish api.ClaimWish, by string) (api.Claimed, error) {
	o.claims = append(o.claims, by+" "+wish.MAC+" "+wish.Extension)
	return api.Claimed{Extension: wish.Extension, MAC: wish.MAC, Until: noon}, o.fail
}

func (o *organisation) ReplacePhone(_ context.Context, wish api.ReplaceWish, by string) (api.Claimed, error) {
	o.claims = append(o.claims, by+" "+wish.Old+" by "+wish.New)
	return api.Claimed{Extension: "8001", MAC: wish.New, Until: noon}, o.fail
}

func (o *organisation) UnknownTerminals(context.Context) []api.UnknownTerminal {
	return []api.UnknownTerminal{{MAC: "00:15:65:00:00:99", Site: "branch1"}}
}

func (o *organisation) Calls(context.Context) []api.Call {
	return []api.Call{
		{ID: "c1", State: "established", From: api.Party{Extension: "8001", Site: "hq"}, To: api.Party{Extension: "2001", Site: "branch1"}},
		{ID: "c2", State: "ringing", From: api.Party{Extension: "8001", Site: "hq"}, To: api.Party{Extension: "8002", Site: "hq"}},
	}
}

func (o *organisation) Call(ctx context.Context, id string) (api.Call, error) {
	for _, c := range o.Calls(ctx) {
		if c.ID == id {
			return c, nil
		}
	}
	return api.Call{}, fmt.Errorf("call %s: %w", id, api.ErrNotFound)
}

func (o *organisation) Dial(_ context.Context, from, to string) (string, error) {
	if to == "4711" {
		return "", fmt.Errorf("%s: %w", to, api.ErrInvalid)
	}
	return from + " to " + to, o.fail
}

func (o *organisation) HangUp(_ context.Context, id, _ string) error {
	o.hungUp = append(o.hungUp, id)
	return o.fail
}

func (o *organisation) Lines(context.Context) []api.Line {
	return []api.Line{{Site: "branch1"}, {Site: "branch2"}}
}

func (o *organisation) Bans(context.Context) []api.Ban {
	return []api.Ban{{Kind: "address", Address: "192.0.2.66", Since: noon, Until: noon, Tries: 20, Reason: "passwords"}}
}

func (o *organisation) Lift(_ context.Context, address netip.Addr) error {
	if address != netip.MustParseAddr("192.0.2.66") {
		return api.ErrNotFound
	}
	return nil
}

func (o *organisation) Trunks(context.Context) []api.Trunk {
	return []api.Trunk{{Name: "gateway", State: "up", Gateways: []api.Gateway{{Name: "10.9.0.2", State: "up", Addresses: []string{}}}}}
}

func (o *organisation) Explain(_ context.Context, q api.ExplainQuery) (api.Decision, error) {
	if q.From != "8001" && q.Trunk != "gateway" {
		return api.Decision{}, fmt.Errorf("extension %q: %w", q.From, api.ErrNotFound)
	}
	return api.Decision{Kind: "extension", Number: q.Number, Steps: []api.DecisionStep{{Rule: "extension", Result: "is a terminal"}}}, nil
}

func (o *organisation) Rooms(context.Context) []api.Room {
	return []api.Room{{Number: "9000", Name: "全省例会", Venues: []api.Venue{{ID: "hq", Site: "hq"}, {ID: "b1", Site: "branch1"}}}, {Number: "9001"}}
}

func (o *organisation) Meetings(_ context.Context, room string, _ int) ([]api.Meeting, error) {
	if room != "9000" {
		return nil, o.fail
	}
	ended := time.Date(2026, 12, 1, 2, 0, 0, 0, time.UTC)
	return []api.Meeting{{ID: "m2", Room: room, StartedAt: ended}, {ID: "m1", Room: room, StartedAt: ended.Add(-time.Hour), EndedAt: &ended}}, o.fail
}

func (o *organisation) Minutes(_ context.Context, meeting string, _ int) ([]api.Minute, error) {
	at := time.Date(2026, 12, 1, 1, 30, 0, 0, time.UTC)
	return []api.Minute{
		{At: at, Actor: "hq", ActorName: api.Names{ZH: "主会场", EN: "Main"}, Action: "floor.give", Target: "b1", TargetName: api.Names{ZH: "林东", EN: "Lindong"}},
		{At: at, Actor: "b1", Action: "chat", Detail: "=HYPERLINK(1)"},
		{At: at, Action: "opened", Detail: meeting},
	}, o.fail
}

func (o *organisation) CallPhone(ctx context.Context, room, number, _ string) error {
	if _, err := o.Room(ctx, room); err != nil {
		return err
	}
	o.called = number
	return nil
}

func (o *organisation) Room(ctx context.Context, number string) (api.Room, error) {
	for _, r := range o.Rooms(ctx) {
		if r.Number == number {
			return r, nil
		}
	}
	return api.Room{}, fmt.Errorf("room %s: %w", number, api.ErrNotFound)
}

func (o *organisation) CDRs(_ context.Context, q api.CDRQuery) ([]api.CDR, error) {
	o.query = q
	return []api.CDR{{ID: "r1", FromSite: "hq", ToSite: "branch1"}, {ID: "r2", FromSite: "hq", ToSite: "hq"}}, o.fail
}

func (o *organisation) CDR(ctx context.Context, id string) (api.CDR, error) {
	records, err := o.CDRs(ctx, api.CDRQuery{})
	for _, r := range records {
		if r.ID == id {
			return r, err
		}
	}
	return api.CDR{}, fmt.Errorf("call %s: %w", id, api.ErrNotFound)
}

func (o *organisation) Trace(_ context.Context, id string) (api.Trace, error) {
	return api.Trace{ID: id, Parties: []api.TraceParty{}, Steps: []api.TraceStep{}}, o.fail
}

func (o *organisation) CaptureMedia(context.Context, string, bool, string) error { return o.fail }

func (o *organisation) Capture(context.Context, string, bool) ([]byte, error) {
	return []byte("pcap"), o.fail
}

func (o *organisation) Certificates(context.Context) []api.Certificate {
	return []api.Certificate{{Use: "browser", NotAfter: noon}}
}

func (o *organisation) RenewCertificates(context.Context) error { o.renewed++; return o.fail }

type world struct {
	*organisation
	users    *auth.Service
	sessions *session.Manager
	audit    *audit.Log
	api      *api.API
}

func newWorld(t *testing.T) world {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, audit.Schema(), auth.Schema(), session.Schema()); err != nil {
		t.Fatal(err)
	}
	w := world{organisation: &organisation{opened: map[string]time.Duration{}}}
	if w.users, err = auth.Open(t.Context(), db, auth.Options{}); err != nil {
		t.Fatal(err)
	}
	if w.audit, err = audit.Open(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	if w.sessions, err = session.Open(t.Context(), db, w.users, session.Options{}); err != nil {
		t.Fatal(err)
	}
	o := w.organisation
	w.api = api.New(api.Options{
		Appliance: o, Terminals: o, Enrolment: o, Applies: o, Fleet: o, Calls: o, Lines: o, Rooms: o, Meetings: o, Schedule: o, Calendars: o, Records: o, Traces: o, Recordings: o, Programmes: o, Certificates: o, Trunks: o, Bans: o, Dialplan: o, Features: o,
		Users: w.users, Sessions: w.sessions, Audit: w.audit,
		PublicURL: func() string { return "https://linehall.test:8443" }, Language: func() string { return "zh-CN" }, TimeZone: func() string { return "Asia/Shanghai" },
	})
	return w
}

func as(role auth.Role) auth.Principal {
	return auth.Principal{Kind: auth.KindUser, Name: "anna", Role: role}
}

// ask calls the API as p (nobody when p is zero).
func (w world) ask(t *testing.T, p auth.Principal, method, path string, body any) *httptest.ResponseRecorder {
	t.Helper()
	var encoded []byte
	if body != nil {
		var err error
		if encoded, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	if p != (auth.Principal{}) {
		ctx = auth.WithPrincipal(ctx, p)
	}
	r := httptest.NewRequestWithContext(ctx, method, "/api/v1"+path, bytes.NewReader(encoded))
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, r)
	return rec
}

func decode(t *testing.T, rec *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &v); err != nil {
		t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
	}
	return v
}

func (w world) actions(t *testing.T) []string {
	t.Helper()
	events, err := w.audit.List(t.Context(), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range slices.Backward(events) {
		out = append(out, e.Actor+" "+e.Action+" "+e.Object)
	}
	return out
}

// Who may do what, for every operation: a new one must be put here.
func TestRolesOfEveryOperation(t *testing.T) {
	const everybody = "admin operator chair room auditor user"
	table := map[string]string{
		"GET /status":                "admin operator chair auditor",
		"GET /lines":                 "admin operator chair auditor",
		"GET /trunks":                "admin operator auditor",
		"GET /bans":                  "admin operator",
		"DELETE /bans/{address}":     "admin operator",
		"GET /dialplan/explain":      "admin operator auditor",
		"GET /terminals":             "admin operator auditor",
		"GET /terminals/unknown":     "admin operator auditor",
		"GET /terminals/{extension}": "admin operator auditor",
		"POST /terminals/open":       "admin operator",
		"GET /terminals/status":      "admin operator auditor",
		"GET /terminals/open":        "admin operator auditor",
		"POST /terminals/close":      "admin operator",
		"POST /terminals/claim":      "admin operator",
		"POST /terminals/replace":    "admin operator",

		"DELETE /terminals/{extension}/token": "admin operator",
		// and a user for the own extension, see TestOwnFeatures
		"GET /terminals/{extension}/features":      "admin operator auditor",
		"PUT /terminals/{extension}/features":      "admin operator",
		"PUT /terminals/{extension}/pin":           "admin operator",
		"DELETE /terminals/{extension}/guest":      "admin operator",
		"GET /groups":                              "admin operator auditor",
		"PUT /calls/{id}/capture":                  "admin",
		"PUT /groups/{number}/members/{extension}": "admin operator",

		"GET /calls":                           "admin operator auditor",
		"GET /calls/{id}":                      "admin operator auditor",
		"DELETE /calls/{id}":                   "admin operator",
		"POST /calls":                          "admin operator",
		"GET /apply":                           "admin operator auditor",
		"POST /apply":                          "admin",
		"GET /rooms":                           "admin operator chair auditor",
		"GET /rooms/{number}/meetings":         "admin operator chair auditor",
		"GET /rooms/{number}/minutes":          "admin operator chair auditor",
		"GET /rooms/{number}/minutes.csv":      "admin operator chair auditor",
		"GET /rooms/{number}":                  everybody,
		"GET /rooms/{number}/attendance":       "admin operator chair auditor",
		"GET /rooms/{number}/attendance.csv":   "admin operator chair auditor",
		"GET /schedule":                        "admin operator chair auditor",
		"POST /schedule":                       "admin operator chair",
		"GET /schedule/{id}":                   "admin operator chair auditor",
		"PUT /schedule/{id}":                   "admin operator chair",
		"DELETE /schedule/{id}":                "admin operator chair",
		"PUT /schedule/{id}/skipped/{date}":    "admin operator chair",
		"DELETE /schedule/{id}/skipped/{date}": "admin operator chair",
		"GET /schedule/{id}/calendar.ics":      "admin operator chair auditor",
		"GET /occurrences":                     "admin operator chair auditor",
		"GET /calendars":                       "admin operator chair",
		"POST /calendars":                      "admin operator chair",
		"DELETE /calendars/{id}":               "admin operator chair",
		"GET /calendars/{token}/meetings.ics":  "nobody " + everybody,
		"POST /rooms/{number}/link":            "admin operator",
		"POST /rooms/{number}/calls":           "admin operator chair",
		"POST /rooms/{number}/recording":       "admin operator chair",
		"DELETE /rooms/{number}/recording":     "admin operator chair",

		"GET /programmes":                            "admin operator chair auditor",
		"GET /programmes/{id}":                       "admin operator chair auditor",
		"DELETE /programmes/{id}":                    "admin",
		"GET /programmes/{id}/parts/{number}/file":   "admin chair auditor",
		"GET /programmes/{id}/parts/{number}/sound":  "admin chair auditor",
		"POST /programmes/{id}/exports":              "admin chair auditor",
		"GET /programmes/{id}/exports/{export}/file": "admin chair auditor",
		"DELETE /programmes/{id}/exports/{export}":   "admin chair auditor",

		"GET /devices":                 "admin operator",
		"DELETE /devices/{id}":         "admin operator",
		"GET /cdrs":                    "admin operator auditor",
		"GET /cdrs/{id}":               "admin operator auditor",
		"GET /calls/{id}/trace":        "admin operator auditor",
		"GET /calls/{id}/pcap":         "admin operator",
		"GET /recordings":              "admin operator auditor",
		"GET /recordings/{id}":         "admin operator auditor",
		"GET /recordings/{id}/audio":   "admin auditor",
		"DELETE /recordings/{id}":      "admin",
		"POST /calls/{id}/recording":   "admin operator",
		"DELETE /calls/{id}/recording": "admin operator",
		"GET /audit":                   "admin auditor",
		"GET /audit/verify":            "admin auditor",
		"GET /users":                   "admin",
		"POST /users":                  "admin",
		"PUT /users/{name}/password":   "admin",
		"DELETE /users/{name}":         "admin",
		"GET /tokens":                  "admin",
		"POST /tokens":                 "admin",
		"DELETE /tokens/{id}":          "admin",
		"GET /certificates":            "admin operator auditor",
		"POST /certificates/renew":     "admin",
		"GET /me":                      everybody,
		"POST /login":                  "nobody " + everybody,
		"POST /logout":                 "nobody " + everybody,
		"POST /rooms/{number}/device":  "nobody " + everybody,
	}
	bodies := map[string]any{
		"POST /rooms/{number}/recording": map[string]any{"tracks": true},
		"POST /programmes/{id}/exports":  map[string]any{"format": "mp4"},

		"PUT /terminals/{extension}/features":      settings(),
		"PUT /terminals/{extension}/pin":           map[string]any{"pin": "4821"},
		"PUT /calls/{id}/capture":                  map[string]any{"on": true},
		"PUT /groups/{number}/members/{extension}": map[string]any{"logged_in": true},

		"POST /calls":                 map[string]any{"from": "8001", "to": "2001"},
		"POST /apply":                 map[string]any{"digest": "", "limit": "", "batch": 10, "pause_seconds": 0, "max_failures": 3},
		"POST /terminals/claim":       map[string]any{"mac": "00:15:65:00:00:99", "extension": "2002"},
		"POST /terminals/replace":     map[string]any{"old": "8001", "new": "00:15:65:00:00:99"},
		"POST /terminals/close":       map[string]any{"site": "branch1"},
		"POST /terminals/open":        map[string]any{"site": "branch1", "minutes": 5},
		"POST /rooms/{number}/link":   map[string]any{"venue": "hq"},
		"POST /rooms/{number}/calls":  map[string]any{"number": "8001"},
		"POST /users":                 map[string]any{"name": "x", "password": "x", "role": "user"}, // refused later, as too short
		"PUT /users/{name}/password":  map[string]any{"password": "x"},
		"POST /tokens":                map[string]any{"role": "user"},
		"POST /login":                 map[string]any{"username": "x", "password": strings.Repeat("x", 10)},
		"POST /schedule":              plan(),
		"PUT /schedule/{id}":          plan(),
		"POST /calendars":             map[string]any{"room": "9000", "venue": ""},
		"POST /rooms/{number}/device": map[string]any{"venue": "x", "token": "x"},
	}
	fill := strings.NewReplacer("{export}", "x1", "{extension}", "8001", "{id}", "c1", "{number}", "9000", "{name}", "x", "{date}", "2026-12-08", "{token}", "geheim")
	w := newWorld(t)
	if diff := cmp.Diff(operations(t, w), table, cmp.Transformer("keys", func(m map[string]string) []string {
		return slices.Sorted(func(yield func(string) bool) {
			for k := range m {
				if !yield(k) {
					return
				}
			}
		})
	})); diff != "" {
		t.Fatalf("operations and table differ: %s", diff)
	}
	for op, roles := range table {
		method, path, _ := strings.Cut(op, " ")
		for _, role := range append([]auth.Role{"nobody"}, auth.Roles()...) {
			p := as(role)
			if role == "nobody" {
				p = auth.Principal{}
			}
			if op == "POST /login" && role != "nobody" {
				continue // the same for all, and each try costs a hash
			}
			rec := w.ask(t, p, method, fill.Replace(path), bodies[op])
			refused := rec.Code == http.StatusForbidden || rec.Code == http.StatusUnauthorized && role == "nobody" && !strings.HasPrefix(roles, "nobody")
			if role == "nobody" && refused && rec.Code != http.StatusUnauthorized {
				t.Errorf("%s as nobody: %d", op, rec.Code)
			}
			if allowed := slices.Contains(strings.Fields(roles), string(role)); refused == allowed && (op != "GET /rooms/{number}") {
				t.Errorf("%s as %s: %d %s", op, role, rec.Code, rec.Body)
			}
			if rec.Code >= 500 {
				t.Errorf("%s as %s: %d %s", op, role, rec.Code, rec.Body)
			}
		}
	}
}

// operations reads the OpenAPI document.
func operations(t *testing.T, w world) map[string]string {
	t.Helper()
	rec := httptest.NewRecorder()
	w.api.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/openapi.json", nil))
	var doc struct {
		Paths map[string]map[string]any
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for path, methods := range doc.Paths {
		for method := range methods {
			out[strings.ToUpper(method)+" "+strings.TrimPrefix(path, "/api/v1")] = ""
		}
	}
	return out
}

func TestShapes(t *testing.T) {
	w := newWorld(t)
	p := as(auth.Admin)
	for path, want := range map[string]string{
		"/me":    `{"name":"anna","role":"admin","language":"zh-CN"}`,
		"/lines": `{"lines":[{"site":"branch1","name":"","up":{"capacity_bps":0,"office_reserve_bps":0,"conference_floor_bps":0,"reserved_bps":0,"measured_bps":0,"free_bps":0,"estimated_bps":0,"loss_percent":0,"below_contract":"no","below_since":null,"classes":[]},"down":{"capacity_bps":0,"office_reserve_bps":0,"conference_floor_bps":0,"reserved_bps":0,"measured_bps":0,"free_bps":0,"estimated_bps":0,"loss_percent":0,"below_contract":"no","below_since":null,"classes":[]},"state":"","down_since":null,"calls":{"total":0,"max":0,"emergency":0,"flash_override":0,"flash":0,"immediate":0,"priority":0,"routine":0},"refused_total":0,"preempted_total":0,"overflowed_total":0},` + `{"site":"branch2","name":"","up":{"capacity_bps":0,"office_reserve_bps":0,"conference_floor_bps":0,"reserved_bps":0,"measured_bps":0,"free_bps":0,"estimated_bps":0,"loss_percent":0,"below_contract":"no","below_since":null,"classes":[]},"down":{"capacity_bps":0,"office_reserve_bps":0,"conference_floor_bps":0,"reserved_bps":0,"measured_bps":0,"free_bps":0,"estimated_bps":0,"loss_percent":0,"below_contract":"no","below_since":null,"classes":[]},"state":"","down_since":null,"calls":{"total":0,"max":0,"emergency":0,"flash_override":0,"flash":0,"immediate":0,"priority":0,"routine":0},"refused_total":0,"preempted_total":0,"overflowed_total":0}]}`,
		"/terminals/2001": `{"extension":"2001","display_name":"","site":"branch1","mac":"","model":"","template":"","state":"active","notes":"","registered":false,"since":null,` +
			`"address":null,"transport":null,"user_agent":null,"expires_at":null,"bindings":0,"seen_site":null,"in_call":false,"provisioned_at":null}`,
		"/terminals/8001?secrets=true": `{"extension":"8001","display_name":"","site":"","mac":"","model":"","auth_user":"","password":"geheim","domain":"","realm":"","server":"",` +
			`"udp_port":5060,"tcp_port":0,"tls_port":0,"wss_url":"","transport":"","srtp":"","ca_file":"","admin_password":""}`,
		"/rooms/9001": `{"number":"9001","name":"","state":"","opened_at":null,"recording":false,"venues":[],"participants":[]}`,
		"/calls/c2": `{"id":"c2","state":"ringing","class":"","precedence":"","started_at":"0001-01-01T00:00:00Z","answered_at":null,"duration_seconds":0,"from":{"extension":"8001","display_name":"","site":"hq"},` +
			`"to":{"extension":"8002","display_name":"","site":"hq"},"path":"","codec":null,"media":null,"srtp":false,"srtp_here":false,"mos":null,"legs":[],"guests":null,"recording":"","may_record":false,"unrecorded":""}`,
	} {
		rec := w.ask(t, p, http.MethodGet, path, nil)
		if got := strings.TrimSpace(rec.Body.String()); rec.Code != http.StatusOK || got != want {
			t.Errorf("%s: %d\n got %s\nwant %s", path, rec.Code, got, want)
		}
	}
}

func TestProblems(t *testing.T) {
	w := newWorld(t)
	admin := as(auth.Admin)
	for name, tc := range map[string]struct {
		method, path string
		body         any
		want         int
		detail       string
	}{
		"unknown terminal":   {http.MethodGet, "/terminals/7777", nil, 404, "terminal 7777"},
		"unknown call":       {http.MethodDelete, "/calls/none", nil, 404, "call none"},
		"unknown room":       {http.MethodPost, "/rooms/9999/link", map[string]any{"venue": "hq"}, 404, "room 9999"},
		"unknown venue":      {http.MethodPost, "/rooms/9000/link", map[string]any{"venue": "moon"}, 404, `venue "moon"`},
		"unknown site":       {http.MethodPost, "/terminals/open", map[string]any{"site": "moon", "minutes": 5}, 404, "moon"},
		"unknown endpoint":   {http.MethodGet, "/nothing", nil, 404, ""},
		"wrong method":       {http.MethodPatch, "/calls", nil, 405, ""},
		"missing field":      {http.MethodPost, "/terminals/open", map[string]any{"site": "branch1"}, 422, "validation failed"},
		"unknown field":      {http.MethodPost, "/tokens", map[string]any{"role": "user", "colour": "red"}, 422, "validation failed"},
		"bad role":           {http.MethodPost, "/tokens", map[string]any{"role": "king"}, 422, "validation failed"},
		"out of range":       {http.MethodPost, "/terminals/open", map[string]any{"site": "branch1", "minutes": 100000}, 422, "validation failed"},
		"bad query":          {http.MethodGet, "/cdrs?limit=lots", nil, 422, "validation failed"},
		"bad time":           {http.MethodGet, "/cdrs?from=yesterday", nil, 422, "validation failed"},
		"unknown query":      {http.MethodGet, "/cdrs?limitt=5", nil, 422, "validation failed"},
		"weak password":      {http.MethodPost, "/users", map[string]any{"name": "x", "password": "x", "role": "user"}, 422, "fewer than 10"},
		"last admin":         {http.MethodDelete, "/users/nobody", nil, 404, "nobody"},
		"not JSON":           {http.MethodPost, "/tokens", "text", 422, ""},
		"unknown device":     {http.MethodDelete, "/devices/none", nil, 404, "none"},
		"unknown token":      {http.MethodDelete, "/tokens/none", nil, 404, "none"},
		"admin for one room": {http.MethodPost, "/tokens", map[string]any{"role": "admin", "room": "9000"}, 422, "cannot be admin"},
	} {
		rec := w.ask(t, admin, tc.method, tc.path, tc.body)
		v := decode(t, rec)
		detail, _ := v["detail"].(string)
		if rec.Code != tc.want || rec.Header().Get("Content-Type") != "application/problem+json" || v["status"] != float64(tc.want) || !strings.Contains(detail, tc.detail) {
			t.Errorf("%s: %d %s %s", name, rec.Code, rec.Header().Get("Content-Type"), rec.Body)
		}
	}
	w.fail = fmt.Errorf("internal words")
	rec := w.ask(t, admin, http.MethodGet, "/cdrs", nil)
	if rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "internal words") {
		t.Errorf("our own fault: %d %s", rec.Code, rec.Body)
	}
	w.fail = fmt.Errorf("insert: %w", database.ErrFull)
	if rec := w.ask(t, admin, http.MethodDelete, "/calls/c1", nil); rec.Code != http.StatusInsufficientStorage {
		t.Errorf("full disk: %d", rec.Code)
	}
	w.fail = fmt.Errorf("call c1: %w: it is being set up", api.ErrUnavailable)
	if rec := w.ask(t, admin, http.MethodDelete, "/calls/c1", nil); rec.Code != http.StatusServiceUnavailable {
		t.Errorf("not now: %d", rec.Code)
	}
}

func TestLoginAndOut(t *testing.T) {
	w := newWorld(t)
	if err := w.users.AddUser(t.Context(), auth.NewUser{Name: "berta", Password: password, Role: auth.Operator}); err != nil {
		t.Fatal(err)
	}
	nobody := auth.Principal{}
	rec := w.ask(t, nobody, http.MethodPost, "/login", map[string]any{"username": "berta", "password": "wrong"})
	if rec.Code != http.StatusUnauthorized {
		t.Errorf("wrong password: %d", rec.Code)
	}
	rec = w.ask(t, nobody, http.MethodPost, "/login", map[string]any{"username": "berta", "password": password})
	cookies := rec.Result().Cookies()
	if rec.Code != http.StatusNoContent || len(cookies) != 1 || cookies[0].Name != "linehall_session" || !cookies[0].HttpOnly || !cookies[0].Secure || cookies[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	https := w.sessions.Handler(w.api)
	me := func() int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/me", nil)
		r.AddCookie(cookies[0])
		rec := httptest.NewRecorder()
		https.ServeHTTP(rec, r)
		return rec.Code
	}
	if got := me(); got != http.StatusOK {
		t.Errorf("me: %d", got)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/logout", nil)
	r.AddCookie(cookies[0])
	out := httptest.NewRecorder()
	https.ServeHTTP(out, r)
	if out.Code != http.StatusNoContent || len(out.Result().Cookies()) != 1 || out.Result().Cookies()[0].MaxAge >= 0 {
		t.Errorf("log-out: %d %v", out.Code, out.Header())
	}
	if got := me(); got != http.StatusUnauthorized {
		t.Errorf("me after log-out: %d", got)
	}
	for range 4 {
		w.ask(t, nobody, http.MethodPost, "/login", map[string]any{"username": "carla", "password": "wrong"})
	}
	w.ask(t, nobody, http.MethodPost, "/login", map[string]any{"username": "carla", "password": "wrong"})
	rec = w.ask(t, nobody, http.MethodPost, "/login", map[string]any{"username": "carla", "password": "wrong"})
	if rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != "1" {
		t.Errorf("locked: %d %v", rec.Code, rec.Header())
	}
	want := []string{
		"berta session.refused berta", "berta session.login berta", "berta session.logout berta",
	}
	for range 5 {
		want = append(want, "carla session.refused carla")
	}
	if diff := cmp.Diff(want, w.actions(t)); diff != "" {
		t.Error(diff)
	}
}

func TestChangesAreOnRecord(t *testing.T) {
	w := newWorld(t)
	admin := as(auth.Admin)
	ask := func(method, path string, body any) map[string]any {
		t.Helper()
		rec := w.ask(t, admin, method, path, body)
		if rec.Code >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
		}
		if rec.Code == http.StatusNoContent {
			return nil
		}
		return decode(t, rec)
	}
	ask(http.MethodPost, "/users", map[string]any{"name": "berta", "password": password, "role": "auditor", "site": "branch1"})
	ask(http.MethodPut, "/users/berta/password", map[string]any{"password": "another good one"})
	users := ask(http.MethodGet, "/users", nil)["users"].([]any)
	if b := users[0].(map[string]any); b["name"] != "berta" || b["role"] != "auditor" || b["site"] != "branch1" || b["password"] != nil {
		t.Errorf("user %v", b)
	}
	ask(http.MethodDelete, "/users/berta", nil)
	token := ask(http.MethodPost, "/tokens", map[string]any{"name": "whip", "role": "room", "room": "9000"})
	if p, err := w.users.Bearer(t.Context(), token["token"].(string)); err != nil || p.Room != "9000" {
		t.Errorf("token %+v, %v", p, err)
	}
	tokens := ask(http.MethodGet, "/tokens", nil)["tokens"].([]any)
	if one := tokens[0].(map[string]any); one["name"] != "whip" || one["token"] != nil || one["expires_at"] != nil {
		t.Errorf("listed token %v", one)
	}
	id := token["id"].(string)
	ask(http.MethodDelete, "/tokens/"+id, nil)
	ask(http.MethodDelete, "/calls/c1?reason=line+needed", nil)
	if made := ask(http.MethodPost, "/calls", map[string]any{"from": "8001", "to": "2001"}); made["id"] != "8001 to 2001" {
		t.Errorf("dialled %v", made)
	}
	window := ask(http.MethodPost, "/terminals/open", map[string]any{"site": "branch1", "minutes": 30})
	if window["until"] != "2026-11-23T12:30:00Z" || w.opened["branch1"] != 30*time.Minute {
		t.Errorf("window %v", window)
	}
	if ask(http.MethodPost, "/terminals/close", map[string]any{"site": "branch1"}); len(w.opened) > 0 {
		t.Errorf("windows %v", w.opened)
	}
	ask(http.MethodPost, "/terminals/claim", map[string]any{"mac": "00:15:65:00:00:99", "extension": "2002"})
	if ask(http.MethodPost, "/terminals/replace", map[string]any{"old": "8001", "new": "00:15:65:00:00:99"}); !slices.Equal(w.claims, []string{"anna 00:15:65:00:00:99 2002", "anna 8001 by 00:15:65:00:00:99"}) {
		t.Errorf("claims %v", w.claims)
	}
	if ask(http.MethodDelete, "/terminals/8001/token", nil); !slices.Equal(w.revoked, []string{"8001"}) {
		t.Errorf("revoked %v", w.revoked)
	}
	ask(http.MethodGet, "/terminals/8001?secrets=true", nil)
	ask(http.MethodGet, "/terminals/8001", nil) // not recorded
	if rec := w.ask(t, admin, http.MethodGet, "/calls/c1/pcap", nil); rec.Body.String() != "pcap" || rec.Header().Get("Content-Type") != "application/vnd.tcpdump.pcap" {
		t.Errorf("capture: %d %s %q", rec.Code, rec.Header(), rec.Body)
	}
	ask(http.MethodPost, "/certificates/renew", nil)
	if w.renewed != 1 || !slices.Equal(w.hungUp, []string{"c1"}) {
		t.Errorf("renewed %d times, hung up %v", w.renewed, w.hungUp)
	}
	w.fail = api.ErrUnavailable
	w.ask(t, admin, http.MethodDelete, "/calls/c2", nil)
	want := []string{
		"anna user.add berta", "anna user.password berta", "anna user.remove berta",
		"anna token.add whip", "anna token.revoke " + id, "anna call.hangup c1", "anna call.dial 8001",
		"anna enrolment.open branch1", "anna enrolment.close branch1", "anna terminal.claim 2002", "anna terminal.replace 8001", "anna terminal.revoke 8001", "anna terminal.secrets 8001", "anna call.capture c1", "anna certificate.renew ",
		"anna call.hangup c2", "anna call.hangup.failed c2",
	}
	if diff := cmp.Diff(want, w.actions(t)); diff != "" {
		t.Error(diff)
	}
	v := ask(http.MethodGet, "/audit/verify", nil)
	if v["ok"] != true || v["count"] != float64(len(want)) || v["broken_at"] != nil {
		t.Errorf("verification %v", v)
	}
	events := ask(http.MethodGet, "/audit?limit=2", nil)["events"].([]any)
	if len(events) != 2 || events[1].(map[string]any)["action"] != "call.hangup" {
		t.Errorf("events %v", events)
	}
}

func TestNothingHappensWithoutARecord(t *testing.T) {
	w := newWorld(t)
	broken, err := database.Open(t.Context(), filepath.Join(t.TempDir(), "y.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := database.Migrate(t.Context(), broken, audit.Schema()); err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(t.Context(), broken)
	if err != nil {
		t.Fatal(err)
	}
	o := w.organisation
	w.api = api.New(api.Options{Appliance: o, Terminals: o, Enrolment: o, Applies: o, Fleet: o, Calls: o, Lines: o, Rooms: o, Meetings: o, Records: o, Traces: o, Certificates: o, Trunks: o, Bans: o, Dialplan: o, Features: o, Users: w.users, Sessions: w.sessions, Audit: log})
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	for path, method := range map[string]string{"/calls/c1": http.MethodDelete, "/certificates/renew": http.MethodPost, "/terminals/8001?secrets=true": http.MethodGet} {
		if rec := w.ask(t, as(auth.Admin), method, path, nil); rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "geheim") {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if len(w.hungUp) != 0 || w.renewed != 0 {
		t.Error("something happened without a record")
	}
}

func TestSecretsAreForAdministrators(t *testing.T) {
	w := newWorld(t)
	for _, role := range []auth.Role{auth.Operator, auth.Auditor} {
		if rec := w.ask(t, as(role), http.MethodGet, "/terminals/8001?secrets=true", nil); rec.Code != http.StatusForbidden || strings.Contains(rec.Body.String(), "geheim") {
			t.Errorf("%s: %d %s", role, rec.Code, rec.Body)
		}
	}
	if rec := w.ask(t, auth.Local(), http.MethodGet, "/terminals/8001?secrets=true", nil); rec.Code != http.StatusOK {
		t.Errorf("local: %d", rec.Code)
	}
}

func TestASiteSeesItself(t *testing.T) {
	w := newWorld(t)
	p := as(auth.Operator)
	p.Site = "branch1"
	for path, want := range map[string]string{
		"/terminals": "2001", "/calls": "c1", "/lines": "branch1", "/cdrs": "r1", "/terminals/unknown": "00:15:65:00:00:99", "/terminals/status": "2001", "/terminals/open": "branch1",
	} {
		rec := w.ask(t, p, http.MethodGet, path, nil)
		for _, list := range decode(t, rec) {
			if rows, ok := list.([]any); !ok || len(rows) != 1 || !strings.Contains(fmt.Sprint(rows[0]), want) {
				t.Errorf("%s: %v", path, list)
			}
		}
	}
	if w.query.Site != "branch1" {
		t.Errorf("records asked for site %q", w.query.Site)
	}
	status := decode(t, w.ask(t, p, http.MethodGet, "/status", nil))
	if len(status["sites"].([]any)) != 1 || len(status["alarms"].([]any)) != 0 || status["terminals_total"] != float64(1) {
		t.Errorf("status %v", status)
	}
	for path, method := range map[string]string{"/terminals/8001": http.MethodGet, "/calls/c2": http.MethodDelete, "/calls/c2/trace": http.MethodGet, "/calls/r2/pcap": http.MethodGet, "/cdrs/r2": http.MethodGet} {
		if rec := w.ask(t, p, method, path, nil); rec.Code != http.StatusNotFound {
			t.Errorf("%s of another site: %d", path, rec.Code)
		}
	}
	if rec := w.ask(t, p, http.MethodPost, "/rooms/9000/link", map[string]any{"venue": "hq"}); rec.Code != http.StatusForbidden {
		t.Errorf("link for another site's venue: %d", rec.Code)
	}
	if rec := w.ask(t, p, http.MethodPost, "/terminals/open", map[string]any{"site": "hq", "minutes": 1}); rec.Code != http.StatusForbidden {
		t.Errorf("window at another site: %d", rec.Code)
	}
	if rec := w.ask(t, p, http.MethodPost, "/terminals/close", map[string]any{"site": "hq"}); rec.Code != http.StatusForbidden {
		t.Errorf("closing a window at another site: %d", rec.Code)
	}
	for _, claim := range []map[string]any{{"mac": "00:15:65:00:00:99", "extension": "2002", "site": "hq"}, {"mac": "00:15:65:00:00:99", "extension": "8001"}} {
		if rec := w.ask(t, p, http.MethodPost, "/terminals/claim", claim); rec.Code != http.StatusForbidden {
			t.Errorf("claim %v at another site: %d", claim, rec.Code)
		}
	}
	if rec := w.ask(t, p, http.MethodPost, "/terminals/replace", map[string]any{"old": "8001", "new": "00:15:65:00:00:99"}); rec.Code != http.StatusForbidden {
		t.Errorf("replacing a phone of another site: %d", rec.Code)
	}
	if rec := w.ask(t, p, http.MethodDelete, "/terminals/8001/token", nil); rec.Code != http.StatusNotFound {
		t.Errorf("revoking a phone of another site: %d", rec.Code)
	}
}

func TestRoomLink(t *testing.T) {
	w := newWorld(t)
	made := decode(t, w.ask(t, as(auth.Operator), http.MethodPost, "/rooms/9000/link", map[string]any{"venue": "b1"}))
	prefix := "https://linehall.test:8443/room/9000#token="
	url, _ := made["url"].(string)
	if !strings.HasPrefix(url, prefix) || !strings.HasSuffix(url, "&venue=b1") {
		t.Fatalf("url %s", url)
	}
	token := strings.TrimSuffix(strings.TrimPrefix(url, prefix), "&venue=b1")
	enter := func(number, venue, token string) *httptest.ResponseRecorder {
		return w.ask(t, auth.Principal{}, http.MethodPost, "/rooms/"+number+"/device", map[string]any{"venue": venue, "token": token})
	}
	for _, wrong := range [][3]string{{"9001", "b1", token}, {"9000", "hq", token}, {"9000", "b1", "x"}} {
		if rec := enter(wrong[0], wrong[1], wrong[2]); rec.Code != http.StatusUnauthorized {
			t.Errorf("%v: %d", wrong[:2], rec.Code)
		}
	}
	rec := enter("9000", "b1", token)
	cookies := rec.Result().Cookies()
	if rec.Code != http.StatusNoContent || len(cookies) != 1 || cookies[0].Name != "linehall_device" {
		t.Fatalf("%d %v", rec.Code, rec.Header())
	}
	device := auth.Principal{Kind: auth.KindDevice, Role: auth.Room, Room: "9000", Venue: "b1", Site: site.ID("branch1")}
	if rec := w.ask(t, device, http.MethodGet, "/rooms/9000", nil); rec.Code != http.StatusOK {
		t.Errorf("own room: %d", rec.Code)
	}
	if rec := w.ask(t, device, http.MethodGet, "/rooms/9001", nil); rec.Code != http.StatusForbidden {
		t.Errorf("another room: %d", rec.Code)
	}
	list := decode(t, w.ask(t, as(auth.Operator), http.MethodGet, "/devices?room=9000", nil))["devices"].([]any)
	if one := list[0].(map[string]any); len(list) != 1 || one["id"] != made["id"] || one["venue"] != "b1" || one["site"] != "branch1" {
		t.Errorf("devices %v", list)
	}
	if rec := w.ask(t, as(auth.Operator), http.MethodDelete, "/devices/"+made["id"].(string), nil); rec.Code != http.StatusNoContent {
		t.Errorf("revoke: %d %s", rec.Code, rec.Body)
	}
	if rec := enter("9000", "b1", token); rec.Code != http.StatusUnauthorized {
		t.Errorf("revoked link: %d", rec.Code)
	}
}

func TestTopicsAreTheEndpoints(t *testing.T) {
	w := newWorld(t)
	for _, topic := range api.Topics() {
		body, err := w.api.Topic(t.Context(), topic, as(auth.Auditor))
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if rec := w.ask(t, as(auth.Auditor), http.MethodGet, "/"+topic, nil); strings.TrimSpace(rec.Body.String()) != string(encoded) {
			t.Errorf("%s: %s and %s", topic, rec.Body, encoded)
		}
	}
	if _, err := w.api.Topic(t.Context(), "calls", as(auth.Chair)); err == nil {
		t.Error("a chair sees all calls")
	}
	if _, err := w.api.Topic(t.Context(), "secrets", as(auth.Admin)); err == nil {
		t.Error("an unknown topic")
	}
}

func TestBigBodiesAreRefused(t *testing.T) {
	w := newWorld(t)
	if rec := w.ask(t, auth.Principal{}, http.MethodPost, "/login", map[string]any{"username": "x", "password": strings.Repeat("x", 1<<20)}); rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("%d", rec.Code)
	}
}

func TestOpenAPIIsFresh(t *testing.T) {
	w := newWorld(t)
	doc, err := w.api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("openapi.yaml", doc, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile("openapi.yaml")
	if err != nil || !bytes.Equal(have, doc) {
		t.Errorf("openapi.yaml is not what the code gives (%v): run go test ./web/api -update", err)
	}
}

func TestMinutes(t *testing.T) {
	w := newWorld(t)
	list := decode(t, w.ask(t, as(auth.Chair), http.MethodGet, "/rooms/9000/meetings", nil))["meetings"].([]any)
	if len(list) != 2 || list[0].(map[string]any)["ended_at"] != nil || list[1].(map[string]any)["ended_at"] == nil {
		t.Errorf("meetings: %v", list)
	}
	for query, want := range map[string]string{"": "m2", "?meeting=m1": "m1"} {
		minutes := decode(t, w.ask(t, as(auth.Auditor), http.MethodGet, "/rooms/9000/minutes"+query, nil))
		if id := minutes["meeting"].(map[string]any)["id"]; id != want {
			t.Errorf("minutes%s of %v", query, id)
		}
		if last := minutes["minutes"].([]any)[2].(map[string]any)["detail"]; last != want {
			t.Errorf("minutes%s: %v", query, last)
		}
	}
	rec := w.ask(t, as(auth.Operator), http.MethodGet, "/rooms/9000/minutes.csv?meeting=m1", nil)
	want := "\ufeffat,actor,actor_zh,actor_en,action,target,target_zh,target_en,detail\n" +
		"2026-12-01T01:30:00Z,hq,主会场,Main,floor.give,b1,林东,Lindong,\n" +
		"2026-12-01T01:30:00Z,b1,,,chat,,,,'=HYPERLINK(1)\n" + // no formula
		"2026-12-01T01:30:00Z,,,,opened,,,,m1\n"
	if got := rec.Body.String(); got != want || rec.Header().Get("Content-Disposition") != `attachment; filename="minutes-m1.csv"` {
		t.Errorf("csv: %q, %v", got, rec.Header())
	}
	for path, code := range map[string]int{"/rooms/9000/minutes?meeting=m9": http.StatusNotFound, "/rooms/9009/minutes": http.StatusNotFound, "/rooms/9009/meetings": http.StatusNotFound} {
		if rec := w.ask(t, as(auth.Admin), http.MethodGet, path, nil); rec.Code != code {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
	if rec := w.ask(t, auth.Principal{Kind: auth.KindDevice, Role: auth.Room, Room: "9000", Venue: "b1"}, http.MethodGet, "/rooms/9000/minutes", nil); rec.Code != http.StatusForbidden {
		t.Errorf("a venue's page reads the minutes: %d", rec.Code)
	}
}
