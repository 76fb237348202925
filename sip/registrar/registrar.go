// Package registrar serves REGISTER: RFC 3261 §10.3, RFC 3327 (Path), RFC 5626
// (outbound), RFC 5627 (GRUU), and what desk phones make of them.
//
// It authenticates (sip/digest), checks that the AOR is the terminal's, turns
// the contacts of the request into bindings and applies them to sip/location in
// one step. It knows nothing of calls. A Registrar is safe for concurrent use.
//
//	r, err := registrar.New(registrar.Options{Stack: s, Auth: auth, Location: loc, Directory: dir, Sites: atlas})
//	s.HandleAtOnce(sip.REGISTER, r.Serve)
//	g.Go(func() error { return r.Run(ctx) }) // keep-alives
package registrar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// Authenticator says which terminal sent a request; *digest.Authenticator is one.
type Authenticator interface {
	Check(req *stack.Request) (directory.Terminal, *sip.Response)
	// Issued is when the nonce of the request's credentials was made.
	Issued(req *stack.Request) time.Time
}

// Directory knows which extensions exist; *directory.Directory is one.
type Directory interface {
	ByExtension(ext string) (directory.Terminal, bool)
}

// Locator finds the site of an address; *site.Atlas is one.
type Locator interface {
	Locate(addr netip.Addr) (site.ID, bool)
}

