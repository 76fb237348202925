package trunk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"linehall/sip/dialplan"
	"linehall/sip/stack"
)

// Outgoing is a call that looks for a way outside.
type Outgoing struct {
	Trunks    []string // names, the first is preferred
	Number    string   // E.164 where it has that form, see dialplan.Decision
	AsDialled string   // for trunks that want no other form; "" = Number
	Extension string   // of the caller, "" when it is nobody of ours
	Name      string   // of the caller
	Identity  string   // to show instead of the trunk's choice
	Withheld  bool     // the caller does not want to be known
	Emergency bool     // no limit counts, and gateways that seem down are tried as well
}

// Attempt is one way to a number: a gateway at one of its addresses. It holds no secret.
type Attempt struct {
	Trunk   string
	Gateway string
	URI     string
	Routes  []string
	Flow    stack.Flow // zero: Connect makes it
	Connect func(ctx context.Context) (stack.Flow, error)
	// From is the URI of our identity there, Asserted that of P-Asserted-Identity.
	From, Asserted string
	FromName, Name string // the names that go with them
	Contact        string // user part of our Contact
	Headers        [][2]string
	Patience       time.Duration
	SRTP           string
	// TrunkCalls and GatewayCalls are what both carry, 0: no limit. Whoever makes the call claims its place then: what
	// is full by now is left out of the list, but others may be as fast.
	TrunkCalls, GatewayCalls int
}

// mostAttempts bounds how long a caller waits for a dead world: eight gateways of six seconds.
const mostAttempts = 8

// Attempts lists the ways to a number in the order in which to try them: trunks as named, in each
// the gateways that live by priority and by weighted chance, of each every address. When none
// lives, all are tried: our belief may be old. It may ask DNS and take seconds.
func (s *Service) Attempts(ctx context.Context, o Outgoing) []Attempt {
	var alive, doubtful []Attempt
	for _, name := range o.Trunks {
		t := s.find(name)
		if t == nil || (!o.Emergency && t.full(s)) {
			continue
		}
		for _, g := range t.ordered() {
			if !o.Emergency && g.cfg.MaxCalls > 0 && s.o.Active(name, g.cfg.name()) >= g.cfg.MaxCalls {
				continue
			}
			st := g.now()
			ways := s.ways(ctx, t, g, st, o)
			if st.usable(t.cfg.Register) {
				alive = append(alive, ways...)
			} else {
				doubtful = append(doubtful, ways...)
			}
		}
	}
	if len(alive) == 0 || o.Emergency {
		alive = append(alive, doubtful...)
	}
	return alive[:min(len(alive), mostAttempts)]
}

func (t *trunk) full(s *Service) bool {
	return t.cfg.MaxCalls > 0 && s.o.Active(t.cfg.Name, "") >= t.cfg.MaxCalls
}

// ordered sorts the gateways by priority and draws among equals by weight.
func (t *trunk) ordered() []*gateway {
	left := slices.Clone(t.gateways)
	slices.SortStableFunc(left, func(a, b *gateway) int { return cmp.Compare(a.cfg.Priority, b.cfg.Priority) })
	ordered := make([]*gateway, 0, len(left))
	for len(left) > 0 {
		same := slices.IndexFunc(left, func(g *gateway) bool { return g.cfg.Priority != left[0].cfg.Priority })
		if same < 0 {
			same = len(left)
		}
		i := drawn(left[:same], func(g *gateway) int { return g.cfg.Weight })
		ordered = append(ordered, left[i])
		left = slices.Delete(left, i, i+1)
	}
	return ordered
}

// ways lists the addresses of a gateway; the one that we are registered with comes first.
func (s *Service) ways(ctx context.Context, t *trunk, g *gateway, st state, o Outgoing) []Attempt {
	targets, err := g.locate(ctx)
	if err != nil {
		targets = st.targets
	}
	ways := make([]Attempt, 0, len(targets))
	for _, to := range g.favourite(targets) {
		ways = append(ways, s.way(t, g, st, to, o))
	}
	return ways
}

func (s *Service) way(t *trunk, g *gateway, st state, to target, o Outgoing) Attempt {
	numbering := s.plan()
	a := Attempt{
		Trunk: t.cfg.Name, Gateway: g.cfg.name(), Patience: t.cfg.Timeout, SRTP: t.cfg.SRTP, Contact: g.our.user,
		TrunkCalls: t.cfg.MaxCalls, GatewayCalls: g.cfg.MaxCalls,
		URI: g.uri(escape(numbering.Write(t.cfg.Format, o.Number, o.AsDialled)), to),
	}
	if st.registered && st.at == to {
		a.Routes = slices.Clone(st.routes)
		if s.o.Stack.Alive(st.flow) {
			a.Flow = st.flow
		}
	}
	if a.Flow.IsZero() {
		roots := g.roots
		a.Connect = func(ctx context.Context) (stack.Flow, error) { return s.connect(ctx, roots, to) }
	}
	s.identify(&a, t, g, to, o, numbering)
	return a
}

