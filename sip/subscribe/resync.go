package subscribe

import (
	"context"
	"errors"
	"fmt"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/location"
	"linehall/sip/stack"
)

// A phone is told to fetch its configuration by a NOTIFY outside any dialog, with an event of the
// vendor's own (check-sync, resync), no body, and a subscription that ends with it, which makes it
// a valid one (RFC 6665 section 4.1.3).

// ErrNoPhone means that nobody could be told.
var ErrNoPhone = errors.New("not registered")

// Resync sends the event to every phone of the extension and returns when they have taken it. The
// error says which answer one of them gave instead.
func (s *Service) Resync(ctx context.Context, extension, event string) error {
	bindings := s.o.Locations.Lookup(s.aor(extension))
	if len(bindings) == 0 {
		return fmt.Errorf("extension %s: %w", extension, ErrNoPhone)
	}
	var failed []error
	for _, b := range bindings {
		req, err := s.resync(extension, event, b)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		v, res := s.persuade(ctx, extension, req, b.Flow)
		s.metrics.notifies.WithLabelValues("resync", verdictLabel(v)).Inc()
		switch {
		case res == nil:
			failed = append(failed, fmt.Errorf("extension %s: no answer from %s", extension, b.Flow.Remote))
		case v == challenged:
			failed = append(failed, fmt.Errorf("extension %s: %s does not take the line's password for a NOTIFY (%d %s)", extension, b.Flow.Remote, res.StatusCode, res.Reason))
		case !res.IsSuccess():
			failed = append(failed, fmt.Errorf("extension %s: %s answered %d %s", extension, b.Flow.Remote, res.StatusCode, res.Reason))
		}
	}
	return errors.Join(failed...)
}

// persuade sends a NOTIFY and answers the phone's challenge, with each password that it may have: the
// phones of some brands authenticate who tells them to fetch.
func (s *Service) persuade(ctx context.Context, extension string, req *sip.Request, flow stack.Flow) (verdict, *sip.Response) {
	tx, err := s.stack.Request(ctx, req, flow)
	v, _, res := s.await(ctx, tx, err)
	for tried := 0; v == challenged; tried++ {
		header, values := s.answers(ctx, extension, req, res)
		if tried >= len(values) {
			break
		}
		tx, err := s.repeat(ctx, req, flow, uint32(2+tried), header, values[tried]) //nolint:gosec // at most two passwords
		v, _, res = s.await(ctx, tx, err)
	}
	return v, res
}

func (s *Service) resync(extension, event string, b location.Binding) (*sip.Request, error) {
	req, err := s.outside(extension, b)
	if err != nil {
		return nil, err
	}
	req.AppendHeader(sip.NewHeader("Event", event))
	req.AppendHeader(sip.NewHeader("Subscription-State", "terminated"))
	req.AppendHeader(sip.NewHeader("Content-Length", "0"))
	return req, nil
}

// outside is a NOTIFY to a phone that has not asked for it.
func (s *Service) outside(extension string, b location.Binding) (*sip.Request, error) {
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
	return req, nil
}
