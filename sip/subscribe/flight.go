package subscribe

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// launch sends a notice and lets a goroutine of the service's wait for the answer. There are at
// most Limits.PerPhone of them per phone.
func (s *Service) launch(ctx context.Context, n *notice) {
	req := s.request(n)
	if s.stack.Alive(n.flow) {
		tx, err := s.stack.Request(ctx, req, n.flow)
		s.work.Go(func() { s.fly(ctx, n, req, n.flow, tx, err) })
		return
	}
	s.work.Go(func() {
		flow, err := s.reach(ctx, n)
		var tx *stack.ClientTx
		if err == nil {
			s.retarget(req, n, flow)
			tx, err = s.stack.Request(ctx, req, flow)
		}
		s.fly(ctx, n, req, flow, tx, err)
	})
}

// fly waits for the answer, and answers a challenge once: some phones authenticate who tells
// them something with the credentials of the line (Cisco).
func (s *Service) fly(ctx context.Context, n *notice, req *sip.Request, flow stack.Flow, tx *stack.ClientTx, err error) {
	defer observe.Recover(s.log, s.o.Panics, "notify")
	v, after, res := s.await(ctx, tx, err)
	if v == challenged {
		v, after = s.again(ctx, n, req, flow, res)
	}
	s.metrics.notifies.WithLabelValues(n.sub.event, verdictLabel(v)).Inc()
	s.landed(n, v, after, flow)
}

func (s *Service) await(ctx context.Context, tx *stack.ClientTx, err error) (verdict, time.Duration, *sip.Response) {
	if err != nil {
		return lost(err), 0, nil
	}
	defer tx.Terminate()
	patience := time.NewTimer(s.limits.Patience)
	defer patience.Stop()
	for {
		select {
		case res := <-tx.Responses():
			switch {
			case res == nil:
				return lost(tx.Err()), 0, nil
			case !res.IsProvisional():
				v, after := judge(res)
				return v, after, res
			}
		case <-patience.C:
			return busy, 0, nil
		case <-ctx.Done():
			return busy, 0, nil
		}
	}
}

// lost is what an error of the transport means. Without a connection nothing can be sent until
// the phone is back; a datagram that could not leave may do so next time.
func lost(err error) verdict {
	if errors.Is(err, stack.ErrFlowGone) {
		return gone
	}
	return busy
}

// judge follows RFC 6665 §4.2.2: these codes, among others that a NOTIFY can get, end a
// subscription; anything else may be over in a moment.
func judge(res *sip.Response) (verdict, time.Duration) {
	switch code := res.StatusCode; {
	case code < 300:
		return delivered, 0
	case code == 401 || code == 407:
		return challenged, 0
	case code == 404, code == 405, code == 410, code == 416, code >= 480 && code <= 485, code == 489, code == 501, code == 604:
		return unknown, 0
	default:
		return busy, retryAfter(res)
	}
}

// longestRetry bounds what a phone may ask for.
const longestRetry = 5 * time.Minute

func retryAfter(res *sip.Response) time.Duration {
	h := res.GetHeader("Retry-After")
	if h == nil {
		return 0
	}
	text, _, _ := strings.Cut(h.Value(), ";")
	text, _, _ = strings.Cut(text, "(")
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, longestRetry)
}

// again repeats a challenged NOTIFY with credentials: the same document, the next CSeq.
func (s *Service) again(ctx context.Context, n *notice, req *sip.Request, flow stack.Flow, res *sip.Response) (verdict, time.Duration) {
	if _, known := s.o.Directory.ByExtension(n.sub.owner); !known {
		return unknown, 0
	}
	header, values := s.answers(ctx, n.sub.owner, req, res)
	for range values {
		s.mu.Lock()
		seq, ok := n.sub.cseq.next()
		s.mu.Unlock()
		if !ok {
			return busy, 0
		}
		tx, err := s.repeat(ctx, req, flow, seq, header, values[0])
		v, after, answer := s.await(ctx, tx, err)
		if v != challenged {
			return v, after
		}
		// A nonce may be good for one answer only: the other password answers the new one.
		if header, values = s.answers(ctx, n.sub.owner, req, answer); len(values) < 2 {
			break
		}
		values = values[1:]
	}
	return busy, s.limits.LongestBackoff // it does not know our passwords: asking again would lock us out
}

// reach finds the way to a phone whose connection is gone: the connection that it has now, or
// one that we open to where it listens.
func (s *Service) reach(ctx context.Context, n *notice) (stack.Flow, error) {
	s.mu.Lock()
	target := n.sub.dialog.Target
	s.mu.Unlock()
	if b, ok := s.present(n.sub.owner, target, n.flow); ok {
		return b.Flow, nil
	}
	var uri sip.Uri
	if err := sip.ParseUri(target, &uri); err == nil {
		if remote, ok := stack.DialBack(n.flow, &uri); ok {
			return s.stack.Dial(ctx, stack.TCP, remote) //nolint:wrapcheck // names what it dialled
		}
	}
	return n.flow, stack.ErrFlowGone
}

// present finds the binding of the phone that subscribed: the same contact, else the same
// address, because an extension may have several phones.
func (s *Service) present(extension, target string, before stack.Flow) (location.Binding, bool) {
	bindings := s.o.Locations.Lookup(s.aor(extension))
	for _, b := range bindings {
		if b.Contact == target && b.Flow.Stream() == before.Stream() && s.stack.Alive(b.Flow) {
			return b, true
		}
	}
	for _, b := range bindings {
		if sameHost(b.Flow.Remote, before.Remote) && b.Flow.Stream() == before.Stream() && s.stack.Alive(b.Flow) {
			return b, true
		}
	}
	return location.Binding{}, false
}

func sameHost(a, b netip.AddrPort) bool { return a.Addr() == b.Addr() }

// retarget follows a phone that came back under another contact: its Request-URI is where it
// listens now.
func (s *Service) retarget(req *sip.Request, n *notice, flow stack.Flow) {
	if n.flow == flow || len(req.GetHeaders("Route")) > 0 {
		return
	}
	for _, b := range s.o.Locations.Lookup(s.aor(n.sub.owner)) {
		if b.Flow != flow {
			continue
		}
		if uri, err := b.RequestURI(); err == nil {
			req.Recipient = uri
		}
		break
	}
	for req.RemoveHeader("Contact") {
	}
	req.AppendHeader(&sip.ContactHeader{Address: s.stack.ContactURI(flow, n.sub.resource)})
}

func verdictLabel(v verdict) string {
	switch v {
	case delivered:
		return "delivered"
	case unknown:
		return "unknown"
	case gone:
		return "gone"
	default:
		return "unanswered"
	}
}
