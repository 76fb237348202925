package subscribe

import (
	"context"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// Many phones want their message lamp without asking for it: an unsolicited NOTIFY after they
// register and when a mailbox changes. It is sent to extensions that have a mailbox and are not
// subscribed; phones that do not want it say so and nothing follows.

// offerSummary sends one; mu is held.
func (s *Service) offerSummary(extension string) {
	if _, has := s.o.Mailboxes.Messages(extension); !has || s.ctx == nil || len(s.watching[topic{eventSummary, extension}]) > 0 {
		return
	}
	if s.offering[extension] { // one at a time; the newest counts are read when it leaves
		s.offerAgain[extension] = true
		return
	}
	s.offering[extension] = true
	ctx := s.ctx
	s.work.Go(func() { s.offer(ctx, extension) })
}

func (s *Service) offer(ctx context.Context, extension string) {
	defer observe.Recover(s.log, s.o.Panics, "message summary")
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.offering, extension)
		if s.offerAgain[extension] {
			delete(s.offerAgain, extension)
			s.board.mark(extension, aspectMessages)
		}
	}()
	for _, b := range s.o.Locations.Lookup(s.aor(extension)) {
		req, err := s.unsolicited(extension, b)
		if err != nil {
			continue
		}
		tx, err := s.stack.Request(ctx, req, b.Flow)
		v, _, _ := s.await(ctx, tx, err)
		s.metrics.notifies.WithLabelValues("unsolicited", verdictLabel(v)).Inc()
	}
}

func (s *Service) unsolicited(extension string, b location.Binding) (*sip.Request, error) {
	uri, err := b.RequestURI()
	if err != nil {
		return nil, err //nolint:wrapcheck // names contact and AOR
	}
	aor := sip.Uri{Scheme: "sip", User: extension, Host: s.stack.Domain()}
	req := sip.NewRequest(sip.NOTIFY, uri)
	for _, p := range b.Path {
		var route sip.Uri
		if err := sip.ParseUri(p, &route); err == nil {
			req.AppendHeader(&sip.RouteHeader{Address: route})
		}
	}
	req.AppendHeader(&sip.FromHeader{Address: aor, Params: sip.HeaderParams{{K: "tag", V: stack.NewTag()}}})
	req.AppendHeader(&sip.ToHeader{Address: *aor.Clone()})
	id := sip.CallIDHeader(stack.NewTag())
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.NOTIFY})
	req.AppendHeader(&sip.ContactHeader{Address: s.stack.ContactURI(b.Flow, extension)})
	req.AppendHeader(sip.NewHeader("Event", eventSummary))
	req.AppendHeader(sip.NewHeader("Subscription-State", "active"))
	req.AppendHeader(sip.NewHeader("Content-Type", summaryType))
	m, _ := s.o.Mailboxes.Messages(extension)
	req.SetBody(summary("sip:"+extension+"@"+s.stack.Domain(), m))
	return req, nil
}
