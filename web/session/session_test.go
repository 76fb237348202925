package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/web/session"
)

const password = "correct horse battery"

type world struct {
	users    *auth.Service
	sessions *session.Manager
	handler  http.Handler
	dir      string
}

// newWorld has the user anna, and a handler that answers with the principal it saw.
func newWorld(t *testing.T) world {
	t.Helper()
	dir := t.TempDir()
	db, err := database.Open(t.Context(), filepath.Join(dir, "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, auth.Schema(), session.Schema()); err != nil {
		t.Fatal(err)
	}
	users, err := auth.Open(t.Context(), db, auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := users.AddUser(t.Context(), auth.NewUser{Name: "anna", Password: password, Role: auth.Operator}); err != nil {
		t.Fatal(err)
	}
	sessions, err := session.Open(t.Context(), db, users, session.Options{
		Config: auth.SessionConfig{Idle: 30 * time.Minute, Life: 12 * time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	return world{users, sessions, sessions.Handler(http.HandlerFunc(whoami)), dir}
}

type seen struct {
	Kind, Name, Source string
}

func whoami(w http.ResponseWriter, r *http.Request) {
	p, _ := auth.PrincipalFrom(r.Context())
	_ = json.NewEncoder(w).Encode(seen{string(p.Kind), p.Name, session.Source(r.Context())})
}

func (w world) login(t *testing.T) *http.Cookie {
	t.Helper()
	c, _, err := w.sessions.Login(t.Context(), "anna", password, "10.0.0.5")
	if err != nil {
		t.Fatal(err)
	}
	return &c
}

func (w world) request(t *testing.T, method, path string, change func(*http.Request)) (*httptest.ResponseRecorder, seen) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "https://linehall.test:8443"+path, nil)
	r.RemoteAddr = "10.0.0.5:4000"
	if change != nil {
		change(r)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	var s seen
	if rec.Code == http.StatusOK {
		if err := json.Unmarshal(rec.Body.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
	}
	return rec, s
}

func (w world) known(t *testing.T, c *http.Cookie) bool {
	t.Helper()
	_, s := w.request(t, http.MethodGet, "/api/v1/me", func(r *http.Request) { r.AddCookie(c) })
	return s.Name != ""
}

func TestCookies(t *testing.T) {
	w := newWorld(t)
	c := w.login(t)
	if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Name != "linehall_session" || len(c.Value) < 43 {
		t.Errorf("session cookie %+v", c)
	}
	_, s := w.request(t, http.MethodGet, "/", func(r *http.Request) { r.AddCookie(c) })
	if s != (seen{"user", "anna", "10.0.0.5"}) {
		t.Errorf("seen %+v", s)
	}
	for name, value := range map[string]string{"another value": strings.Repeat("A", 43), "long": strings.Repeat("A", 1<<12), "empty": ""} {
		if w.known(t, &http.Cookie{Name: session.UserCookie, Value: value}) {
			t.Errorf("%s is somebody", name)
		}
	}
	if w.known(t, &http.Cookie{Name: session.DeviceCookie, Value: c.Value}) {
		t.Error("a user's session counts as a device's")
	}
	content, err := os.ReadFile(filepath.Join(w.dir, "x.db-wal"))
	if err != nil || bytes.Contains(content, []byte(c.Value)) {
		t.Errorf("the cookie's value is readable at rest (%v)", err)
	}
	gone, err := w.sessions.Logout(t.Context(), c.Value)
	if err != nil || gone.MaxAge >= 0 {
		t.Errorf("%+v, %v", gone, err)
	}
	if w.known(t, c) {
		t.Error("known after log-out")
	}
}

func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		idle, busy := w.login(t), w.login(t)
		for range 24 { // 6 h
			time.Sleep(15 * time.Minute)
			if !w.known(t, busy) {
				t.Fatal("a session in use ended")
			}
		}
		if w.known(t, idle) {
			t.Error("known after six hours without a request")
		}
		for range 23 { // 11:45 h
			time.Sleep(15 * time.Minute)
			if !w.known(t, busy) {
				t.Fatal("ended early")
			}
		}
		time.Sleep(15 * time.Minute)
		if w.known(t, busy) {
			t.Error("known after its whole life")
		}
	})
}

func TestAPasswordChangeEndsSessions(t *testing.T) {
	w := newWorld(t)
	c := w.login(t)
	time.Sleep(1100 * time.Millisecond) // times are kept in seconds
	if err := w.users.SetPassword(t.Context(), "anna", "another good one"); err != nil {
		t.Fatal(err)
	}
	if w.known(t, c) {
		t.Error("known after its password was changed")
	}
}

func TestARemovedUserIsNobody(t *testing.T) {
	w := newWorld(t)
	c := w.login(t)
	if err := w.users.RemoveUser(t.Context(), "anna"); err != nil {
		t.Fatal(err)
	}
	if w.known(t, c) {
		t.Error("known after it was removed")
	}
}

func TestSessionsOfAUserAreBounded(t *testing.T) {
	w := newWorld(t)
	d, token, err := w.users.NewDevice(t.Context(), "9000", "hq", "hq")
	if err != nil {
		t.Fatal(err)
	}
	var cookies []*http.Cookie
	for range 25 {
		c, p, err := w.sessions.EnterDevice(t.Context(), "9000", "hq", token, "10.0.0.6")
		if err != nil || p.ID != d.ID {
			t.Fatal(err)
		}
		cookies = append(cookies, &c)
	}
	for i, c := range cookies {
		if got, want := w.known(t, c), i >= 5; got != want {
			t.Errorf("session %d of 25: known %v", i, got)
		}
	}
}

func TestDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, token, err := w.users.NewDevice(t.Context(), "9000", "hq", "hq")
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range [][3]string{{"9001", "hq", token}, {"9000", "branch1", token}, {"9000", "hq", token + "x"}, {"9000", "hq", ""}} {
			if _, _, err := w.sessions.EnterDevice(t.Context(), wrong[0], wrong[1], wrong[2], ""); err == nil {
				t.Errorf("%.30v was let in", wrong)
			}
		}
		c, _, err := w.sessions.EnterDevice(t.Context(), "9000", "hq", token, "")
		if err != nil || c.SameSite != http.SameSiteLaxMode || !c.Secure || !c.HttpOnly {
			t.Fatalf("%+v, %v", c, err)
		}
		time.Sleep(300 * 24 * time.Hour) // a room PC that is switched on once a year
		if !w.known(t, &c) {
			t.Error("a venue lost its cookie")
		}
		time.Sleep(300 * 24 * time.Hour)
		if !w.known(t, &c) {
			t.Error("use did not renew it")
		}
		if err := w.users.RevokeDevice(t.Context(), d.ID); err != nil {
			t.Fatal(err)
		}
		if w.known(t, &c) {
			t.Error("known after it was revoked")
		}
	})
}

