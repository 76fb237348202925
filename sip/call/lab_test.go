package call_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"linehall/internal/database"
	"linehall/internal/directory"
	"linehall/internal/secret"
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/capture"
	"linehall/media/line"
	"linehall/media/record"
	"linehall/media/relay"
	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/sip/dialplan"
	"linehall/sip/digest"
	"linehall/sip/location"
	"linehall/sip/registrar"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
	"linehall/sip/toll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const domain = "linehall.test"

// exchange is the real thing, in this process: stack, registrar, call core, media, database.
type exchange struct {
	t     *testing.T
	dir   string
	ports map[string]string // listener addresses, kept across restarts
	media uint16            // first port of its relay, kept as well: a call that comes back has its old ports

	db       *sql.DB
	conn     *sql.Conn // of writer
	writer   *database.Writer
	stack    *stack.Stack
	people   *directory.Directory
	places   *location.Service
	calls    *call.Service
	records  *cdr.Log
	ledger   *line.Ledger
	tolls    *toll.Ledger // nil: no limits
	captures *capture.Book
	reg      *prometheus.Registry
	trace    *trace
	kill     func() // drops everything without a word to anybody
	stop     func() // the written order of an orderly end
}

type labOptions struct {
	limits      call.Limits
	line        int64 // bit/s of branch1's line; 0: 2 Mbit/s
	members     []string
	hook        func(call.Info) // OnChange
	router      call.Router
	features    call.Features
	trunks      call.Trunks
	tolls       toll.Limits
	preemptBusy bool
	branch, hq  *site.Overflow      // ways around the line
	srtp        [2]site.SRTP        // of headquarters and branch1
	pickup      map[string][]string // who may pick up for whom
	calls       <-chan struct{}     // the call core runs when it is closed; nil: at once
	secrets     call.Secrets        // may be nil
	recording   *record.Config      // nil: nothing is recorded
	classes     map[string]dialplan.ClassConfig
}

// trace is what a test that fails shows: the exchange's log, and the first line of each message.
type trace struct {
	mu     sync.Mutex // guards output
	output io.Writer  // nil: the test has ended
}

func newTrace(t *testing.T) *trace {
	t.Helper()
	w := &trace{output: t.Output()}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.output = nil
	})
	return w
}

func (w *trace) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.output == nil {
		return len(b), nil
	}
	return w.output.Write(b)
}

// Message implements stack.Tap.
func (w *trace) Message(in bool, flow stack.Flow, data []byte) {
	line, rest, _ := strings.Cut(string(data), "\r\n")
	_, cseq, _ := strings.Cut(rest, "\r\nCSeq: ")
	cseq, _, _ = strings.Cut(cseq, "\r\n")
	arrow := "-->"
	if in {
		arrow = "<--"
	}
	_, _ = fmt.Fprintf(w, "%s %s %s %s (%s)\n", time.Now().Format("15:04:05.000000"), arrow, flow.Remote, line, cseq)
}

// relayPorts is how many ports the relay of an exchange has; relayRanges holds the first ports of those that are free.
const relayPorts = 1000

var relayRanges = func() chan uint16 {
	free := make(chan uint16, 10)
	for i := range uint16(cap(free)) {
		free <- 20000 + i*relayPorts
	}
	return free
}()

