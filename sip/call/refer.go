package call

import (
	"context"
	"errors"
	"net/netip"
	"net/url"
	"strings"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
)

// Errors of a Refer-To or Replaces header that cannot be used.
var (
	errReferTo  = errors.New("the Refer-To cannot be read")
	errScheme   = errors.New("the scheme of the Refer-To cannot be called")
	errMethod   = errors.New("only an INVITE can be referred")
	errReplaces = errors.New("the Replaces cannot be read")
)

// referTo is where a REFER points to (RFC 3515 §2.1).
type referTo struct {
	User, Host string
	Replaces   *replaces // RFC 3891, in the URI's header part
}

// replaces names a dialog as its far end does (RFC 3891 §6.1): the to-tag is ours.
type replaces struct {
	CallID, ToTag, FromTag string
	EarlyOnly              bool
}

// maxReference bounds a Refer-To or Replaces; phones send some 200 bytes.
const maxReference = 2048

// parseReferTo reads a Refer-To value. It does not use the library's parser, which takes a
// header part behind a parameter for a part of the parameter (sipgo v1.7.2).
func parseReferTo(value string) (referTo, error) {
	text := strings.TrimSpace(value)
	if len(text) > maxReference {
		return referTo{}, errReferTo
	}
	if _, rest, ok := strings.Cut(text, "<"); ok {
		if text, _, ok = strings.Cut(rest, ">"); !ok {
			return referTo{}, errReferTo
		}
	}
	scheme, rest, ok := strings.Cut(text, ":")
	switch {
	case !ok || rest == "":
		return referTo{}, errReferTo
	case strings.EqualFold(scheme, "tel"): // RFC 3966: a number and parameters
		number, _, _ := strings.Cut(rest, ";")
		return referTo{User: unescape(number)}, nil
	case !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips"):
		return referTo{}, errScheme
	}
	var to referTo
	at := strings.LastIndexByte(beforeHeaders(rest), '@')
	if at >= 0 {
		user, _, _ := strings.Cut(rest[:at], ":") // a password is no part of the number
		to.User = unescape(user)
	}
	address, headers, _ := strings.Cut(rest[at+1:], "?")
	host, params, _ := strings.Cut(address, ";")
	to.Host = hostOf(host)
	for p := range strings.SplitSeq(params, ";") {
		if name, method, ok := strings.Cut(p, "="); ok && strings.EqualFold(name, "method") && !strings.EqualFold(method, "INVITE") {
			return referTo{}, errMethod
		}
	}
	if to.Host == "" {
		return referTo{}, errReferTo
	}
	for h := range strings.SplitSeq(headers, "&") {
		name, escaped, _ := strings.Cut(h, "=")
		if !strings.EqualFold(name, "Replaces") {
			continue // RFC 3261 §19.1.5: only what is known to be harmless is honoured
		}
		raw, err := url.PathUnescape(escaped)
		if err != nil {
			return referTo{}, errReplaces
		}
		r, err := parseReplaces(raw)
		if err != nil {
			return referTo{}, err
		}
		to.Replaces = &r
	}
	return to, nil
}

// beforeHeaders is what of a URI may hold its "@": a "?" may stand in the user part, an "@" in
// the headers.
func beforeHeaders(text string) string {
	if at := strings.IndexByte(text, '@'); at >= 0 {
		if mark := strings.IndexByte(text[at:], '?'); mark >= 0 {
			return text[:at+mark]
		}
		return text
	}
	before, _, _ := strings.Cut(text, "?")
	return before
}

// hostOf removes the port.
func hostOf(hostport string) string {
	if rest, ok := strings.CutPrefix(hostport, "["); ok {
		host, _, _ := strings.Cut(rest, "]")
		return host
	}
	host, _, _ := strings.Cut(hostport, ":")
	return host
}

