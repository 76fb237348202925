package subscribe

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// ServeMessage is the handler of MESSAGE outside of calls (RFC 3428): from one extension to all
// phones of another, never to a trunk. Nothing is stored: 200 means that a phone has it, 202
// that none has answered yet, 480 that there is none.
func (s *Service) ServeMessage(ctx context.Context, req *stack.Request) {
	if len(req.Body()) > s.limits.MessageBytes {
		s.respond(req, s.refusal(req, sip.StatusRequestEntityTooLarge, "Message Too Large"))
		return
	}
	from, challenge := s.o.Auth.Check(req)
	if challenge != nil {
		s.respond(req, challenge)
		return
	}
	to, known := s.o.Directory.ByExtension(req.Recipient.User)
	if !known || !to.MayRegister() || !s.ours(req.Recipient.Host) {
		s.respond(req, s.refusal(req, sip.StatusNotFound, "No Such Extension"))
		return
	}
	bindings := s.o.Locations.Lookup(s.aor(to.Extension))
	if len(bindings) == 0 {
		s.respond(req, s.refusal(req, sip.StatusTemporarilyUnavailable, "Not Registered"))
		return
	}
	code, reason := s.deliver(ctx, req, from, to, bindings)
	s.metrics.messages.WithLabelValues(messageLabel(code)).Inc()
	s.respond(req, s.refusal(req, code, reason))
}

// deliver sends the message to all contacts and returns the answer: the first 2xx, else the best
// failure.
func (s *Service) deliver(ctx context.Context, req *stack.Request, from, to directory.Terminal, bindings []location.Binding) (code int, reason string) {
	// The transactions go on behind a 202; they end within Timer F, or with the service.
	results := make(chan *sip.Response, len(bindings))
	for _, b := range bindings {
		out, err := s.messageTo(req, from, to, b)
		if err != nil {
			results <- nil
			continue
		}
		if !s.begin(func(running context.Context) { results <- s.carry(running, out, b) }) { //nolint:contextcheck // it outlives the request
			return sip.StatusServiceUnavailable, "Service Unavailable"
		}
	}
	patience := time.NewTimer(s.limits.MessageTime)
	defer patience.Stop()
	code, reason = sip.StatusTemporarilyUnavailable, "Temporarily Unavailable"
	for range bindings {
		select {
		case res := <-results:
			if res != nil && res.StatusCode < 300 {
				return sip.StatusOK, "OK"
			}
			if res != nil && passable(res.StatusCode) {
				code, reason = res.StatusCode, res.Reason
			}
		case <-patience.C:
			return sip.StatusAccepted, "Accepted"
		case <-ctx.Done():
			return sip.StatusServiceUnavailable, "Service Unavailable"
		}
	}
	return code, reason
}

// passable are the failures that say something about the message or the person, not about the
// way to the phone.
func passable(code int) bool {
	switch code {
	case 413, 415, 480, 486, 488, 600, 603, 606:
		return true
	}
	return false
}

func (s *Service) messageTo(req *stack.Request, from, to directory.Terminal, b location.Binding) (*sip.Request, error) {
	uri, err := b.RequestURI()
	if err != nil {
		return nil, err //nolint:wrapcheck // names contact and AOR
	}
	out := sip.NewRequest(sip.MESSAGE, uri)
	for _, p := range b.Path {
		var route sip.Uri
		if err := sip.ParseUri(p, &route); err == nil {
			out.AppendHeader(&sip.RouteHeader{Address: route})
		}
	}
	domain := s.stack.Domain()
	out.AppendHeader(&sip.FromHeader{
		DisplayName: quotable(from.DisplayName), Address: sip.Uri{Scheme: "sip", User: from.Extension, Host: domain},
		Params: sip.HeaderParams{{K: "tag", V: stack.NewTag()}},
	})
	out.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: to.Extension, Host: domain}})
	id := sip.CallIDHeader(stack.NewTag())
	out.AppendHeader(&id)
	out.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.MESSAGE})
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Disposition", "Content-Language", "Subject", "Date"} {
		for _, h := range req.GetHeaders(name) {
			out.AppendHeader(sip.NewHeader(name, h.Value()))
		}
	}
	out.SetBody(req.Body())
	return out, nil
}

// carry brings a message to one contact and returns the final response, or nil.
func (s *Service) carry(ctx context.Context, out *sip.Request, b location.Binding) *sip.Response {
	defer observe.Recover(s.log, s.o.Panics, "message")
	flow := b.Flow
	if remote, ok := b.DialBack(); ok && !s.stack.Alive(flow) {
		var err error
		if flow, err = s.stack.Dial(ctx, flow.Transport, remote); err != nil {
			return nil
		}
	}
	tx, err := s.stack.Request(ctx, out, flow)
	if err != nil {
		s.log.Debug("message not sent", slog.String(observe.Contact, b.Contact), slog.Any(observe.Err, err))
		return nil
	}
	defer tx.Terminate()
	for {
		select {
		case res := <-tx.Responses():
			if res == nil || !res.IsProvisional() {
				return res
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// quotable makes a name safe between the quotes of a From header (RFC 3261 §25.1); sipgo writes
// it as it is.
func quotable(name string) string {
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

// hostPort is the address a URI names, if its host is one.
func hostPort(uri *sip.Uri) (netip.AddrPort, bool) {
	addr, err := netip.ParseAddr(strings.Trim(uri.Host, "[]"))
	port := uri.Port
	if port == 0 {
		port = sip.DefaultUdpPort
	}
	if err != nil || port < 1 || port > 65535 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}

func messageLabel(code int) string {
	switch code {
	case sip.StatusOK:
		return "delivered"
	case sip.StatusAccepted:
		return "unanswered"
	}
	return "refused"
}