// Options are the parts of a Registrar. Zero durations take their defaults.
type Options struct {
	Stack     *stack.Stack
	Auth      Authenticator
	Location  *location.Service
	Directory Directory
	Sites     Locator
	Domain    string
	Aliases   []string // further domains that phones may name us by; our addresses always do

	DefaultExpires time.Duration // without a wish; 1 h
	MinExpires     time.Duration // shorter wishes get 423; 60 s
	MaxExpires     time.Duration // longer wishes get this; 1 h
	KeepAlive      time.Duration // between two keep-alives to a phone behind a NAT; 25 s
	Concurrent     int           // REGISTERs at once, beyond it 503; 256

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Registrar serves REGISTER.
type Registrar struct {
	opts   Options
	log    *slog.Logger
	busy   atomic.Int64
	spread atomic.Uint32 // varies Retry-After
}

// New checks the options, tells the stack what we support, and starts
// nothing; call it before the stack runs.
func New(opts Options) (*Registrar, error) {
	if opts.Stack == nil || opts.Auth == nil || opts.Location == nil || opts.Directory == nil || opts.Sites == nil || opts.Domain == "" {
		return nil, errors.New("registrar: stack, auth, location, directory, sites and domain are needed")
	}
	def(&opts.DefaultExpires, time.Hour)
	def(&opts.MinExpires, time.Minute)
	def(&opts.MaxExpires, time.Hour)
	def(&opts.KeepAlive, 25*time.Second)
	def(&opts.Concurrent, 256)
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.MinExpires > opts.MaxExpires || opts.MinExpires > time.Hour {
		// RFC 3261 §10.3 step 7: 423 is only for wishes under an hour.
		return nil, fmt.Errorf("registrar: shortest expiry %s must not exceed the longest (%s) nor an hour", opts.MinExpires, opts.MaxExpires)
	}
	opts.Stack.Support("path", "outbound", "gruu")
	return &Registrar{opts: opts, log: opts.Log}, nil
}

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Serve is the handler of REGISTER, which waits for nothing (HandleAtOnce). The
// order of the checks is RFC 3261 §10.3's.
func (r *Registrar) Serve(_ context.Context, req *stack.Request) {
	change := &change{aor: location.AOR(req.To().Address.User, r.opts.Domain), now: time.Now()}
	res := r.answer(req, change)
	if err := req.Tx.Respond(res); err != nil {
		r.log.Debug("answer to a register not sent", observe.Remote, req.Flow.Remote, observe.Err, err)
	}
	if res.IsSuccess() && len(change.added) > 0 {
		r.sweep(change.added, r.opts.Location.Lookup(change.aor))
	}
}

func (r *Registrar) answer(req *stack.Request, change *change) *sip.Response {
	if r.busy.Add(1) > int64(r.opts.Concurrent) {
		r.busy.Add(-1)
		return r.overloaded(req)
	}
	defer r.busy.Add(-1)
	to := req.To().Address
	switch {
	case !r.ours(req.Recipient.Host):
		return r.refuse(req, sip.StatusNotFound, "Domain Not Served Here")
	case to.Scheme != "sip" && to.Scheme != "sips":
		return r.refuse(req, sip.StatusBadRequest, "To Is No SIP URI")
	case to.UriParams.Has("gr"):
		return r.refuse(req, sip.StatusBadRequest, "To Is No Address Of Record") // RFC 5627 §5.1
	}
	wish, err := parseWish(req, r.opts)
	if err != nil {
		return r.refuse(req, sip.StatusBadRequest, err.Error())
	}
	t, refusal := r.opts.Auth.Check(req)
	if refusal != nil {
		return refusal
	}
	if res := r.entitled(req, t, to); res != nil {
		return res
	}
	if r.throughForeignHop(req, wish) {
		return r.refuse(req, statusFirstHopLacksOutbound, "First Hop Lacks Outbound Support")
	}
	if wish.tooBrief {
		res := r.refuse(req, sip.StatusIntervalToBrief, "Interval Too Brief")
		res.AppendHeader(sip.NewHeader("Min-Expires", seconds(r.opts.MinExpires)))
		return res
	}
	change.wish, change.flow, change.site = wish, req.Flow, r.siteOf(req.Flow, t)
	change.callID, change.cseq = req.CallID().Value(), req.CSeq().SeqNo
	change.challenged = r.opts.Auth.Issued(req)
	change.path, change.userAgent = paths(req), userAgent(req)
	return r.bind(req, change)
}

// entitled is steps 4 and 5: may this terminal change that AOR, is there one.
func (r *Registrar) entitled(req *stack.Request, t directory.Terminal, to sip.Uri) *sip.Response {
	switch _, exists := r.opts.Directory.ByExtension(to.User); {
	case !r.ours(to.Host), !exists:
		return r.refuse(req, sip.StatusNotFound, "No Such Extension")
	case to.User != t.Extension:
		r.log.Warn("terminal tried to register another's extension", observe.Extension, t.Extension, observe.Remote, req.Flow.Remote)
		return r.refuse(req, sip.StatusForbidden, "Extension Is Not Yours")
	case !t.MayRegister():
		return r.refuse(req, sip.StatusForbidden, "Terminal Disabled")
	}
	return nil
}

// RFC 5626 §11.6.
const statusFirstHopLacksOutbound = 439

// throughForeignHop reports whether a flow is asked for that we cannot keep: the
// request came through a proxy, and the one next to the phone does not say that
// it will find the flow again ("ob", RFC 5626 §6). The phone then registers
// without reg-id.
func (r *Registrar) throughForeignHop(req *stack.Request, w wish) bool {
	if !wantsFlow(req, w) || len(req.GetHeaders("Via")) < 2 {
		return false
	}
	path := paths(req)
	if len(path) == 0 {
		return true
	}
	edge := path[len(path)-1]
	_, params, _ := strings.Cut(edge, ";")
	for p := range strings.SplitSeq(strings.TrimSuffix(params, ">"), ";") {
		if strings.EqualFold(strings.Trim(p, " <>"), "ob") {
			return false
		}
	}
	return true
}

// wantsFlow reports whether the phone asks for outbound: it says that it knows
// what that is, and names a flow of its instance.
func wantsFlow(req *stack.Request, w wish) bool {
	if !stack.HasToken(req, "Supported", "outbound") {
		return false
	}
	for i := range w.contacts {
		if w.contacts[i].regID != "" {
			return true
		}
	}
	return false
}

// bind is steps 6 to 8.
func (r *Registrar) bind(req *stack.Request, change *change) *sip.Response {
	aor := change.aor
	if len(change.wish.contacts) == 0 && !change.wish.all {
		return r.accept(req, change, r.opts.Location.Lookup(aor)) // a question, not a change
	}
	after, err := r.opts.Location.Update(aor, change.apply)
	switch {
	case errors.Is(err, errOutOfOrder):
		return r.refuse(req, sip.StatusInternalServerError, "CSeq Out Of Order")
	case errors.Is(err, location.ErrTooMany):
		return r.refuse(req, sip.StatusForbidden, "Too Many Contacts")
	case errors.Is(err, location.ErrFull):
		return r.overloaded(req)
	case err != nil:
		r.log.Error("bindings not changed", observe.AOR, aor, observe.Err, err)
		return r.refuse(req, sip.StatusInternalServerError, "Server Internal Error")
	}
	r.report(change)
	return r.accept(req, change, after)
}

func (r *Registrar) report(c *change) {
	for _, b := range c.added {
		r.log.Info("phone registered", observe.AOR, c.aor, observe.Contact, b.Contact, observe.Remote, b.Flow.Remote,
			observe.Transport, b.Flow.Transport, observe.Site, b.Site)
	}
	for _, b := range c.removed {
		r.log.Info("phone unregistered", observe.AOR, c.aor, observe.Contact, b.Contact)
	}
}

// siteOf is the site of the source address, else that of the row.
func (r *Registrar) siteOf(f stack.Flow, t directory.Terminal) site.ID {
	if id, ok := r.opts.Sites.Locate(f.Remote.Addr()); ok {
		return id
	}
	return t.Site
}

// ours reports whether the host names this appliance: the domain, an alias, or
// an address (the request reached us, and we serve one domain).
func (r *Registrar) ours(host string) bool {
	if strings.EqualFold(host, r.opts.Domain) {
		return true
	}
	for _, a := range r.opts.Aliases {
		if strings.EqualFold(host, a) {
			return true
		}
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// accept builds the 200: the request's own contacts first and byte for byte
// (some phones read only the first, or take another's expiry for theirs), then
// the others, each with the time it has left.
func (r *Registrar) accept(req *stack.Request, c *change, bindings []location.Binding) *sip.Response {
	res := r.opts.Stack.NewResponse(req, sip.StatusOK, "OK")
	own, others := c.split(bindings)
	gruu := stack.HasToken(req, "Supported", "gruu")
	for _, b := range append(own, others...) {
		value := "<" + b.Contact + ">" + b.ContactParams
		if gruu {
			value += r.gruus(b)
		}
		res.AppendHeader(sip.NewHeader("Contact", value+";expires="+seconds(b.Expires.Sub(c.now))))
	}
	outbound := wantsFlow(req, c.wish)
	if outbound {
		res.AppendHeader(sip.NewHeader("Require", "outbound")) // RFC 5626 §6
		if req.Flow.Stream() && !req.Flow.Web() {
			res.AppendHeader(sip.NewHeader("Flow-Timer", seconds(flowTimer)))
		}
	}
	if outbound || gruu {
		res.AppendHeader(sip.NewHeader("Supported", r.opts.Stack.SupportedTags()))
	}
	if len(own) > 0 {
		res.AppendHeader(sip.NewHeader("Expires", seconds(own[0].Expires.Sub(c.now))))
	}
	for _, p := range c.path {
		res.AppendHeader(sip.NewHeader("Path", p)) // RFC 3327 §5.3
	}
	res.AppendHeader(sip.NewHeader("Date", c.now.UTC().Format(dateFormat)))
	return res
}

// flowTimer asks a phone to ping its connection this often (RFC 5626 §4.4.1),
// which is less than firewalls take to forget one. Browsers cannot; we ping them.
const flowTimer = 2 * time.Minute

// gruus are the parameters of RFC 5627 §5.2.
func (r *Registrar) gruus(b location.Binding) string {
	var out string
	if g := r.opts.Location.PublicGRUU(b); g != "" {
		out += `;pub-gruu="` + g + `"`
	}
	if g := r.opts.Location.TemporaryGRUU(b); g != "" {
		out += `;temp-gruu="` + g + `"`
	}
	return out
}

// dateFormat is RFC 3261 §20.17's; phones without NTP set their clock by it.
const dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"

func (r *Registrar) refuse(req *stack.Request, code int, reason string) *sip.Response {
	return r.opts.Stack.NewResponse(req, code, reason)
}

// overloaded spreads the phones over some seconds, so that the burst that
// filled us does not come back as one.
func (r *Registrar) overloaded(req *stack.Request) *sip.Response {
	res := r.refuse(req, sip.StatusServiceUnavailable, "Service Unavailable")
	res.AppendHeader(sip.NewHeader("Retry-After", strconv.Itoa(3+int(r.spread.Add(1)%8))))
	return res
}

// paths are the Path values of the request, one URI each (RFC 3327 §5.3).
func paths(req *stack.Request) []string {
	var out []string
	for _, h := range req.GetHeaders("Path") {
		out = append(out, splitList(h.Value())...)
	}
	return out
}

func userAgent(req *stack.Request) string {
	const longest = 200
	h := req.GetHeader("User-Agent")
	if h == nil {
		return ""
	}
	return strings.ToValidUTF8(h.Value()[:min(len(h.Value()), longest)], "")
}

// seconds rounds up, so that a phone is never told less than it was granted.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
