package trunk

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/digest"
	"linehall/sip/stack"
)

// Waits of a registration that fails: soon at first, as after a provider's restart, then seldom, so
// that a wrong password does not lock the account.
const (
	firstWait    = 5 * time.Second
	longestWait  = 5 * time.Minute
	refusedWait  = time.Minute // after a 4xx or 6xx: a person has to do something
	longestRetry = time.Hour   // a Retry-After beyond it is not obeyed
	leastExpires = 10 * time.Second
	mostExpires  = 24 * time.Hour
	registerTime = 10 * time.Second // for one REGISTER, all its repetitions
	mostTries    = 4                // of one REGISTER: challenge, stale nonce, too brief, and one more
)

// registration is our binding at a gateway. Its keeper owns it.
type registration struct {
	g       *gateway
	callID  string
	cseq    uint32
	expires time.Duration // what we ask for; 423 may raise it
	wait    time.Duration // before the next attempt after a failure
}

func newRegistration(g *gateway) *registration {
	return &registration{g: g, callID: rand.Text(), expires: g.our.expires, wait: firstWait}
}

// errRefused marks a final answer that another address of the gateway would give as well.
var errRefused = errors.New("refused")

// refresh registers, at one address after the other, and returns when to do so again.
func (r *registration) refresh(ctx context.Context) time.Duration {
	g := r.g
	targets, err := g.locate(ctx)
	if err != nil {
		return r.postpone(err, 0)
	}
	var retry time.Duration
	for _, to := range g.favourite(targets) {
		granted, after, tried := r.at(ctx, to, r.expires)
		if ctx.Err() != nil {
			return firstWait
		}
		if tried == nil {
			r.wait = firstWait
			// A little before the end; halfway for short ones, where a lost REGISTER needs the time.
			return jitter(min(granted*4/5, max(granted-time.Minute, granted/2)))
		}
		err, retry = tried, max(retry, after)
		if errors.Is(tried, errRefused) {
			break
		}
	}
	return r.postpone(err, retry)
}

// postpone takes note of a failure and returns how long to wait.
func (r *registration) postpone(err error, retry time.Duration) time.Duration {
	g := r.g
	now := time.Now()
	before := g.change(func(st *state) {
		st.lastError, st.errorAt = err.Error(), now
		if !now.Before(st.until) {
			st.registered = false
		}
	})
	wait := r.wait
	if errors.Is(err, errRefused) {
		g.change(func(st *state) { st.registered = false })
		wait = max(wait, refusedWait)
	}
	r.wait = min(2*r.wait, longestWait)
	wait = max(wait, retry)
	if before.lastError != err.Error() || before.registered {
		g.log.Warn("registration failed", slog.String(observe.Reason, err.Error()), slog.Duration("next", wait))
	}
	return jitter(wait)
}

// at registers at one address and returns the life granted, or how long the gateway asks us to wait.
func (r *registration) at(ctx context.Context, to target, expires time.Duration) (granted, retry time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	g := r.g
	flow, err := g.s.connect(ctx, g.roots, to)
	if err != nil {
		return 0, 0, fmt.Errorf("%s: %w", to, err)
	}
	answered, stale := "", false
	for range mostTries {
		req := r.request(flow, to, expires)
		if answered != "" {
			name, value, _ := strings.Cut(answered, ": ")
			req.AppendHeader(sip.NewHeader(name, value))
		}
		res, err := g.s.ask(ctx, req, flow)
		if err != nil {
			return 0, 0, fmt.Errorf("%s does not answer REGISTER: %w", to, err)
		}
		switch code := res.StatusCode; {
		case code == sip.StatusUnauthorized || code == sip.StatusProxyAuthRequired:
			fresh := digestStale(res)
			if answered != "" && (stale || !fresh) {
				return 0, 0, fmt.Errorf("%w: %s does not take the user or the password", errRefused, to)
			}
			stale = fresh && answered != ""
			if answered, err = authorization(res, string(sip.REGISTER), req.Recipient.String(), g.our.auth, nil); err != nil {
				return 0, 0, fmt.Errorf("%w: %s: %w", errRefused, to, err)
			}
		case code == 423: // Interval Too Brief, RFC 3261 §10.2.8
			least, ok := seconds(header(res, "Min-Expires"), leastExpires, mostExpires)
			if !ok || least <= expires {
				return 0, 0, fmt.Errorf("%w: %s wants a longer registration and does not say how long", errRefused, to)
			}
			expires, r.expires = least, least
		case code >= 200 && code < 300:
			return r.accepted(res, flow, to, expires), 0, nil
		default:
			retry, _ = seconds(header(res, "Retry-After"), 0, longestRetry)
			kind := errors.New("failed")
			if code < 500 && code != sip.StatusRequestTimeout && code != 430 || code >= 600 {
				kind = errRefused
			}
			return 0, retry, fmt.Errorf("%w: %s answers %d %s to REGISTER", kind, to, code, printable(res.Reason))
		}
	}
	return 0, 0, fmt.Errorf("%w: %s asks again and again", errRefused, to)
}

