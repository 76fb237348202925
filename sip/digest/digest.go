// Package digest authenticates requests of terminals: RFC 3261 §22 with the
// algorithms of RFC 7616 and RFC 8760, server side.
//
// Nonces carry their own time and MAC, so challenging costs no memory; what is
// remembered, in a table of bounded size, is which counts of a nonce have been
// used (RFC 7616 §5.3). A terminal gets one challenge with the algorithm of its
// row: many phones read only the first of several. Unknown users, wrong
// passwords and disabled rows get the same challenge after the same work.
//
// It authenticates who sent a request and that the From is its own; what that
// terminal may do is the dial plan's business. Passwords come from the
// directory in clear, because realm and algorithm may change. Locking out
// repeated failures is not done here: Options.Observer does it.
//
// An Authenticator is safe for concurrent use.
//
//	auth, err := digest.New(digest.Options{Realm: domain, Directory: dir, Responder: s, Log: log})
//	terminal, refusal := auth.Check(req)
//	if refusal != nil {
//		return req.Tx.Respond(refusal)
//	}
package digest

import (
	"context"
	"crypto/md5" //nolint:gosec // RFC 7616: what most desk phones speak
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/sip/stack"
)

// Directory finds terminals and their passwords; *directory.Directory is one.
type Directory interface {
	ByAuthUser(user string) (directory.Terminal, bool)
	ByExtension(ext string) (directory.Terminal, bool)
	Password(ctx context.Context, ext string) (string, error)
}

// Responder builds responses; *stack.Stack is one.
type Responder interface {
	NewResponse(req *stack.Request, code int, reason string) *sip.Response
}

// Observer counts outcomes by source and account, and shuts out who guesses;
// *guard.Guard is one. It must not block.
type Observer interface {
	// Challenged is told of a request without credentials.
	Challenged(req *stack.Request)
	// Failed is told of each wrong response, also of one that was locked.
	Failed(req *stack.Request, account string)
	Succeeded(req *stack.Request, account string)
	// Locked reports whether an account may not log in from where the request
	// comes: it gets the answer of a wrong password, after the same work.
	Locked(req *stack.Request, account string) bool
}

// nobody is the Observer of an Authenticator without one.
type nobody struct{}

func (nobody) Challenged(*stack.Request)          {}
func (nobody) Failed(*stack.Request, string)      {}
func (nobody) Succeeded(*stack.Request, string)   {}
func (nobody) Locked(*stack.Request, string) bool { return false }

// Options are the parts of an Authenticator.
type Options struct {
	Realm     string
	Directory Directory
	Responder Responder
	// Lifetime of a nonce; 0 = 5 minutes. A phone that comes later is told
	// stale=true and repeats its request without asking its user.
	Lifetime time.Duration
	// Nonces whose use is remembered; 0 = 16384. Beyond it the oldest become stale.
	Nonces   int
	Observer Observer // may be nil
	// Next is the password that follows a terminal's present one while its phone
	// may have either; Renewed is told, and must not block, when the phone has
	// used it. Both may be nil.
	Next    func(extension string) (password string, waits bool)
	Renewed func(extension string)

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

const (
	defaultLifetime = 5 * time.Minute
	defaultNonces   = 16384
)

// Authenticator checks Authorization headers.
type Authenticator struct {
	opts    Options
	log     *slog.Logger
	nonces  *nonces
	decoys  *sync.Pool // of hash.Hash: derive passwords that do not exist
	results map[string]prometheus.Counter
}

// New checks the options. Nonces of an earlier process are stale for this one.
func New(opts Options) (*Authenticator, error) {
	if opts.Realm == "" || strings.ContainsAny(opts.Realm, "\"\\\r\n") || opts.Directory == nil || opts.Responder == nil {
		return nil, errors.New("digest: realm, directory and responder are needed")
	}
	if opts.Lifetime == 0 {
		opts.Lifetime = defaultLifetime
	}
	if opts.Nonces == 0 {
		opts.Nonces = defaultNonces
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Observer == nil {
		opts.Observer = nobody{}
	}
	results := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "linehall_sip_auth_total",
		Help: "Digest checks by result: ok, challenge (no credentials), stale, wrong, forbidden.",
	}, []string{"result"})
	a := &Authenticator{
		opts: opts, log: opts.Log, nonces: newNonces(opts.Lifetime, opts.Nonces), decoys: keyedMACs(), results: map[string]prometheus.Counter{},
	}
	for _, r := range []string{"ok", "challenge", "stale", "wrong", "forbidden"} {
		a.results[r] = results.WithLabelValues(r)
	}
	if opts.Registerer != nil {
		opts.Registerer.MustRegister(results)
	}
	return a, nil
}

