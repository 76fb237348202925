package trunk

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/dialplan"
	"linehall/sip/stack"
)

// Incoming is what a trunk says about an INVITE that came over it.
type Incoming struct {
	Trunk, Gateway string
	From           string // the caller's number as it is dialled in this country, "" when it is withheld
	Name           string // the caller's name
	Number         string // the called number
	// TrunkCalls and GatewayCalls are how many calls both carry; 0: no limit.
	TrunkCalls, GatewayCalls int
	SRTP                     string // the trunk's policy
}

// Identify says which trunk a request belongs to: by the connection or the addresses of its
// gateways, or by the trunk's list. Such a request is not challenged. Of several trunks behind one
// address the one counts whose account or DID the called number is.
func (s *Service) Identify(req *stack.Request) (Incoming, bool) {
	numbering := s.plan()
	var found *trunk
	var at *gateway
	best := 0
	for _, t := range s.list() {
		g, ok := t.source(req.Flow)
		if !ok {
			continue
		}
		rank := 1
		if called, account := calledOf(req, t); account {
			rank = 3
		} else if t.named(called, numbering) {
			rank = 2
		}
		if rank > best {
			found, at, best = t, g, rank
		}
	}
	if found == nil {
		return Incoming{}, false
	}
	in := Incoming{Trunk: found.cfg.Name, TrunkCalls: found.cfg.MaxCalls, SRTP: found.cfg.SRTP}
	in.Number, _ = calledOf(req, found)
	if at != nil {
		in.Gateway = at.cfg.name()
		in.GatewayCalls = at.cfg.MaxCalls
	}
	if in.From, in.Name = callerOf(req.Request); in.From != "" {
		in.From = numbering.Write(dialplan.NationalFmt, in.From, in.From)
	}
	return in, true
}

// Serves reports whether calls over that flow are a trunk's and so not challenged, and whether a gateway of one is at the
// address: then also somebody else may be.
func (s *Service) Serves(flow stack.Flow) (calls, gateway bool) {
	for _, t := range s.list() {
		if g, ok := t.source(flow); ok {
			calls, gateway = true, gateway || g != nil
		}
	}
	return calls, gateway
}

// source reports whether a request over that flow is the trunk's, and which gateway it is if that is
// known. A stream connection that we registered over is the gateway's, whatever its address.
func (t *trunk) source(flow stack.Flow) (*gateway, bool) {
	from := flow.Remote.Addr().Unmap().WithZone("")
	for _, g := range t.gateways {
		st := g.now()
		if st.registered && st.flow == flow || slices.Contains(st.sources, from) {
			return g, true
		}
	}
	return nil, slices.ContainsFunc(t.cfg.Identify, func(p netip.Prefix) bool { return p.Contains(from) })
}

// calledOf is the number that the outside caller dialled. A registrar sends its INVITE to our
// contact, whose user is the account: then the number is in P-Called-Party-ID (RFC 7315 §4.2) or To.
func calledOf(req *stack.Request, t *trunk) (number string, account bool) {
	number = numberOf(req.Recipient.User)
	ours := t.cfg.Auth.Name
	if ours == "" {
		ours = t.cfg.Auth.User
	}
	if ours == "" || number != ours {
		return number, false
	}
	for _, h := range req.GetHeaders("P-Called-Party-ID") {
		if uri, _, ok := address(h.Value()); ok && uri != "" {
			return uri, true
		}
	}
	if to := numberOf(req.To().Address.User); to != "" {
		return to, true
	}
	return number, true
}

// named reports whether the trunk has a DID for the number.
func (t *trunk) named(number string, numbering dialplan.NumberingConfig) bool {
	canonical, _ := numbering.Canonical(number)
	return slices.ContainsFunc(t.cfg.DIDs, func(did dialplan.DIDConfig) bool {
		form, _ := numbering.Canonical(did.Number)
		return dialplan.Pattern(dialplan.Normalise(did.Number)).Match(number) || dialplan.Pattern(form).Match(canonical)
	})
}

// callerOf reads who calls: the network's word (P-Asserted-Identity, RFC 3325) before the caller's
// own. With Privacy "id" or "user", or an anonymous From, the number stays with us.
func callerOf(req *sip.Request) (number, name string) {
	for _, h := range req.GetHeaders("Privacy") {
		for word := range strings.FieldsFuncSeq(strings.ToLower(h.Value()), func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
			if word == "id" || word == "user" || word == "header" {
				return "", ""
			}
		}
	}
	from := req.From()
	if strings.EqualFold(from.Address.Host, "anonymous.invalid") || strings.EqualFold(from.Address.User, "anonymous") {
		return "", ""
	}
	number, name = numberOf(from.Address.User), printable(from.DisplayName)
	for _, h := range req.GetHeaders("P-Asserted-Identity") {
		if user, display, ok := address(h.Value()); ok && user != "" {
			number = user
			if display != "" {
				name = display
			}
			break
		}
	}
	return number, name
}

// address reads the user of a name-addr or addr-spec with a sip, sips or tel URI, and its name.
func address(text string) (user, name string, ok bool) {
	if len(text) > 1024 {
		return "", "", false
	}
	spec := strings.TrimSpace(text)
	if open := strings.LastIndexByte(spec, '<'); open >= 0 {
		name = strings.TrimSpace(spec[:open])
		if plain, err := strconv.Unquote(name); err == nil {
			name = plain
		}
		end := strings.IndexByte(spec[open:], '>')
		if end < 0 {
			return "", "", false
		}
		spec = spec[open+1 : open+end]
	}
	scheme, rest, ok := strings.Cut(spec, ":")
	if !ok {
		return "", "", false
	}
	switch strings.ToLower(scheme) {
	case "tel":
		rest, _, _ = strings.Cut(rest, ";")
	case "sip", "sips":
		var has bool
		if rest, _, has = strings.Cut(rest, "@"); !has {
			rest = ""
		}
	default:
		return "", "", false
	}
	return numberOf(rest), printable(strings.Trim(name, `"`)), true
}

// numberOf undoes escapes in a user part and drops its parameters and password: what cannot be a
// number or a name of an account is "".
func numberOf(user string) string {
	user, _, _ = strings.Cut(user, ";")
	user, _, _ = strings.Cut(user, ":")
	var b strings.Builder
	for i := 0; i < len(user); i++ {
		c := user[i]
		if c == '%' && i+2 < len(user) {
			if v, err := strconv.ParseUint(user[i+1:i+3], 16, 8); err == nil {
				c, i = byte(v), i+2
			}
		}
		if c <= ' ' || c == 0x7f || strings.IndexByte("\"<>@\\", c) >= 0 {
			return ""
		}
		b.WriteByte(c)
	}
	const longest = 64
	if b.Len() > longest {
		return ""
	}
	return dialplan.Normalise(b.String())
}