func (r *registration) request(flow stack.Flow, to target, expires time.Duration) *sip.Request {
	g := r.g
	req := g.request(sip.REGISTER, flow, to)
	r.cseq++
	ours := sip.Uri{Scheme: "sip", User: g.our.user, Host: g.domain(to)}
	req.Recipient = sip.Uri{Scheme: "sip", Host: g.domain(to)}
	if g.our.domain == "" {
		req.Recipient = *req.To().Address.Clone()
	}
	req.ReplaceHeader(&sip.ToHeader{Address: ours})
	id := sip.CallIDHeader(r.callID)
	req.ReplaceHeader(&id)
	req.ReplaceHeader(&sip.CSeqHeader{SeqNo: r.cseq, MethodName: sip.REGISTER})
	req.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(int(expires/time.Second))))
	req.AppendHeader(sip.NewHeader("Supported", "path"))
	req.AppendHeader(sip.NewHeader("Allow", g.s.o.Stack.Allow()))
	return req
}

// accepted takes note of a 2xx: the life of our contact, else that of Expires, else what we asked for.
func (r *registration) accepted(res *sip.Response, flow stack.Flow, to target, asked time.Duration) time.Duration {
	g := r.g
	granted := asked
	if life, ok := seconds(header(res, "Expires"), leastExpires, mostExpires); ok {
		granted = life
	}
	ours := g.s.o.Stack.ContactURI(flow, g.our.user)
	for _, h := range res.GetHeaders("Contact") {
		for value := range listed(h.Value()) {
			if life, ok := lifeOf(value, ours); ok {
				granted = life
			}
		}
	}
	var routes []string
	for _, h := range res.GetHeaders("Service-Route") {
		if len(routes) < 4 && len(h.Value()) < 512 {
			routes = append(routes, h.Value())
		}
	}
	before := g.change(func(st *state) {
		st.registered, st.until, st.flow, st.at, st.routes = true, time.Now().Add(granted), flow, to, routes
		st.sources = sourcesOf(st.targets, flow)
	})
	g.heard(true, "")
	if !before.registered {
		g.log.Info("registered", slog.String(observe.Remote, to.String()), slog.Duration("expires", granted))
	}
	return granted
}

// leave removes the registration when the trunk is taken away or we stop. Nobody waits long for it.
func (r *registration) leave() {
	g := r.g
	st := g.now()
	if !st.registered || !g.s.o.Stack.Alive(st.flow) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_, _, _ = r.at(ctx, st.at, 0) // whatever it says, we are gone
	g.change(func(st *state) { st.registered = false })
}

func header(res *sip.Response, name string) string {
	if all := res.GetHeaders(name); len(all) > 0 {
		return all[0].Value()
	}
	return ""
}

// challenges are the names of the challenge and of its answer, by status.
func challengeNames(code int) (challenge, answer string) {
	if code == sip.StatusProxyAuthRequired {
		return "Proxy-Authenticate", "Proxy-Authorization"
	}
	return "WWW-Authenticate", "Authorization"
}

func digestStale(res *sip.Response) bool {
	name, _ := challengeNames(res.StatusCode)
	for _, h := range res.GetHeaders(name) {
		if digest.Stale(h.Value()) {
			return true
		}
	}
	return false
}

// authorization answers the first challenge that we understand, as "Name: value".
func authorization(res *sip.Response, method, uri string, auth AuthConfig, body []byte) (string, error) {
	name, answer := challengeNames(res.StatusCode)
	failed := fmt.Errorf("%d without a challenge", res.StatusCode)
	if auth.User == "" {
		return "", errors.New("it asks for a password and the trunk has no account")
	}
	for _, h := range res.GetHeaders(name) {
		value, err := credentials(h.Value(), method, uri, auth, body)
		if err == nil {
			return answer + ": " + value, nil
		}
		failed = err
	}
	return "", failed
}

// credentials answers one challenge with the trunk's account.
func credentials(challenge, method, uri string, auth AuthConfig, body []byte) (string, error) {
	value, err := digest.Answer(challenge, method, uri, auth.User, auth.Password.Reveal(), body)
	if err != nil {
		return "", fmt.Errorf("account %s: %w", auth.User, err)
	}
	return value, nil
}

// listed yields the values of a comma-separated header; commas in quotes and brackets are no separators.
func listed(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		start, quoted, inside := 0, false, false
		for i := 0; i < len(text); i++ {
			switch c := text[i]; {
			case c == '\\' && quoted:
				i++
			case c == '"':
				quoted = !quoted
			case quoted:
			case c == '<' || c == '>':
				inside = c == '<'
			case c == ',' && !inside:
				if !yield(strings.TrimSpace(text[start:i])) {
					return
				}
				start = i + 1
			}
		}
		yield(strings.TrimSpace(text[start:]))
	}
}

// lifeOf reads the expires parameter of a contact, if it is ours.
func lifeOf(contact string, ours sip.Uri) (time.Duration, bool) {
	_, rest, _ := strings.Cut(contact, "<")
	text, params, ok := strings.Cut(rest, ">")
	var uri sip.Uri
	if !ok || sip.ParseUri(text, &uri) != nil {
		return 0, false
	}
	if uri.User != ours.User || !strings.EqualFold(uri.Host, ours.Host) || cmp.Or(uri.Port, sip.DefaultUdpPort) != cmp.Or(ours.Port, sip.DefaultUdpPort) {
		return 0, false
	}
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(strings.TrimSpace(name), "expires") {
			return seconds(strings.Trim(value, ` "`), leastExpires, mostExpires)
		}
	}
	return 0, false
}