// parseReplaces reads the value of a Replaces header.
func parseReplaces(value string) (replaces, error) {
	if len(value) > maxReference || strings.ContainsAny(value, "\r\n") {
		return replaces{}, errReplaces
	}
	parts := strings.Split(value, ";")
	r := replaces{CallID: strings.TrimSpace(parts[0])}
	for _, p := range parts[1:] {
		name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "to-tag":
			r.ToTag = strings.TrimSpace(v)
		case "from-tag":
			r.FromTag = strings.TrimSpace(v)
		case "early-only":
			r.EarlyOnly = true
		}
	}
	if r.CallID == "" || r.ToTag == "" || r.FromTag == "" {
		return replaces{}, errReplaces
	}
	return r, nil
}

// ours reports whether a host names this exchange as the peer at the end of the flow knows it.
func (s *Service) ours(host string, flow stack.Flow) bool {
	if host == "" || strings.EqualFold(host, s.stack.Domain()) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	contact := s.stack.ContactURI(flow, "")
	return addr.Unmap() == flow.Local.Addr().Unmap() || strings.Trim(contact.Host, "[]") == addr.String()
}

// serveRefer answers a REFER outside of any call: a phone may move its own calls, not start
// other people's.
func (s *Service) serveRefer(_ context.Context, req *stack.Request) {
	s.respond(req, refusal{code: 403, warn: 399, text: "REFER is served inside calls only"})
}

// onRefer takes a REFER inside the call (RFC 3515, RFC 5589): its sender, the transferor, wants
// the other party connected to somebody else. Nothing changes before somebody answers.
func (c *call) onRefer(f *fork, by *leg, req *stack.Request) {
	party := f.leg(by.Side.Other())
	wantsNotify := true
	for _, h := range req.GetHeaders("Refer-Sub") { // RFC 4488
		wantsNotify = !strings.EqualFold(strings.TrimSpace(h.Value()), "false")
	}
	values := req.GetHeaders("Refer-To")
	if len(values) != 1 {
		c.s.respond(req, refusal{code: 400, reason: "Bad Request", warn: 399, text: "one Refer-To is needed"})
		return
	}
	to, err := parseReferTo(values[0].Value())
	if r := referRefusal(err); r.code != 0 {
		c.s.respond(req, r)
		return
	}
	switch {
	case !c.talks() || f != c.pair || party.ended: // no session yet that could move
		c.s.respond(req, refusal{code: 491})
		return
	case c.transfer != nil:
		c.s.respond(req, refusal{code: 491, warn: 399, text: "The call is being transferred"})
		return
	case !c.s.ours(to.Host, req.Flow):
		c.s.respond(req, refusal{code: 403, warn: 399, text: "Calls are transferred to numbers of this exchange only"})
		return
	}
	t := &transfer{by: by, party: party, number: to.User}
	if wantsNotify {
		t.refer = c.newReferral(by, req.CSeq().SeqNo)
	}
	var r refusal
	if to.Replaces != nil {
		r = c.referToDialog(t, *to.Replaces)
	} else {
		r = c.aim(t)
	}
	if r.code != 0 {
		c.s.respond(req, r)
		return
	}
	res := c.s.stack.NewResponse(req, 202, "Accepted")
	res.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(req.Flow, by.User)})
	if !wantsNotify {
		res.AppendHeader(sip.NewHeader("Refer-Sub", "false"))
	}
	_ = req.Tx.Respond(res) // a lost 202 brings the REFER again
	by.Refers++
	c.dirty()
	c.beginTransfer(t)
}

func referRefusal(err error) refusal {
	switch {
	case err == nil:
		return refusal{}
	case errors.Is(err, errScheme):
		return refusal{code: 416, reason: "Unsupported URI Scheme"}
	case errors.Is(err, errMethod):
		return refusal{code: 603, warn: 399, text: err.Error()}
	default:
		return refusal{code: 400, reason: "Bad Request", warn: 399, text: err.Error()}
	}
}
