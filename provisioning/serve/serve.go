// Package serve delivers configuration files to desk phones.
//
// A phone that was just unpacked asks by plain HTTP (or TFTP) and gets a
// bootstrap without secrets: which certificate authority to trust, and the
// HTTPS address to ask next. Over HTTPS it gets everything, the SIP password
// included, if it asks from the subnet of its own site and either the site's
// enrolment window is open or its address carries the token that it was given
// in such a window. Everybody else of the organisation gets the bootstrap;
// a MAC address that is in no row, or in a row that is not active, or an
// address outside the organisation gets 404, always the same one.
//
//	                 not ours, unknown, not active      known and active
//	HTTP, TFTP       404                                bootstrap
//	HTTPS            404                                bootstrap
//	HTTPS in window  404                                own site: everything; else bootstrap
//	HTTPS and token  404                                own site and token right: everything; else 404
//
// A phone that cannot fetch from us by HTTPS (Cisco SPA) and that the
// organisation names (plain_secrets) is served by plain HTTP as others are by
// HTTPS: window, token and site count all the same.
//
// Only GET and HEAD are answered; there are no folders on disk behind the
// paths, so there is nothing to list and nowhere to climb to.
//
//	server := serve.New(options)
//	mux.Handle("/prov/", server.Secure())
//	group.Go(func() error { return server.Run(ctx, listener) })
//
// A Server may be used from many goroutines at once.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/audit"
	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/internal/setting"
	"linehall/internal/site"
	"linehall/provisioning/enrolment"
	"linehall/provisioning/inventory"
	"linehall/provisioning/phone"
	"linehall/provisioning/visit"
)

// Directory knows the terminals and their passwords.
type Directory interface {
	ByMAC(mac string) (directory.Terminal, bool)
	// Newest is the password that the phone is to have: the next one while it
	// changes.
	Newest(ctx context.Context, extension string) (string, error)
}

// Audit records what was done; a nil one records nothing.
type Audit interface {
	Append(ctx context.Context, event audit.Event) error
}

// Options are what a Server is made of.
type Options struct {
	Directory Directory
	Atlas     *site.Atlas
	Book      *enrolment.Book
	Audit     Audit
	Visits    Visits
	// Lend is asked for a number for a phone that nobody knows, in the window of
	// its site; it reports whether the phone is in a row now. nil lends nothing.
	// It may be set until Run.
	Lend         func(ctx context.Context, phone inventory.Stranger) bool
	Organisation Organisation
	CA           func() []byte // PEM of the root that phones shall trust
	Now          func() time.Time
	Log          *slog.Logger
	Registerer   prometheus.Registerer
	Dropped      *observe.Dropped
}

// Server answers phones.
type Server struct {
	Options

	organisation atomic.Pointer[Organisation]
	unknown      inventory.Unknown
	limiter      limiter
	sweeping     sync.Mutex // guards sweeps
	sweeps       sweeps
	fetches      fetches
	requests     *prometheus.CounterVec
	slots        chan struct{} // one per request being answered
}

// maxAtOnce bounds requests being answered: 120 phones after a power cut wait
// for each other some milliseconds, a flood does not fill the memory.
const maxAtOnce = 32

// New starts nothing.
func New(options Options) *Server {
	s := &Server{
		Options: options,
		limiter: limiter{now: options.Now},
		slots:   make(chan struct{}, maxAtOnce),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "linehall_provisioning_requests_total", Help: "Requests of phones for configuration files.",
		}, []string{"brand", "result"}),
	}
	s.Registerer.MustRegister(s.requests)
	s.Apply(options.Organisation)
	return s
}

// Apply takes over what a reload changed.
func (s *Server) Apply(organisation Organisation) { s.organisation.Store(&organisation) }

// OpenWindow lets the phones of a site enrol for some time; the caller audits
// it. The error says what is wrong with the wish, in words for the operator.
func (s *Server) OpenWindow(ctx context.Context, id site.ID, duration time.Duration, by string) (enrolment.Window, error) {
	longest := s.organisation.Load().Terminals.EnrolmentMax
	if _, ok := s.Atlas.Site(id); !ok {
		return enrolment.Window{}, fmt.Errorf("%w: site %q", ErrWish, id)
	}
	if duration < time.Minute || duration > longest {
		return enrolment.Window{}, fmt.Errorf("%w: %s is not between 1m and %s", ErrWish, setting.Duration(duration), setting.Duration(longest))
	}
	s.forgive(id)
	return s.Book.OpenWindow(ctx, id, duration, by)
}

// AdminPassword is what opens the menus and the web page of a phone that has
// its whole file; "" = it was left as it is.
func (s *Server) AdminPassword(mac string) (string, error) { return s.organisation.Load().admin(mac) }

// ErrWish means that a window was asked for that cannot be.
var ErrWish = errors.New("no such enrolment window")

// Unknown lists the phones that asked and are in no row, the last seen first.
func (s *Server) Unknown() []inventory.Stranger {
	list := s.unknown.List()
	known := list[:0]
	for _, stranger := range list {
		if _, ok := s.Directory.ByMAC(stranger.MAC); ok {
			s.unknown.Forget(stranger.MAC) // a row was added since
			continue
		}
		known = append(known, stranger)
	}
	return known
}