// identify chooses who we are there. Nothing else of ours is shown: an extension only where the
// trunk has neither a number nor an account, which is a gateway of our own.
func (s *Service) identify(a *Attempt, t *trunk, g *gateway, to target, o Outgoing, numbering dialplan.NumberingConfig) {
	number := t.shown(o, numbering)
	user := escape(numbering.Write(t.cfg.Format, number, number))
	if number == "" {
		user = cmp.Or(g.our.user, o.Extension)
	}
	uri := "sip:" + g.domain(to)
	if user != "" {
		uri = "sip:" + user + "@" + g.domain(to)
	}
	name := ""
	if t.cfg.Identity.Name {
		name = o.Name
	}
	a.From, a.FromName, a.Asserted, a.Name = uri, name, uri, name
	if a.Contact == "" {
		a.Contact = user
	}
	if o.Withheld && !o.Emergency {
		// RFC 3323 §4.1, RFC 3325 §7: the network is told, the called are not.
		a.From, a.FromName = "sip:anonymous@anonymous.invalid", "Anonymous"
		a.Headers = append(a.Headers, [2]string{"Privacy", "id"})
	}
}

// shown is the number that the called see, "" when the trunk names none.
func (t *trunk) shown(o Outgoing, numbering dialplan.NumberingConfig) string {
	if o.Identity != "" {
		return o.Identity
	}
	if t.cfg.Identity.Own && o.Extension != "" {
		if did, ok := t.ownDID(o.Extension, numbering); ok {
			return did
		}
	}
	return t.cfg.Identity.Number
}

// ownDID finds the public number that leads to an extension: one that names it, else a range whose
// last digits it can be.
func (t *trunk) ownDID(extension string, numbering dialplan.NumberingConfig) (string, bool) {
	for _, did := range t.cfg.DIDs {
		if did.To == extension && !strings.ContainsAny(did.Number, "XZN.") {
			return did.Number, true
		}
	}
	for _, did := range t.cfg.DIDs {
		number := dialplan.Normalise(did.Number)
		head := len(number) - did.Digits
		if did.Digits != len(extension) || head <= 0 || strings.ContainsAny(number[:head], "XZN.") {
			continue
		}
		if own := number[:head] + extension; dialplan.Pattern(number).Match(own) {
			return own, true
		}
	}
	return "", false
}

// escape makes a number fit for the user part of a URI (RFC 3261 §25.1): digits, * and + are, # is not.
func escape(number string) string {
	var b strings.Builder
	for i := range len(number) {
		switch c := number[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte("+*-_.!~'()&=$,", c) >= 0:
			b.WriteByte(c)
		default:
			const hex = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// ErrUnknown says that there is no such trunk or gateway, any more.
var ErrUnknown = errors.New("no such trunk or gateway")

// Authorize answers a challenge of a gateway with the trunk's account.
func (s *Service) Authorize(trunk, _, challenge, method, uri string, body []byte) (string, error) {
	t := s.find(trunk)
	if t == nil {
		return "", fmt.Errorf("trunk %s: %w", trunk, ErrUnknown)
	}
	if t.cfg.Auth.User == "" {
		return "", fmt.Errorf("trunk %s: it asks for a password and there is no account", trunk)
	}
	return credentials(challenge, method, uri, t.cfg.Auth, body)
}

// Reconnect opens the connection to a gateway again, for a request in a call whose flow is gone: to
// the address it was at, else to the first one of the gateway.
func (s *Service) Reconnect(ctx context.Context, trunk, gateway string, gone stack.Flow) (stack.Flow, error) {
	g := s.gateway(trunk, gateway)
	if g == nil {
		return stack.Flow{}, fmt.Errorf("%s %s: %w", trunk, gateway, ErrUnknown)
	}
	if gone.Transport == stack.UDP {
		return gone, nil
	}
	targets := g.now().targets
	if len(targets) == 0 {
		found, err := g.locate(ctx)
		if err != nil {
			return stack.Flow{}, err
		}
		targets = found
	}
	to := g.favourite(targets)[0]
	for _, t := range targets {
		if t.transport == gone.Transport && t.addr == gone.Remote {
			to = t
		}
	}
	return s.connect(ctx, g.roots, to)
}

func (s *Service) gateway(trunk, gateway string) *gateway {
	t := s.find(trunk)
	if t == nil {
		return nil
	}
	for _, g := range t.gateways {
		if g.cfg.name() == gateway {
			return g
		}
	}
	return nil
}

// Report tells what became of an attempt: 408 for silence, 430 for a gateway that could not be
// reached; any other code is a sign of life, but for 503.
func (s *Service) Report(trunk, gateway string, code int) {
	g := s.gateway(trunk, gateway)
	if g == nil {
		return
	}
	switch code {
	case 408, 430:
		g.heard(false, "it did not answer a call")
	case 487: // we gave up, which says nothing
	case 503:
		g.failed("503 to a call")
	default:
		g.heard(true, "")
	}
}
