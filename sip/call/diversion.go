package call

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/route"
	"linehall/sip/stack"
)

// What a forwarded call says about how it came here: Diversion (RFC 5806), which telephones and
// gateways show, and History-Info (RFC 7044), which says the same of each step. RFC 7544 maps one
// to the other. Both are believed only when a trunk that is trusted sends them, and never cross
// from a phone to another one.

// forwards is how a peer is told about earlier forwards.
type forwards uint8

// The ways; they may be combined.
const (
	asDiversion forwards = 1 << iota // RFC 5806
	asHistory                        // RFC 7044
	asBoth      = asDiversion | asHistory
)

// causes is RFC 7544 §5: the "cause" of a target that a diversion led to. What is not listed is
// 404, "unknown".
var causes = []struct { //nolint:gochecknoglobals // a constant table
	reason route.Reason
	cause  int
}{
	{route.Unconditional, 302},
	{route.UserBusy, 486},
	{route.NoReply, 408},
	{route.Deflection, 480},
	{route.Deflection, 487},
	{route.Unavailable, 503},
	{route.UnknownReason, 404},
}

func causeOf(r route.Reason) int {
	for _, c := range causes {
		if c.reason == r {
			return c.cause
		}
	}
	return 404
}

func reasonOf(cause int) route.Reason {
	for _, c := range causes {
		if c.cause == cause {
			return c.reason
		}
	}
	return route.UnknownReason
}

// forwardHeaders tells a target about the forwards that led to it, the first one first. name says
// how the target is to see a number; last is the target itself. The newest diversion stands first,
// the oldest entry of the history.
func forwardHeaders(how forwards, history []route.Diversion, name func(number string) Identity, last Identity) [][2]string {
	if len(history) == 0 {
		return nil
	}
	var headers [][2]string
	if how&asDiversion != 0 {
		for _, d := range slices.Backward(history) {
			headers = append(headers, [2]string{"Diversion", name(d.From).nameAddr() + ";reason=" + string(d.Reason) + ";counter=1"})
		}
	}
	if how&asHistory == 0 {
		return headers
	}
	index := "1"
	for i := range len(history) + 1 {
		id, mapped := last, ""
		if i < len(history) {
			id = name(history[i].From)
		}
		if i > 0 { // RFC 7044 §10.3, RFC 4458 §2
			mapped = ";mp=" + index
			index += ".1"
			id.URI += ";cause=" + strconv.Itoa(causeOf(history[i-1].Reason))
		}
		headers = append(headers, [2]string{"History-Info", id.nameAddr() + ";index=" + index + mapped})
	}
	return headers
}

// nameAddr writes a name-addr (RFC 3261 §25.1).
func (i Identity) nameAddr() string {
	if name := display(i.Name); name != "" {
		return `"` + name + `" <` + i.URI + ">"
	}
	return "<" + i.URI + ">"
}

// forwardsOf reads the forwards of an INVITE that a trusted trunk sent, the first one first:
// Diversion where it is there, else History-Info. Numbers are as they stand in the URIs. At most
// one more than a call may have is kept: then it is refused.
func forwardsOf(req *sip.Request) []route.Diversion {
	history := diversionsOf(req)
	if len(history) == 0 {
		history = historyOf(req)
	}
	return history[max(0, len(history)-route.MaxDiversions-1):]
}

func diversionsOf(req *sip.Request) []route.Diversion {
	var history []route.Diversion
	for _, value := range listed(req, "Diversion") {
		uri, params, ok := nameAddrOf(value)
		if !ok {
			continue
		}
		d := route.Diversion{From: unescape(uri.User), Reason: route.UnknownReason}
		if reason := strings.ToLower(strings.Trim(params["reason"], `"`)); reason != "" {
			d.Reason = route.Reason(known(reason))
		}
		count, err := strconv.Atoi(params["counter"])
		if err != nil || count < 1 {
			count = 1
		}
		for range min(count, route.MaxDiversions+1) { // "counter": as often there, RFC 5806 §4
			history = append(history, d)
		}
	}
	slices.Reverse(history) // the newest stands first
	return history
}

// known keeps a reason that RFC 5806 has, so that nothing else comes into records and headers.
func known(reason string) string {
	for _, r := range []route.Reason{
		route.Unconditional, route.UserBusy, route.NoReply, route.Deflection, route.Unavailable, route.DoNotDisturb,
		route.TimeOfDay, route.FollowMe, route.OutOfService, route.Away,
	} {
		if reason == string(r) {
			return reason
		}
	}
	return string(route.UnknownReason)
}