// The results of a request, as metric labels.
const (
	resultFull        = "full"
	resultBootstrap   = "bootstrap"
	resultCommon      = "common"
	resultCA          = "ca"
	resultPnP         = "pnp" // was told where its files are
	resultPhonebook   = "phonebook"
	resultNone        = "none" // a file that we do not have, for a phone that we know
	resultUnknown     = "unknown"
	resultInactive    = "inactive"
	resultOutside     = "outside"
	resultToken       = "token"
	resultMismatch    = "mismatch"
	resultUnsupported = "unsupported" // a known phone of a brand that we cannot write
	resultMethod      = "method"
	resultSize        = "size"
	resultRate        = "rate"
	resultSwept       = "swept" // from an address that tried many phones
	resultError       = "error"
)

// ask is a request, whatever it came by.
type ask struct {
	secure bool
	http   bool // not TFTP
	remote netip.Addr
	local  netip.Addr // our address as the phone sees it; invalid = unknown
	token  string
	name   string
	agent  string
}

// answer is what the phone gets; without content it is a refusal, and all
// refusals look the same from outside.
type answer struct {
	result  string
	brand   string
	content []byte
	binary  bool         // a certificate, not a text file
	enrols  string       // "window" or "token" when the delivery is a step of an enrolment, not the daily one
	why     visit.Reason // of a bootstrap that the phone may have hoped was its whole file
}

// caName is the file with the root certificate.
const caName = "ca.crt"

// answer decides.
func (s *Server) answer(ctx context.Context, a ask) answer {
	if s.swept(a) {
		s.Dropped.Count("provisioning", resultSwept)
		return answer{result: resultSwept, brand: phone.Detect(a.agent, "").Brand}
	}
	if a.name == caName && a.token == "" {
		return answer{result: resultCA, brand: phone.Detect(a.agent, "").Brand, content: s.CA(), binary: true}
	}
	if a.token != "" && phonebookName.MatchString(a.name) {
		return s.phonebook(ctx, a)
	}
	pathMAC, _ := phone.MACInName(a.name)
	hint := phone.Detect(a.agent, pathMAC)
	result := answer{brand: hint.Brand}
	at, inside := s.Atlas.Locate(a.remote)
	if !inside {
		result.result = resultOutside
		return result
	}
	if hint.MAC != "" && pathMAC != "" && hint.MAC != pathMAC {
		result.result = resultMismatch // it asks for another phone's file
		return result
	}
	mac := pathMAC
	if mac == "" {
		mac = hint.MAC
	}
	terminal, known := directory.Terminal{}, false
	if mac != "" {
		terminal, known = s.Directory.ByMAC(mac)
		if !known && s.lent(ctx, a, hint, mac, at) {
			terminal, known = s.Directory.ByMAC(mac)
		}
		if !known || !terminal.MayRegister() {
			result.result = s.strange(ctx, a, hint, mac, at, known)
			return result
		}
	}
	brand := phone.BrandOf(s.organisation.Load().Brands, terminal.Model, hint.Brand, a.name)
	if brand == nil {
		result.result = resultNone
		if known {
			result.result = resultUnsupported
		}
		return result
	}
	result.brand = brand.Name()
	file, ok := brand.File(a.name)
	switch {
	case !ok || file.Kind == phone.Boot || file.Kind == phone.Local:
		result.result = resultNone
	case file.Kind == phone.Common:
		s.common(&result, a, brand, file)
	default:
		s.device(ctx, &result, a, brand, file, terminal, at)
	}
	return result
}

// lent reports whether an unknown phone was given a number of its site's pool,
// so that somebody can claim an extension at it: only while the window of the
// site is open, and only what looks like a phone that we have files for.
func (s *Server) lent(ctx context.Context, a ask, hint phone.Hint, mac string, at site.ID) bool {
	if s.Lend == nil || !a.http || hint.Brand == phone.Other {
		return false
	}
	open := slices.ContainsFunc(s.Book.Windows(), func(w enrolment.Window) bool { return w.Site == at })
	return open && s.Lend(ctx, inventory.Stranger{MAC: mac, Brand: hint.Brand, Model: hint.Model, UserAgent: a.agent, Address: a.remote, Site: at})
}

// strange records a phone that gets nothing.
func (s *Server) strange(ctx context.Context, a ask, hint phone.Hint, mac string, at site.ID, known bool) string {
	stranger := inventory.Stranger{MAC: mac, Brand: hint.Brand, Model: hint.Model, UserAgent: a.agent, Address: a.remote, Site: at}
	if known {
		s.Log.Info("inactive terminal asked for its configuration", observe.DeviceMAC, mac, observe.Site, string(at), observe.Remote, a.remote.String())
		return resultInactive
	}
	s.swipe(ctx, a, at, mac)
	if s.unknown.Saw(stranger, s.Now()) {
		s.Log.Info("unknown phone asked for a configuration",
			observe.DeviceMAC, mac, observe.Brand, hint.Brand, observe.Site, string(at), observe.Remote, a.remote.String())
	}
	return resultUnknown
}

