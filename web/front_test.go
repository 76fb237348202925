package web_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"linehall/internal/audit"
	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/internal/pki"
	"linehall/web"
	"linehall/web/api"
	"linehall/web/live"
	"linehall/web/session"
)

// empty is an appliance in which nothing happens.
type empty struct{}

func (empty) Status(context.Context) api.Status                       { return api.Status{Name: "empty"} }
func (empty) Terminals(context.Context) []api.Terminal                { return nil }
func (empty) Lines(context.Context) []api.Line                        { return nil }
func (empty) Rooms(context.Context) []api.Room                        { return nil }
func (empty) CallPhone(context.Context, string, string, string) error { return api.ErrNotFound }

func (empty) Calls(context.Context) []api.Call               { return nil }
func (empty) Call(context.Context, string) (api.Call, error) { return api.Call{}, api.ErrNotFound }

func (empty) HangUp(context.Context, string, string) error { return api.ErrNotFound }

func (empty) Dial(context.Context, string, string) (string, error)         { return "", api.ErrNotFound }
func (empty) Meetings(context.Context, string, int) ([]api.Meeting, error) { return nil, nil }
func (empty) Minutes(context.Context, string, int) ([]api.Minute, error)   { return nil, nil }
func (empty) Room(context.Context, string) (api.Room, error)               { return api.Room{}, api.ErrNotFound }

func (empty) Terminal(context.Context, string) (api.Terminal, error) {
	return api.Terminal{}, api.ErrNotFound
}
func (empty) UnknownTerminals(context.Context) []api.UnknownTerminal { return nil }
func (empty) CDRs(context.Context, api.CDRQuery) ([]api.CDR, error)  { return nil, nil }
func (empty) CDR(context.Context, string) (api.CDR, error)           { return api.CDR{}, api.ErrNotFound }
func (empty) Certificates(context.Context) []api.Certificate         { return nil }
func (empty) RenewCertificates(context.Context) error                { return nil }
func (empty) Credentials(context.Context, string) (api.Credentials, error) {
	return api.Credentials{}, api.ErrNotFound
}

func (empty) OpenEnrolment(context.Context, string, time.Duration) (time.Time, error) {
	return time.Time{}, api.ErrNotFound
}

// serve runs the whole front over TLS with our own certificates, as the appliance does, and returns a browser's view.
func serve(t *testing.T) (base string, client *http.Client) {
	t.Helper()
	dir := t.TempDir()
	db, err := database.Open(t.Context(), filepath.Join(dir, "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, audit.Schema(), auth.Schema(), session.Schema()); err != nil {
		t.Fatal(err)
	}
	users, errUsers := auth.Open(t.Context(), db, auth.Options{})
	log, errLog := audit.Open(t.Context(), db)
	ca, errCA := pki.Open(filepath.Join(dir, "pki"), pki.Options{Domain: "linehall.test"})
	if err := errors.Join(errUsers, errLog, errCA); err != nil {
		t.Fatal(err)
	}
	if err := users.AddUser(t.Context(), auth.NewUser{Name: "anna", Password: "correct horse battery", Role: auth.Admin}); err != nil {
		t.Fatal(err)
	}
	sessions, err := session.Open(t.Context(), db, users, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e := empty{}
	surface := api.New(api.Options{
		Appliance: e, Terminals: e, Enrolment: e, Calls: e, Lines: e, Rooms: e, Meetings: e, Schedule: e, Calendars: e, Records: e, Certificates: e, Features: e,
		Users: users, Sessions: sessions, Audit: log,
		PublicURL: func() string { return "https://linehall.test" }, Language: func() string { return "zh-CN" }, TimeZone: func() string { return "Asia/Shanghai" },
	})
	feed := live.New(live.Options{Source: surface, Topics: api.Topics(), Recheck: 50 * time.Millisecond})
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", surface)
	mux.Handle("GET /api/v1/live", feed)
	mux.Handle("/", web.Pages())
	server := httptest.NewUnstartedServer(sessions.Handler(mux))
	server.Listener = tls.NewListener(server.Listener, ca.ServerTLS()) // StartTLS would show a certificate of its own
	server.Start()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- feed.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		server.Close()
	})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.RootPEM())
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(server.URL, "http:", "https:", 1), &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}

