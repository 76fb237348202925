package stack

import (
	"context"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// ServeOptions answers OPTIONS outside dialogs (RFC 3261 §11.2) with what we
// allow, accept and support. It is the handler of OPTIONS until Handle says
// otherwise; whoever does hands requests outside dialogs on to it.
func (s *Stack) ServeOptions(_ context.Context, req *Request) {
	res := s.NewResponse(req, sip.StatusOK, "OK")
	res.AppendHeader(sip.NewHeader("Allow", s.Allow()))
	res.AppendHeader(sip.NewHeader("Accept", "application/sdp"))
	res.AppendHeader(sip.NewHeader("Accept-Encoding", "identity"))
	res.AppendHeader(sip.NewHeader("Accept-Language", "en, zh"))
	res.AppendHeader(sip.NewHeader("Supported", s.SupportedTags()))
	for _, h := range s.announced {
		res.AppendHeader(sip.NewHeader(h[0], h[1]))
	}
	res.AppendHeader(sip.NewHeader("Allow-Events", s.AllowedEvents()))
	_ = req.Tx.Respond(res) // the peer asks again when the answer is lost
}

// ServeNotify answers the NOTIFY with Event keep-alive that some phones hold
// their NAT binding with; any other event outside a dialog gets 489. It is the
// handler of NOTIFY until Handle says otherwise.
func (s *Stack) ServeNotify(_ context.Context, req *Request) {
	event := ""
	if h := req.GetHeader("Event"); h != nil {
		event, _, _ = strings.Cut(h.Value(), ";")
	}
	res := s.NewResponse(req, sip.StatusOK, "OK")
	switch {
	case strings.EqualFold(strings.TrimSpace(event), "keep-alive"):
	case req.InDialog():
		res = s.NewResponse(req, sip.StatusCallTransactionDoesNotExists, "Call/Transaction Does Not Exist")
	default:
		res = s.NewResponse(req, 489, "Bad Event") // RFC 6665 §8.2.1
		res.AppendHeader(sip.NewHeader("Allow-Events", s.AllowedEvents()))
	}
	_ = req.Tx.Respond(res) // the peer repeats its request when the answer is lost
}