// common answers with what all phones of a model share; no secret is in it.
func (s *Server) common(result *answer, a ask, brand phone.Brand, file phone.File) {
	o := s.organisation.Load()
	own, err := o.own(a.local)
	var content []byte
	if err == nil {
		terminal := directory.Terminal{Model: file.Model}
		settings := o.bootstrap(o.Profile(terminal), terminal, own, a.secure)
		settings.Provisioning.CA = s.CA()
		content, err = brand.Render(file, settings)
	}
	if err != nil {
		s.fail(result, a, err)
		return
	}
	result.result, result.content = resultCommon, content
}

// device answers with a phone's own file.
func (s *Server) device(ctx context.Context, result *answer, a ask, brand phone.Brand, file phone.File, terminal directory.Terminal, at site.ID) {
	o := s.organisation.Load()
	profile := o.Profile(terminal)
	secure := !plainOnly(brand, terminal)
	token, enrols, err := s.entitled(ctx, a, terminal, at, !secure && profile.PlainSecrets)
	if errors.Is(err, errRefused) {
		result.result = resultToken
		return
	}
	own := ""
	if err == nil {
		own, err = o.own(a.local)
	}
	var content []byte
	if err == nil {
		settings := o.bootstrap(profile, terminal, own, secure)
		settings.Provisioning.CA = s.CA()
		if token != "" {
			var password string
			if password, err = s.Directory.Newest(ctx, terminal.Extension); err != nil {
				err = fmt.Errorf("password of %s: %w", terminal.Extension, err)
			} else if settings.AdminPassword, err = o.admin(terminal.MAC); err != nil {
				err = fmt.Errorf("admin password of %s: %w", terminal.MAC, err)
			}
			o.addSecrets(&settings, profile, terminal, own, password, token, secure)
		}
		if err == nil {
			settings.Extra, err = o.template(brand.Name(), terminal.Template)
		}
		if err == nil {
			content, err = brand.Render(file, settings)
		}
	}
	if err != nil {
		s.fail(result, a, err)
		return
	}
	result.content, result.result = content, resultBootstrap
	switch {
	case token != "":
		result.result, result.enrols = resultFull, enrols
	case !a.http || !a.secure && secure: // the first step, nothing was hoped for
	case !a.secure && !profile.PlainSecrets:
		result.why = visit.PlainOnly
	case at != terminal.Site:
		result.why = visit.OtherSite
	default:
		result.why = visit.WindowClosed
	}
}

// errRefused means that a token is wrong, or at a wrong place.
var errRefused = errors.New("refused")

// entitled returns the token of a phone that may have its secrets, "" for one
// that may have the bootstrap only, and which step of an enrolment this is.
// plain says that the organisation lets this phone have them by plain HTTP.
func (s *Server) entitled(ctx context.Context, a ask, terminal directory.Terminal, at site.ID, plain bool) (token, enrols string, err error) {
	own := (a.secure || plain && a.http) && at == terminal.Site
	if a.token != "" {
		if !own {
			return "", "", errRefused
		}
		admission, err := s.Book.Admit(ctx, terminal.MAC, a.token)
		switch {
		case err != nil:
			return "", "", err
		case admission == enrolment.Refused:
			return "", "", errRefused
		case admission == enrolment.FirstUse:
			enrols = "token"
		}
		return a.token, enrols, nil
	}
	if !own {
		return "", "", nil
	}
	token, err = s.Book.Token(ctx, terminal.MAC, terminal.Site)
	if errors.Is(err, enrolment.ErrClosed) {
		return "", "", nil
	}
	return token, "window", err
}

func (s *Server) fail(result *answer, a ask, err error) {
	result.result = resultError
	s.Log.Error("phone configuration could not be made", observe.File, a.name, observe.Remote, a.remote.String(), observe.Err, err)
}

// delivered records that a phone got its secrets, after they were written to
// it.
func (s *Server) delivered(ctx context.Context, a ask, result answer) {
	mac, _ := phone.MACInName(a.name)
	if err := s.Book.Delivered(ctx, mac, a.remote.String(), a.agent); err != nil {
		s.Log.Error("delivery could not be recorded", observe.DeviceMAC, mac, observe.Err, err)
	}
	terminal, known := s.Directory.ByMAC(mac)
	if known {
		s.noteDelivery(a, result, terminal)
	}
	s.fetches.happened(mac)
	if s.Audit == nil || result.enrols == "" {
		return
	}
	event := audit.Event{
		Actor: "device " + mac, Source: a.remote.String(), Action: "terminal.enrol", Object: terminal.Extension,
		Detail: map[string]string{"site": string(terminal.Site), "by": result.enrols},
	}
	if err := s.Audit.Append(ctx, event); err != nil {
		s.Log.Error("enrolment could not be audited", observe.DeviceMAC, mac, observe.Err, err)
	}
}