// Check returns the terminal that sent the request, or the response to send
// instead: 401 with a challenge, or 403 when the credentials are right but the
// From is another's or the terminal is disabled. In both cases the other result
// is zero.
func (a *Authenticator) Check(req *stack.Request) (directory.Terminal, *sip.Response) {
	c, ok := a.credentials(req)
	if !ok {
		a.opts.Observer.Challenged(req)
		return a.challenge(req, a.expected(req), "challenge", false)
	}
	t, password, exists := a.account(c.username)
	algorithm := algorithmOf(t)
	good := a.matches(c, algorithm, password, req.Method)
	renewed := false
	if !good && a.opts.Next != nil {
		// The same work for all who fail: whoever has no next password tries the wrong one again.
		next, waits := a.opts.Next(t.Extension)
		if !waits {
			next = password
		}
		good = a.matches(c, algorithm, next, req.Method)
		renewed = good && waits
	}
	locked := a.opts.Observer.Locked(req, c.username)
	switch {
	case !good || !exists || locked:
		a.opts.Observer.Failed(req, c.username)
		return a.challenge(req, algorithm, "wrong", false)
	case !a.uriFits(c.uri, req):
		a.opts.Observer.Failed(req, c.username)
		return a.refuse(req, sip.StatusBadRequest, "Digest URI Mismatch")
	case !a.nonces.use(c.nonce, c.nc, time.Now()):
		return a.challenge(req, algorithm, "stale", true)
	case !t.MayRegister():
		return a.refuse(req, sip.StatusForbidden, "Terminal Disabled")
	case !owns(t, req.From()):
		a.log.Warn("terminal sent a request as another", observe.Extension, t.Extension, observe.Remote, req.Flow.Remote)
		return a.refuse(req, sip.StatusForbidden, "From Is Not Yours")
	}
	a.opts.Observer.Succeeded(req, c.username)
	if renewed && a.opts.Renewed != nil {
		a.opts.Renewed(t.Extension)
	}
	req.Trust()
	a.results["ok"].Inc()
	return t, nil
}

// Issued is when the nonce of the request's credentials was made: whoever sent
// them did so after it. It is the zero time without credentials of ours. It
// does not authenticate; see Check.
func (a *Authenticator) Issued(req *stack.Request) time.Time {
	c, ok := a.credentials(req)
	if !ok {
		return time.Time{}
	}
	_, issued, ok := a.nonces.open(c.nonce)
	if !ok {
		return time.Time{}
	}
	return time.Unix(0, issued)
}

// account finds the row and its password; one that is missing gets a password
// derived from the name, so that the work and the answers stay the same.
func (a *Authenticator) account(user string) (directory.Terminal, string, bool) {
	t, ok := a.opts.Directory.ByAuthUser(user)
	if !ok {
		if d, found := a.opts.Directory.ByExtension(user); found && (d.AuthUser == "" || d.AuthUser == user) {
			t, ok = d, true
		}
	}
	mac := a.decoys.Get().(hash.Hash) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	mac.Reset()
	mac.Write([]byte(user))
	password := hex.EncodeToString(mac.Sum(nil))
	a.decoys.Put(mac)
	if !ok {
		return directory.Terminal{}, password, false
	}
	real, err := a.opts.Directory.Password(context.Background(), t.Extension)
	if err != nil {
		a.log.Error("password of a terminal not readable", observe.Extension, t.Extension, observe.Err, err)
		return t, password, false
	}
	return t, real, true
}

