package call

import (
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Who the other party is, is our word: in From, P-Asserted-Identity (RFC 3325), and for phones
// that know only that Remote-Party-ID. What a phone says about itself counts only where it
// withholds it: Privacy (RFC 3323 §4.2, RFC 3325 §7) makes us anonymise the rest. Records keep
// the number, and emergency desks see it.

const (
	anonymousHost = "anonymous.invalid" // RFC 3323 §4.1.1.3
	anonymousName = "Anonymous"
)

// identity is one party as the others may know it.
type identity struct {
	Extension, Display string
	Private            bool
}

// identityOf is a party in an early or established dialog.
func (c *call) identityOf(l *leg) identity {
	return identity{l.Extension, l.Display, l.Private && (!c.emergency() || l.Side == callee)}
}

// withholds reads a Privacy header. known is false when there is none.
func withholds(msg sip.Message) (private, known bool) {
	for _, h := range msg.GetHeaders("Privacy") {
		for v := range strings.FieldsFuncSeq(h.Value(), func(r rune) bool { return r == ';' || r == ',' || r == ' ' }) {
			known = true
			switch strings.ToLower(v) {
			case "id", "user", "header":
				private = true
			}
		}
	}
	return private, known
}

// criticalSession reports whether a caller insists on privacy for its media (RFC 3323 §4.2
// "session" and "critical"): phones of a site talk directly, so it cannot be promised.
func criticalSession(req *sip.Request) bool {
	session, critical := false, false
	for _, h := range req.GetHeaders("Privacy") {
		value := strings.ToLower(h.Value())
		session = session || strings.Contains(value, "session")
		critical = critical || strings.Contains(value, "critical")
	}
	return session && critical
}

// wantsRemoteParty reports whether a phone shows only Remote-Party-ID: Cisco's before the
// multiplatform firmware, and the SPA series.
func wantsRemoteParty(agent string) bool {
	for _, known := range []string{"cisco-cp", "cisco/spa", "linksys/spa", "cisco-sip", "csco"} {
		if strings.HasPrefix(strings.ToLower(agent), known) {
			return true
		}
	}
	return false
}

func agentOf(msg sip.Message) string {
	for _, name := range []string{"User-Agent", "Server"} {
		if h := msg.GetHeaders(name); len(h) > 0 {
			return h[0].Value()
		}
	}
	return ""
}

// identify tells a phone who its peer is; side is the peer's.
func (c *call) identify(msg sip.Message, to *leg, who identity, side side) {
	if who.Private || who.Extension == "" {
		return
	}
	msg.AppendHeader(c.s.assertedIdentity(who.Extension, who.Display))
	if !to.RemoteParty {
		return
	}
	party := "called"
	if side == caller {
		party = "calling"
	}
	msg.AppendHeader(sip.NewHeader("Remote-Party-ID", c.s.nameAddr(who.Extension, who.Display)+";party="+party+";screen=yes;privacy=off"))
}

// callerIdentity is the caller as the phones that it calls may know it.
func (c *call) callerIdentity() identity {
	who := identity{Extension: c.rec.From, Display: c.fromName}
	if o, ok := c.origin.(*invited); ok && !c.emergency() {
		who.Private, _ = withholds(o.req.Request)
		who.Private = who.Private || c.decision.Withheld // by a code, or by the caller's class
	}
	if o, ok := c.origin.(*connected); ok {
		who.Private = o.shadow.Private || o.by == "" && c.decision.Withheld // of a transfer it is the transferor's wish
	}
	who.Private = who.Private || c.rec.From == anonymous // the other network's word
	return who
}

// from is the From address of an INVITE on the caller's behalf.
func (c *call) from(who identity) (name string, uri sip.Uri) {
	if who.Private {
		return anonymousName, sip.Uri{Scheme: "sip", User: anonymous, Host: anonymousHost}
	}
	return display(who.Display), sip.Uri{Scheme: "sip", User: who.Extension, Host: c.s.stack.Domain()}
}

// shown is the party as its peer's phone, and whoever watches that phone, may show it.
func (who identity) shown() identity {
	if who.Private {
		return hidden
	}
	return who
}

// hidden is a party that nobody may know.
var hidden = identity{Extension: anonymous, Display: anonymousName, Private: true} //nolint:gochecknoglobals // a constant

// contactUser is the user part of our Contact on behalf of a party.
func (who identity) contactUser() string {
	if who.Private {
		return anonymous
	}
	return who.Extension
}

// anonymise removes what else gives a caller away.
func (who identity) anonymise(req *sip.Request) {
	if !who.Private {
		return
	}
	for _, name := range []string{"User-Agent", "Subject", "Date", "Organization", "Reply-To", "In-Reply-To", "Referred-By"} {
		for req.RemoveHeader(name) {
		}
	}
}

// note keeps what a message of the phone says about itself.
func (l *leg) note(msg sip.Message) {
	if private, known := withholds(msg); known {
		l.Private = private
	}
	if agent := agentOf(msg); agent != "" {
		l.RemoteParty = wantsRemoteParty(agent)
	}
}

// nameAddr writes an extension of ours as RFC 3261 §25.1 name-addr.
func (s *Service) nameAddr(extension, name string) string {
	value := "<sip:" + extension + "@" + s.stack.Domain() + ">"
	if name = display(name); name != "" {
		value = `"` + name + `" ` + value
	}
	return value
}
