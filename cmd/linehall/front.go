package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"linehall/cmd/linehall/operator"
	"linehall/configs"
	"linehall/internal/observe"
	"linehall/media/bulk"
	"linehall/web"
	"linehall/web/api"
	"linehall/web/live"
	"linehall/web/session"
)

// front is the HTTPS port and the unix socket: pages, API, live feed, signalling of rooms, files of phones.
type front struct {
	log      *slog.Logger
	dropped  *observe.Dropped
	listen   string
	socket   string
	tls      *tls.Config
	public   *http.ServeMux
	local    http.Handler
	shaper   *bulk.Shaper
	sessions *session.Manager
	feed     *live.Feed
	hostName func() string
	bound    chan struct{} // closed when the HTTPS port is open
	opened   sync.Once
}

// Bounds of the HTTPS port: 120 phones, their admins, six venues, and room for idle ones; and how much of that one
// address may take, so that nobody takes all of it.
const (
	maxConnections = 2048
	maxPerSource   = 256
)

func openFront(ctx context.Context, config configs.Config, a *appliance) (*front, error) {
	f := &front{
		log: a.log, dropped: a.dropped, listen: string(config.Listen.HTTPS), socket: filepath.Join(config.Appliance.Data, operator.SocketName),
		tls: a.authority.ServerTLS(), shaper: a.media.bulk, bound: make(chan struct{}),
	}
	host := publicHost(ctx, config, a.atlas.Table(), f.listen)
	f.hostName = func() string { return host }
	var err error
	if f.sessions, err = session.Open(ctx, a.db, a.users, session.Options{Config: config.Security.Session, Log: a.log, Dropped: a.dropped}); err != nil {
		return nil, err
	}
	surface := f.api(a) //nolint:contextcheck // each request has its own
	f.feed = live.New(live.Options{Source: surface, Topics: api.Topics(), Log: a.log, Dropped: a.dropped, Panics: a.panics})
	mux := http.NewServeMux()
	mux.Handle(api.Prefix+"/", surface)
	mux.Handle("GET "+api.Prefix+"/live", f.feed)
	mux.Handle("GET "+api.Prefix+"/rooms/{number}/signal", a.conference.signal)
	mux.Handle("/prov/", a.delivery.server.Secure())
	mux.Handle("GET /ca.crt", web.Download("linehall-ca.crt", "application/x-x509-ca-cert", a.authority.RootPEM))
	mux.Handle("GET /phone-ca.crt", web.Download("linehall-phone-ca.crt", "application/x-x509-ca-cert", a.authority.PhoneRootPEM))
	mux.Handle("/", web.Pages())
	f.public = http.NewServeMux()
	f.public.HandleFunc("/sip", a.telephony.stack.ServeWebSocket) // phones have no session: digest authenticates
	f.public.Handle("/", f.sessions.Handler(mux))
	f.local = session.Local(surface)
	a.health.Add("https", f.ready)
	return f, nil
}