// expected guesses the algorithm before there are credentials: that of the row
// the request claims to come from.
func (a *Authenticator) expected(req *stack.Request) string {
	t, _ := a.opts.Directory.ByExtension(req.From().Address.User)
	return algorithmOf(t)
}

func algorithmOf(t directory.Terminal) string {
	if strings.EqualFold(t.Digest, directory.SHA256) {
		return directory.SHA256
	}
	return directory.MD5
}

// owns reports whether the From is the terminal's: its extension, its
// authentication name, or nobody (RFC 3323 §4.1.1.3).
func owns(t directory.Terminal, from *sip.FromHeader) bool {
	user := from.Address.User
	return user == t.Extension || user == t.AuthUser && user != "" ||
		strings.EqualFold(from.Address.Host, "anonymous.invalid")
}

// uriFits compares the digest's uri with the Request-URI. Ports, parameters and
// the spelling of the host may differ (phones and NATs change them); the user
// part may not, so that a captured response is no use for another target; but
// SIPp and some gateways sign the server alone, "sip:192.0.2.1:5060", and count
// on the nonce to be used once.
func (a *Authenticator) uriFits(text string, req *stack.Request) bool {
	var uri sip.Uri
	if err := sip.ParseUri(text, &uri); err != nil {
		return false
	}
	if uri.User != "" && uri.User != req.Recipient.User {
		return false
	}
	return strings.EqualFold(uri.Host, req.Recipient.Host) || a.ours(uri.Host) && a.ours(req.Recipient.Host)
}

func (a *Authenticator) ours(host string) bool {
	if strings.EqualFold(host, a.opts.Realm) {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

func (a *Authenticator) challenge(req *stack.Request, algorithm, result string, stale bool) (directory.Terminal, *sip.Response) {
	a.results[result].Inc()
	res := a.opts.Responder.NewResponse(req, sip.StatusUnauthorized, "Unauthorized")
	value := `Digest realm="` + a.opts.Realm + `", nonce="` + a.nonces.issue(time.Now()) +
		`", algorithm=` + algorithm + `, qop="auth"`
	if stale {
		value += ", stale=true"
	}
	res.AppendHeader(sip.NewHeader("WWW-Authenticate", value))
	return directory.Terminal{}, res
}

func (a *Authenticator) refuse(req *stack.Request, code int, reason string) (directory.Terminal, *sip.Response) {
	a.results["forbidden"].Inc()
	return directory.Terminal{}, a.opts.Responder.NewResponse(req, code, reason)
}

// matches computes the response both ways in the same time.
func (a *Authenticator) matches(c credentials, algorithm, password string, method sip.RequestMethod) bool {
	want := c.expected(algorithm, password, string(method))
	same := subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(c.response))) == 1
	return same && c.fits(a.opts.Realm, algorithm)
}

// expected is the request-digest of RFC 7616 §3.4.1, or of RFC 2069 without qop.
func (c credentials) expected(algorithm, password, method string) string {
	h := hashMD5
	if algorithm == directory.SHA256 {
		h = hashSHA256
	}
	ha1 := h(c.username + ":" + c.realm + ":" + password)
	ha2 := h(method + ":" + c.uri)
	if c.qop == "" {
		return h(ha1 + ":" + c.nonce + ":" + ha2)
	}
	return h(ha1 + ":" + c.nonce + ":" + c.ncText + ":" + c.cnonce + ":" + c.qop + ":" + ha2)
}

func hashMD5(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // RFC 7616
	return hex.EncodeToString(sum[:])
}

func hashSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func randomKey() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	return key
}
