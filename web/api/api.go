// Package api is the appliance's HTTP API: JSON under /api/v1 with problem documents (RFC 9457), described by an OpenAPI
// document that is generated from this code and committed as openapi.yaml.
//
// It knows no domain: what it shows and does comes through the small interfaces of parts.go, which cmd/linehall fills,
// and it returns its own types. Who asks is decided before (web/session); here each operation names the roles that may
// call it, people and tokens of one site see and touch that site only, and each change is written to the audit log
// before it is made: without a record nothing happens. The same handler serves browsers, machines and the unix socket.
// Live updates are web/live's; Topic gives them the same bodies under the same rules.
//
// An API is immutable after New and may be used from many goroutines at once. It starts none.
//
//	a := api.New(api.Options{Calls: calls, Rooms: rooms, ...})
//	mux.Handle("/api/v1/", a)
package api

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"linehall/internal/audit"
	"linehall/internal/auth"
	"linehall/web/session"
)

// Prefix is where the API lies. It also is the version: a breaking change gets another one.
const (
	Prefix  = "/api/v1"
	version = "1"
)

// maxBody bounds one operation's body.
const maxBody = 64 << 10

// Options are the parts; all are needed but Log.
type Options struct {
	Appliance    Appliance
	Terminals    Terminals
	Enrolment    Enrolment
	Applies      Applies
	Fleet        Fleet
	Calls        Calls
	Lines        Lines
	Rooms        Rooms
	Meetings     Meetings
	Schedule     Schedule
	Calendars    Calendars
	Records      Records
	Traces       Traces
	Recordings   Recordings
	Programmes   Programmes
	Certificates Certificates
	Trunks       Trunks
	Bans         Bans
	Dialplan     Dialplan
	Features     Features

	Users    *auth.Service
	Sessions *session.Manager
	Audit    *audit.Log

	PublicURL func() string // https://linehall.test:8443, for links that people open
	Language  func() string // zh-CN
	TimeZone  func() string // Asia/Shanghai
	Log       *slog.Logger
}

// API is an http.Handler for everything below Prefix.
type API struct {
	opts Options
	mux  *http.ServeMux
	huma huma.API
}

// New builds the API.
func New(opts Options) *API {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{opts: opts, mux: http.NewServeMux()}
	config := huma.DefaultConfig("Linehall", version)
	config.Info.Description = "Calls, meeting rooms, leased lines and desk phones of one appliance. " +
		"Log in with POST /login, or send a bearer token made with `linehall token add`."
	config.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	config.DocsPath = ""     // its page loads scripts from elsewhere; the networks we serve have no elsewhere
	config.SchemasPath = ""  // bodies carry no $schema links
	config.CreateHooks = nil // the hook that adds them
	config.OpenAPIPath = Prefix + "/openapi"
	config.Servers = []*huma.Server{{URL: "/", Description: "the appliance"}}
	config.RejectUnknownQueryParameters = true
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"session": {Type: "apiKey", In: "cookie", Name: session.UserCookie},
		"bearer":  {Type: "http", Scheme: "bearer"},
	}
	a.huma = humago.New(a.mux, config)
	a.registerSession()
	a.registerViews()
	a.registerTrunks()
	a.registerBans()
	a.registerTerminals()
	a.registerApplies()
	a.registerFleet()
	a.registerCalls()
	a.registerRooms()
	a.registerMeetings()
	a.registerAttendance()
	a.registerSchedule()
	a.registerCalendars()
	a.registerRecords()
	a.registerTraces()
	a.registerMediaCapture()
	a.registerRecordings()
	a.registerProgrammes()
	a.registerUsers()
	a.registerTokens()
	a.registerCertificates()
	a.registerFeatures()
	return a
}

// ServeHTTP serves a request whose principal, if any, is in its context.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := a.mux.Handler(r); pattern == "" {
		// Not found or method not allowed: the mux knows which, and answers in plain text.
		w = &plainToProblem{ResponseWriter: w}
	}
	a.mux.ServeHTTP(w, r)
}

// OpenAPI returns the description as YAML.
func (a *API) OpenAPI() ([]byte, error) { return a.huma.OpenAPI().YAML() }

// plainToProblem turns the mux's own errors into problem documents.
type plainToProblem struct {
	http.ResponseWriter

	wrote bool
}

func (p *plainToProblem) WriteHeader(status int) {
	p.Header().Set("Content-Type", "application/problem+json")
	p.ResponseWriter.WriteHeader(status)
	p.wrote = true
	body, err := jsonProblem(status, "")
	if err == nil {
		_, _ = p.ResponseWriter.Write(body) // the client is gone: nobody to tell
	}
}

func (p *plainToProblem) Write(b []byte) (int, error) {
	if !p.wrote {
		p.WriteHeader(http.StatusOK)
	}
	return len(b), nil
}

// actor is how the audit log names a principal.
func actor(p auth.Principal) string {
	switch p.Kind {
	case auth.KindToken:
		return "token " + p.Name + " (" + p.ID + ")"
	case auth.KindUser, auth.KindDevice, auth.KindLocal:
		return p.Name
	default:
		return p.Name
	}
}

func (a *API) record(ctx context.Context, who string, e audit.Event) error {
	e.Actor, e.Source = who, session.Source(ctx)
	return a.opts.Audit.Append(ctx, e)
}
