package call

import (
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Headers cross the call only if they are listed here. Everything about identity, routing and
// extensions is written anew on each side: a phone's word about who it is, or that a call be
// answered without a ring (Alert-Info, Call-Info), must not reach another phone.

// throughRequest are the headers that a request in a dialog keeps when it crosses.
var throughRequest = []string{ //nolint:gochecknoglobals // a constant list
	"Content-Type", "Content-Encoding", "Content-Disposition", "Content-Language", "MIME-Version",
	"Accept", "Accept-Language", "Accept-Encoding", "Subject", "Date", "User-Agent",
	"Info-Package", "Event", "Subscription-State", "Reason",
}

// throughInvite is the same for an INVITE that starts a call.
var throughInvite = []string{ //nolint:gochecknoglobals // a constant list
	"Content-Type", "Content-Encoding", "Content-Disposition", "Content-Language", "MIME-Version",
	"Accept-Language", "Subject", "Date", "User-Agent",
}

// throughResponse is the same for responses.
var throughResponse = []string{ //nolint:gochecknoglobals // a constant list
	"Content-Type", "Content-Encoding", "Content-Disposition", "Content-Language", "MIME-Version",
	"Accept", "Accept-Language", "Accept-Encoding", "Retry-After", "Warning", "Reason", "Date",
	"Event", "Unsupported", "Recv-Info",
}

// allowValue is our Allow inside calls. SUBSCRIBE is not in it: it only prolongs what a REFER has made.
const allowValue = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE, NOTIFY, REFER"

// supportedValue are the extensions that we know inside calls.
const supportedValue = reliableTag + ", " + timerTag

// supportedInside is the same where no reliable provisional response is wanted: in a dialog,
// and in the INVITE of a call whose offer it would bring (RFC 3262 §5).
const supportedInside = timerTag

// agent is our User-Agent where none of a phone's crosses.
const agent = "Linehall"

func copyHeaders(from, to sip.Message, names []string) {
	for _, name := range names {
		for _, h := range from.GetHeaders(name) {
			to.AppendHeader(sip.NewHeader(name, h.Value()))
		}
	}
}

// setBody sets the body and, when there is none, removes the headers that describe one.
func setBody(msg sip.Message, body []byte) {
	if len(body) == 0 {
		if r, ok := msg.(interface{ RemoveHeader(string) bool }); ok {
			for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Disposition"} {
				for r.RemoveHeader(name) {
				}
			}
		}
		msg.SetBody(nil)
		return
	}
	if len(msg.GetHeaders("Content-Type")) == 0 {
		msg.AppendHeader(sip.NewHeader("Content-Type", sdpType))
	}
	msg.SetBody(body)
}

const sdpType = "application/sdp"

// isSDP reports whether the body is a session description. A body without a type is taken for
// one (RFC 3261 §20.15 wants the header; old phones forget it).
func isSDP(msg sip.Message) bool {
	if len(msg.Body()) == 0 {
		return false
	}
	types := msg.GetHeaders("Content-Type")
	if len(types) == 0 {
		return true
	}
	kind, _, _ := strings.Cut(types[0].Value(), ";")
	return strings.EqualFold(strings.TrimSpace(kind), sdpType)
}

// description is a message's session description, or nil.
func description(msg sip.Message) []byte {
	if isSDP(msg) {
		return msg.Body()
	}
	return nil
}

// display makes a name safe between the quotes of a From header (RFC 3261 §25.1
// quoted-string); sipgo writes it as it is.
func display(name string) string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// assertedIdentity is a P-Asserted-Identity value (RFC 3325 §9.1).
func (s *Service) assertedIdentity(extension, name string) sip.Header {
	return sip.NewHeader("P-Asserted-Identity", s.nameAddr(extension, name))
}

func setToTag(res *sip.Response, tag string) {
	if to := res.To(); to != nil && tag != "" {
		to.Params.Remove("tag")
		to.Params.Add("tag", tag)
	}
}

func paramTag(params sip.HeaderParams) string {
	value, _ := params.Get("tag")
	return value
}