func newExchange(t *testing.T, o labOptions) *exchange {
	t.Helper()
	x := &exchange{t: t, dir: t.TempDir(), trace: newTrace(t), ports: map[string]string{}, media: <-relayRanges}
	t.Cleanup(func() { relayRanges <- x.media })
	for _, transport := range []string{stack.UDP, stack.TCP, stack.TLS} {
		x.ports[transport] = stacktest.Address(t)
	}
	x.start(o)
	return x
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (x *exchange) table(o labOptions) *site.Table {
	rate := o.line
	if rate == 0 {
		rate = 2e6
	}
	return must[*site.Table](x.t)(site.NewTable([]site.Site{
		{ID: "hq", Name: "局机关", Main: true, Prefix: "8", SRTP: o.srtp[0], Subnets: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")}, Overflow: o.hq},
		{ID: "branch1", Name: "林东", Prefix: "2", SRTP: o.srtp[1], Subnets: []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24")}, Line: &site.Line{Up: rate, Down: rate}, Overflow: o.branch},
	}))
}

func terminals() []directory.Terminal {
	return []directory.Terminal{
		{Extension: "8001", DisplayName: "李 \"Li\"", Site: "hq"},
		{Extension: "8002", DisplayName: "Wang", Site: "hq"},
		{Extension: "8003", DisplayName: "Zhao", Site: "hq"},
		{Extension: "8009", DisplayName: "Desk", Site: "hq"},
		{Extension: "8011", DisplayName: "Officer", Site: "hq", Class: "officer"},
		{Extension: "8012", DisplayName: "Chief", Site: "hq", Class: "chief"},
		{Extension: "2001", DisplayName: "Lin", Site: "branch1"},
		{Extension: "2002", DisplayName: "He", Site: "branch1"},
		{Extension: "8666", DisplayName: "Off", Site: "hq", State: directory.Disabled},
	}
}

// pickupGroups is call.Pickup by a table.
type pickupGroups map[string][]string

func (g pickupGroups) MayPickUp(picker directory.Terminal, ringing string) bool {
	return slices.Contains(g[picker.Extension], ringing)
}

func (x *exchange) start(o labOptions) {
	t, ctx := x.t, x.t.Context()
	t.Helper()
	log := slog.New(slog.NewTextHandler(x.trace, &slog.HandlerOptions{Level: slog.LevelDebug}))
	x.reg = prometheus.NewRegistry()
	x.db = must[*sql.DB](t)(database.Open(ctx, filepath.Join(x.dir, "lab.db")))
	if err := database.Migrate(ctx, x.db, directory.Schema(), location.Schema(), cdr.Schema(), call.Schema(), toll.Schema(), record.Schema()); err != nil {
		t.Fatal(err)
	}
	box := must[*secret.Box](t)(secret.Open(filepath.Join(x.dir, "keys")))
	x.people = must[*directory.Directory](t)(directory.Open(ctx, x.db, box))
	if err := x.people.Apply(ctx, terminals()); err != nil {
		t.Fatal(err)
	}
	table := x.table(o)
	atlas := site.NewAtlas(table)
	st := must[*stack.Stack](t)(stack.New(stack.Options{
		Listen: []stack.Listen{{Transport: stack.UDP, Address: x.ports[stack.UDP]}, {Transport: stack.TCP, Address: x.ports[stack.TCP]}, {Transport: stack.TLS, Address: x.ports[stack.TLS]}},
		TLS:    &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MinVersion: tls.VersionTLS12},
		Domain: domain, Log: log, Registerer: x.reg, Tap: x.trace,
	}))
	x.stack = st
	x.places = must[*location.Service](t)(location.Open(ctx, location.Options{DB: x.db, Domain: domain, GRUUKey: make([]byte, 32), Log: log, WriteLag: 5 * time.Millisecond}))
	auth := must[*digest.Authenticator](t)(digest.New(digest.Options{Realm: domain, Directory: x.people, Responder: st, Log: log}))
	register := must[*registrar.Registrar](t)(registrar.New(registrar.Options{
		Stack: st, Auth: auth, Location: x.places, Directory: x.people, Sites: atlas, Domain: domain, Log: log,
	}))
	st.HandleAtOnce(sip.REGISTER, register.Serve)
	rel := must[*relay.Relay](t)(relay.New(relay.Options{First: x.media, Last: x.media + relayPorts - 1, Log: log, Quarantine: time.Millisecond}))
	x.ledger = line.NewLedger(table, log, nil)
	media := anchor.New(anchor.Options{Relay: rel, Ledger: x.ledger, Log: log})
	members := o.members
	if members == nil {
		members = []string{"8009", "8002"}
	}
	classes := o.classes
	if classes == nil {
		classes = map[string]dialplan.ClassConfig{"officer": {Priority: dialplan.Flash}, "chief": {Priority: dialplan.FlashOverride}}
	}
	plan := must[*dialplan.Plan](t)(dialplan.New(dialplan.Config{
		Emergency: []string{"110", "119", "120"}, Duty: "8000", DutyMembers: members, Features: map[string]string{"pickup": "**", "group_pickup": "*8", "do_not_disturb": "*76", "speed_dial": "*0", "hide_number": "*67", "barge": "*41", "listen": "*42", "whisper": "*44"},
		Classes: classes,
		Tolls:   dialplan.TollsConfig{Forbidden: []string{"+882."}},
		Rules:   []dialplan.RuleConfig{{Name: "out", Match: "0.", Strip: 1, Trunks: []string{"pstn"}}},
	}, table, x.people, dialplan.WithTrunks([]dialplan.Trunk{{Name: "pstn", DIDs: []dialplan.DIDConfig{{Number: "04715550002", To: "8002"}}}})))
	x.conn = must[*sql.Conn](t)(x.db.Conn(ctx))
	x.writer = must[*database.Writer](t)(database.NewWriter(ctx, x.conn))
	x.records = must[*cdr.Log](t)(cdr.Open(ctx, x.db, x.writer, log, x.reg))
	store := must[*call.SQLStore](t)(call.OpenStore(ctx, x.db, x.writer))
	var tolls call.Tolls
	if o.tolls != nil {
		x.tolls = must[*toll.Ledger](t)(toll.Open(ctx, toll.Options{DB: x.db, Limits: o.tolls, Log: log, Registerer: x.reg}))
		tolls = x.tolls
	}
	var tapes *record.Recorder
	if o.recording != nil {
		tapes = must[*record.Recorder](t)(record.Open(ctx, record.Options{
			DB: x.db, Folder: filepath.Join(x.dir, "recordings"), Secrets: box, Audit: unaudited{}, Clock: rel.Clock, Config: *o.recording, Log: log,
		}))
	}
	x.captures = capture.NewBook(capture.DefaultConfig(), rel.Clock)
	x.calls = must[*call.Service](t)(call.New(call.Options{
		Tolls:  tolls,
		Pickup: pickupGroups(o.pickup), Barging: plan, Captures: x.captures,
		Stack: st, Auth: auth, Locations: x.places, Directory: x.people, Plan: plan, Sites: atlas, Anchor: media,
		Records: x.records, Store: store, Router: o.router, Features: o.features, Trunks: o.trunks, Lines: x.ledger, PreemptBusy: func() bool { return o.preemptBusy }, Limits: o.limits, Log: log, Registerer: x.reg,
		Secrets: o.secrets, Recorder: tapes, RecordCode: func() string { return "*22" },
	}))
	if o.hook != nil {
		x.calls.OnChange(o.hook)
	}
	recovered := must[map[string]bool](t)(x.calls.Restore(ctx))
	must[int](t)(x.records.CloseInterrupted(ctx, func(id string) bool { return recovered[id] }, time.Now()))
	if err := st.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	for _, l := range st.Listeners() {
		x.ports[l.Transport] = l.Address.String()
	}
	calls := x.calls.Run
	if o.calls != nil {
		calls = func(ctx context.Context) error {
			select {
			case <-o.calls:
				return x.calls.Run(ctx)
			case <-ctx.Done():
				return nil
			}
		}
	}
	x.run(calls, st, rel)
}

// run starts everything; parts end in the written order: calls, then the stack, then the rest.
func (x *exchange) run(calls func(context.Context) error, st *stack.Stack, rel *relay.Relay) {
	var stops []func()
	for _, part := range []func(context.Context) error{calls, st.Run, x.places.Run, rel.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := part(ctx); err != nil && ctx.Err() == nil {
				x.t.Errorf("part ended: %v", err)
			}
		}()
		stops = append(stops, func() { cancel(); <-ended })
	}
	db, conn, writer := x.db, x.conn, x.writer
	var once sync.Once
	x.stop = func() {
		once.Do(func() {
			for _, stop := range stops {
				stop()
			}
			writer.Close()
			_ = conn.Close()
			_ = db.Close()
		})
	}
	web := httptest.NewServer(http.HandlerFunc(st.ServeWebSocket))
	x.t.Cleanup(web.Close)
	x.ports[stack.WS] = web.Listener.Addr().String()
	// A crash: the sockets and the database vanish first, so that nothing that the rest would
	// still like to say is said or written.
	x.kill = func() {
		once.Do(func() {
			x.wantBindings()
			// The kernel takes the locks of a dead process away; here a transaction that has begun would keep them. The
			// error has the connection closed at once.
			_ = conn.Raw(func(c any) error {
				if e, ok := c.(driver.ExecerContext); ok {
					_, _ = e.ExecContext(context.Background(), "ROLLBACK", nil) // there may be none
				}
				return driver.ErrBadConn
			})
			_ = db.Close()
			for _, i := range []int{1, 3, 0, 2} {
				stops[i]()
			}
			writer.Close() // what it still has goes nowhere
		})
	}
	x.t.Cleanup(x.stop)
}

// wantBindings waits until the registrations are in the database, which takes longer than their 200: what a crash does to
// them is not what the tests here are about.
func (x *exchange) wantBindings() {
	x.t.Helper()
	eventually(x.t, "bindings stored", func() bool {
		var n int
		err := x.db.QueryRowContext(x.t.Context(), "SELECT count(*) FROM location_bindings").Scan(&n)
		return err == nil && n == x.places.Len()
	})
}

// certificate is a new one that nobody has to trust: the tests' phones do not check it.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	raw := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// onlyRecord waits for n records and returns them, newest first.
func (x *exchange) wantRecords(n int) []cdr.Record {
	x.t.Helper()
	var records []cdr.Record
	eventually(x.t, "records", func() bool {
		var err error
		records, err = x.records.Query(x.t.Context(), cdr.Filter{})
		return err == nil && len(records) >= n
	})
	if len(records) != n {
		x.t.Fatalf("%d records, want %d: %+v", len(records), n, records)
	}
	return records
}