func TestWhoCountsWhenBothCookiesAreThere(t *testing.T) {
	w := newWorld(t)
	user := w.login(t)
	_, token, err := w.users.NewDevice(t.Context(), "9000", "hq", "hq")
	if err != nil {
		t.Fatal(err)
	}
	device, _, err := w.sessions.EnterDevice(t.Context(), "9000", "hq", token, "")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/api/v1/rooms/9000/signal": "device", "/api/v1/rooms/9000/signal?as=user": "user", "/api/v1/rooms/9001/signal": "user", "/api/v1/me": "user"} {
		_, s := w.request(t, http.MethodGet, path, func(r *http.Request) { r.AddCookie(user); r.AddCookie(&device) })
		if s.Kind != want {
			t.Errorf("%s: %+v, want a %s", path, s, want)
		}
	}
}

func TestBearer(t *testing.T) {
	w := newWorld(t)
	_, plain, err := w.users.AddToken(t.Context(), auth.NewToken{Name: "whip", Role: auth.Room, Room: "9000"})
	if err != nil {
		t.Fatal(err)
	}
	bearer := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	if _, s := w.request(t, http.MethodGet, "/", bearer("bearer "+plain)); s.Kind != "token" || s.Name != "whip" {
		t.Errorf("%+v", s)
	}
	res, _ := w.request(t, http.MethodGet, "/", bearer("Bearer nonsense"))
	if res.Code != http.StatusUnauthorized || res.Header().Get("Content-Type") != "application/problem+json" || res.Header().Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("%d %v", res.Code, res.Header())
	}
	if res, s := w.request(t, http.MethodGet, "/", bearer("Basic YTpi")); res.Code != http.StatusOK || s.Name != "" {
		t.Errorf("other schemes are not ours: %d %+v", res.Code, s)
	}
}