// historyOf reads History-Info: an entry whose successor has a cause was forwarded for it.
func historyOf(req *sip.Request) []route.Diversion {
	var history []route.Diversion
	before := ""
	for _, value := range listed(req, "History-Info") {
		uri, _, ok := nameAddrOf(value)
		if !ok {
			continue
		}
		if text, has := uri.UriParams.Get("cause"); has && before != "" {
			cause, _ := strconv.Atoi(text)
			history = append(history, route.Diversion{From: before, Reason: reasonOf(cause)})
		}
		before = unescape(uri.User)
	}
	return history
}

// mostListed bounds the entries that are read of a header: far more than a call may have.
const mostListed = 20

// listed returns the comma separated values of all headers of a name. Commas in quotes and between
// angle brackets do not separate.
func listed(msg sip.Message, name string) []string {
	var out []string
	for _, h := range msg.GetHeaders(name) {
		text, start, quoted, deep := h.Value(), 0, false, false
		for i := 0; i <= len(text) && len(out) < mostListed; i++ {
			if i == len(text) || text[i] == ',' && !quoted && !deep {
				if part := strings.TrimSpace(text[start:i]); part != "" {
					out = append(out, part)
				}
				start = i + 1
				continue
			}
			switch text[i] {
			case '\\':
				if quoted {
					i++
				}
			case '"':
				quoted = !quoted
			case '<':
				deep = deep || !quoted
			case '>':
				deep = deep && quoted
			}
		}
	}
	return out
}

// nameAddrOf reads a name-addr and its header parameters.
func nameAddrOf(value string) (sip.Uri, map[string]string, bool) {
	var uri sip.Uri
	_, rest, ok := strings.Cut(value[quotedEnd(value):], "<")
	if !ok {
		return uri, nil, false
	}
	text, rest, ok := strings.Cut(rest, ">")
	if !ok {
		return uri, nil, false
	}
	text, _, _ = strings.Cut(text, "?") // sipgo v1.7.2 reads the headers of a URI into its parameters
	if sip.ParseUri(text, &uri) != nil || uri.User == "" {
		return uri, nil, false
	}
	params := map[string]string{}
	for part := range strings.SplitSeq(rest, ";") {
		name, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		params[strings.ToLower(name)] = v
	}
	return uri, params, true
}

// quotedEnd is where a quoted-string at the beginning of a value ends: a display name may hold
// anything. One that does not end takes all.
func quotedEnd(value string) int {
	if !strings.HasPrefix(value, `"`) {
		return 0
	}
	for i := 1; i < len(value); i++ {
		switch value[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(value)
}

// numberOf is a number as one of our phones is to see it.
func (s *Service) numberOf(number string) Identity {
	t, _ := s.o.Directory.ByExtension(number)
	return Identity{Name: t.DisplayName, URI: "sip:" + escapeUser(number) + "@" + s.stack.Domain()}
}

// escapeUser writes a number as the user part of a URI (RFC 3261 §25.1): what is neither
// unreserved nor user-unreserved is escaped.
func escapeUser(user string) string {
	var b strings.Builder
	for i := range len(user) {
		switch c := user[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', strings.IndexByte("-_.!~*'()&=+$,/", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(c)|0x100, 16)[1:]))
		}
	}
	return b.String()
}

// deflectedTo is the number that a phone's 3xx sends the call to: the user of its most preferred
// Contact, if that is one of ours. Other hosts are for the caller to find (RFC 3261 §8.1.3.4).
func (c *call) deflectedTo(b *branchLeg) (string, bool) {
	best, most := "", -1.0
	for _, value := range listed(b.final, "Contact") {
		if !strings.Contains(value, "<") { // an addr-spec, whose parameters are the header's
			uri, params, _ := strings.Cut(value, ";")
			value = "<" + uri + ">;" + params
		}
		uri, params, ok := nameAddrOf(value)
		if !ok {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		if err != nil {
			q = 1
		}
		if c.s.ourHost(uri.Host, b.target.flow()) && q > most {
			best, most = unescape(uri.User), q
		}
	}
	return best, best != ""
}

// ourHost reports whether a host names this exchange, for a phone at the end of a flow.
func (s *Service) ourHost(host string, flow stack.Flow) bool {
	if strings.EqualFold(host, s.stack.Domain()) {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	ours := s.stack.ContactURI(flow, "")
	known, err := netip.ParseAddr(strings.Trim(ours.Host, "[]"))
	return err == nil && known.Unmap() == addr.Unmap()
}