// api fills the API's parts with views of the domains.
func (f *front) api(a *appliance) *api.API {
	terminals := terminalsView{
		directory: a.directory, locations: a.telephony.locations, calls: a.telephony.calls, book: a.delivery.book, visits: a.delivery.visits, delivery: a.delivery.server,
		authority: a.authority, config: a.reload.current, host: f.hostName,
	}
	calls := callsView{calls: a.telephony.calls, records: a.telephony.records}
	lines := linesView{ledger: a.media.ledger, atlas: a.atlas}
	rooms := roomsView{rooms: a.conference.rooms}
	trunks := trunksView{a.telephony.trunks}
	plans := scheduleView{plans: a.conference.schedule, domain: func() string { return a.reload.current().Appliance.Domain }, url: f.url}
	return api.New(api.Options{
		Features: featuresView{features: a.telephony.features, directory: a.directory},
		Appliance: statusView{
			reload: a.reload, health: a.health, atlas: a.atlas, terminals: terminals, calls: calls, rooms: rooms, startedAt: time.Now(),
			alarms: newAlarmBoard(lines, trunks, calls, terminals, a.telephony.tolls, a.reload, a.authority, a.media.tapes, a.conference.films, a.delivery.server), watched: a.telephony.subscriptions.Count, kernel: a.media.kernel,
		},
		Terminals: terminals, Enrolment: terminals, Applies: a.applier, Calls: calls, Lines: lines, Rooms: rooms, Meetings: meetingsView{a.conference.book, a.reload.current}, Schedule: plans, Calendars: plans, Records: calls, Traces: traceView{a.telephony.trace, a.media.captures, a.telephony.calls}, Recordings: recordingsView{recorder: a.media.tapes, calls: a.telephony.calls},
		Programmes:   programmesView{service: a.conference.films, rooms: a.conference.rooms, book: a.conference.book},
		Fleet:        fleetView{claims: a.claims, terminals: terminals, applier: a.applier},
		Certificates: certificatesView{a.authority}, Trunks: trunks, Bans: bansView{a.telephony.guard},
		Dialplan: dialplanView{plan: a.telephony.plan, directory: a.directory, features: a.telephony.features, tolls: a.telephony.tolls}, Users: a.users, Sessions: f.sessions, Audit: a.audit,
		PublicURL: f.url, TimeZone: func() string { return a.reload.current().Appliance.TimeZone },
		Language: func() string { return a.reload.current().Appliance.Language }, Log: a.log,
	})
}

// url is where pages and the API are.
func (f *front) url() string { return "https://" + net.JoinHostPort(f.hostName(), portOf(f.listen)) }

// host is where people and phones reach us.
func (f *front) host() string { return f.hostName() }

func (f *front) ready() error {
	select {
	case <-f.bound:
		return nil
	default:
		return errors.New("the HTTPS port is not open yet")
	}
}

// waitReady returns when everything is ready, or when ctx ends.
func (f *front) waitReady(ctx context.Context, health *observe.Health) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !health.Ready() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (f *front) stage(reload *reloader, rooms *conference) stage {
	return stage{
		name: "front",
		parts: []part{
			{"sessions", f.sessions.Run}, {"live feed", f.feed.Run}, {"https", f.serveHTTPS}, {"unix socket", f.serveSocket}, {"reload", reload.Run}, {"apply", reload.a.applier.Run}, {"claims", reload.a.claims.Run},
		},
		leave: rooms.leave,
	}
}

func (f *front) serveHTTPS(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return err
	}
	f.opened.Do(func() { close(f.bound) })
	// HTTP/1.1 only: browsers open WebSockets by it, and one protocol is easier to watch.
	config := f.tls.Clone()
	config.NextProtos = []string{"http/1.1"}
	fair := &fairListener{Listener: netutil.LimitListener(f.shaper.Buffers(listener), maxConnections), most: maxPerSource, dropped: f.dropped}
	return f.serve(ctx, tls.NewListener(f.shaper.Listener(fair), config), f.public)
}

// serveSocket serves operators on this machine; who may open the socket is the administrator.
func (f *front) serveSocket(ctx context.Context) error {
	// A socket left behind by a killed process would keep its name; the database's lock already keeps a second one away.
	if err := os.Remove(f.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", f.socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(f.socket, 0o600); err != nil {
		return errors.Join(err, listener.Close())
	}
	return f.serve(ctx, listener, f.local)
}

// serve runs an HTTP server on listener until ctx ends and lets running requests finish for a moment.
func (f *front) serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		ConnState: bulk.Watch, Handler: handler, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 60 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		// Broken handshakes and the like are the network's noise, not ours.
		ErrorLog: slog.NewLogLogger(f.log.Handler(), slog.LevelDebug),
		// Requests may finish after ctx ended: Shutdown bounds how long.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if err := server.Shutdown(grace); err != nil {
		_ = server.Close() // what did not finish in time is cut
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return ctx.Err()
}