func TestOtherSitesCannotChangeAnything(t *testing.T) {
	w := newWorld(t)
	c := w.login(t)
	for name, tc := range map[string]struct {
		method, origin, fetchSite string
		want                      int
	}{
		"own page":                {http.MethodPost, "https://linehall.test:8443", "same-origin", 200},
		"own page, old browser":   {http.MethodPost, "https://linehall.test:8443", "", 200},
		"machine":                 {http.MethodDelete, "", "", 200},
		"other site":              {http.MethodPost, "https://evil.example", "cross-site", 403},
		"other site, old browser": {http.MethodDelete, "https://evil.example", "", 403},
		"other port":              {http.MethodPost, "https://linehall.test:9000", "same-site", 403},
		"reading":                 {http.MethodGet, "https://evil.example", "cross-site", 200}, // the answer is unreadable to it
	} {
		res, _ := w.request(t, tc.method, "/", func(r *http.Request) {
			r.AddCookie(c)
			if tc.origin != "" {
				r.Header.Set("Origin", tc.origin)
			}
			if tc.fetchSite != "" {
				r.Header.Set("Sec-Fetch-Site", tc.fetchSite)
			}
		})
		if res.Code != tc.want {
			t.Errorf("%s: %d", name, res.Code)
		}
	}
}

func TestHeaders(t *testing.T) {
	w := newWorld(t)
	res, _ := w.request(t, http.MethodGet, "/", nil)
	policy := res.Header().Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'self'; connect-src 'self' wss:;") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %s", policy)
	}
	for _, name := range []string{"X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Permissions-Policy"} {
		if res.Header().Get(name) == "" {
			t.Errorf("no %s", name)
		}
	}
	if res, _ := w.request(t, http.MethodGet, "/api/v1/x", nil); res.Header().Get("Cache-Control") != "no-store" {
		t.Error("answers of the API may be cached")
	}
}

func TestStill(t *testing.T) {
	w := newWorld(t)
	c := w.login(t)
	var ctx context.Context //nolint:containedctx // the request's, kept as a long connection does
	h := w.sessions.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() }))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.AddCookie(c)
	h.ServeHTTP(httptest.NewRecorder(), r)
	if p, err := session.Still(ctx); err != nil || p.Name != "anna" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := w.sessions.Logout(t.Context(), c.Value); err != nil {
		t.Fatal(err)
	}
	if _, err := session.Still(ctx); err == nil {
		t.Error("still somebody after log-out")
	}
	session.Local(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() })).ServeHTTP(httptest.NewRecorder(), r)
	if p, err := session.Still(ctx); err != nil || p.Kind != auth.KindLocal || session.Source(ctx) != "local" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := session.Still(t.Context()); err == nil {
		t.Error("nobody is still somebody")
	}
}

func TestRunRemovesWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		c := w.login(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.sessions.Run(ctx) }()
		time.Sleep(45 * time.Minute)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if w.known(t, c) {
			t.Error("known after its idle time")
		}
	})
}
