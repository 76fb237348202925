package subscribe

import (
	"context"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/location"
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
	req, err := s.outside(extension, b)
	if err != nil {
		return nil, err
	}
	req.AppendHeader(sip.NewHeader("Event", eventSummary))
	req.AppendHeader(sip.NewHeader("Subscription-State", "active"))
	req.AppendHeader(sip.NewHeader("Content-Type", summaryType))
	m, _ := s.o.Mailboxes.Messages(extension)
	req.SetBody(summary("sip:"+extension+"@"+s.stack.Domain(), m))
	return req, nil
}