func TestAVisitToTheConsole(t *testing.T) {
	base, browser := serve(t)
	ask := func(method, path, body, origin string) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		res, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		if err = errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(answer), res.Header
	}
	const credentials = `{"username":"anna","password":"correct horse battery"}`

	if code, page, header := ask(http.MethodGet, "/", "", ""); code != 200 || !strings.Contains(page, "<html") || header.Get("Content-Security-Policy") != session.ContentSecurityPolicy {
		t.Errorf("the page: %d %v", code, header)
	}
	if code, _, _ := ask(http.MethodGet, "/api/v1/status", "", ""); code != http.StatusUnauthorized {
		t.Errorf("status before log-in: %d", code)
	}
	if code, _, _ := ask(http.MethodPost, "/api/v1/login", credentials, "https://evil.example"); code != http.StatusForbidden {
		t.Errorf("log-in from another site: %d", code)
	}
	if code, text, _ := ask(http.MethodPost, "/api/v1/login", credentials, base); code != http.StatusNoContent {
		t.Fatalf("log-in: %d %s", code, text)
	}
	if code, text, _ := ask(http.MethodGet, "/api/v1/me", "", ""); code != 200 || strings.TrimSpace(text) != `{"name":"anna","role":"admin","language":"zh-CN"}` {
		t.Errorf("me: %d %s", code, text)
	}
	socket, _, err := websocket.Dial(t.Context(), base+"/api/v1/live", &websocket.DialOptions{HTTPClient: browser, HTTPHeader: http.Header{"Origin": {base}}}) //nolint:bodyclose // the library's
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.CloseNow() }()
	if _, frame, err := socket.Read(t.Context()); err != nil || !strings.HasPrefix(string(frame), `{"topic":"status","data":{"name":"empty"`) {
		t.Errorf("first frame %s, %v", frame, err)
	}
	if code, _, _ := ask(http.MethodPost, "/api/v1/logout", "", base); code != http.StatusNoContent {
		t.Errorf("log-out: %d", code)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for err == nil {
		_, _, err = socket.Read(ctx)
	}
	if websocket.CloseStatus(err) != live.StatusSessionEnded {
		t.Errorf("the feed after log-out: %v", err)
	}
	if code, _, _ := ask(http.MethodGet, "/api/v1/me", "", ""); code != http.StatusUnauthorized {
		t.Errorf("me after log-out: %d", code)
	}
}

func (empty) Features(context.Context, string) (api.TerminalFeatures, error) {
	return api.TerminalFeatures{}, api.ErrNotFound
}

func (empty) SetFeatures(context.Context, string, api.FeatureSettings) error { return api.ErrNotFound }

func (empty) SetPIN(context.Context, string, string) error { return api.ErrNotFound }

func (empty) LogOut(context.Context, string) error                       { return api.ErrNotFound }
func (empty) Groups(context.Context) []api.Group                         { return nil }
func (empty) SetGroupMember(context.Context, string, string, bool) error { return api.ErrNotFound }

func (empty) Attendance(context.Context, api.Meeting) ([]api.Attendance, error) { return nil, nil }
func (empty) Scheduled(context.Context, string) []api.ScheduledMeeting          { return nil }
func (empty) ScheduledMeeting(context.Context, string) (api.ScheduledMeeting, error) {
	return api.ScheduledMeeting{}, api.ErrNotFound
}

func (empty) Occurrences(context.Context, string, time.Time, time.Time) []api.Occurrence { return nil }

func (empty) CheckPlan(context.Context, string, api.MeetingPlan) error { return nil }

func (empty) Plan(context.Context, string, api.MeetingPlan, string) (api.ScheduledMeeting, error) {
	return api.ScheduledMeeting{}, api.ErrNotFound
}
func (empty) CancelScheduled(context.Context, string) error { return api.ErrNotFound }
func (empty) SkipScheduled(context.Context, string, string, bool) (api.ScheduledMeeting, error) {
	return api.ScheduledMeeting{}, api.ErrNotFound
}
func (empty) Calendar(context.Context, string) ([]byte, error) { return nil, api.ErrNotFound }
func (empty) Feed(context.Context, string) ([]byte, error)     { return nil, api.ErrNotFound }
func (empty) MakeFeed(context.Context, string, string, string) (api.CalendarFeed, string, error) {
	return api.CalendarFeed{}, "", api.ErrNotFound
}
func (empty) Feeds(context.Context) ([]api.CalendarFeed, error) { return nil, nil }
func (empty) RevokeFeed(context.Context, string) error          { return api.ErrNotFound }
