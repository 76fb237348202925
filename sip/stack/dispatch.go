package stack

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
)

// defaultMaxForwards is RFC 3261 §20.22's recommendation.
const defaultMaxForwards = 70

// retryAfterSeconds goes with 503: a phone tries again after the burst.
const retryAfterSeconds = 5

// ingest takes one whole message from a reader; data is borrowed. Everything
// up to the start of a handler happens on the reading goroutine, so messages
// of one flow are matched in the order in which they arrived.
func (s *Stack) ingest(data []byte, out *outlet, r *Reading) {
	defer observe.Recover(s.log, s.opts.Panics, "sip reader")
	if !wellFormed(data, s.limits) {
		s.malformed(data, out)
		return
	}
	if s.opts.Tap != nil {
		s.opts.Tap.Message(true, out.flow, data)
	}
	msg, err := s.parser.ParseSIP(data)
	if err != nil {
		s.malformed(data, out)
		return
	}
	if s.heard != nil {
		s.heard(out.flow)
	}
	msg.SetTransport(out.flow.Transport)
	msg.SetSource(out.flow.Remote.String())
	switch m := msg.(type) {
	case *sip.Request:
		normalise(m)
		s.receiveRequest(m, out, r)
	case *sip.Response:
		normalise(m)
		s.receiveResponse(m, out.flow, r)
	}
}

// malformed answers, without state, what the parser refuses but a client may
// still match: RFC 3261 §8.2.7, RFC 4475.
func (s *Stack) malformed(data []byte, out *outlet) {
	s.opts.Dropped.Count(out.flow.listener(), "malformed")
	if res := salvage(data, s.limits, s.opts.Server, out.flow.Remote); res != nil {
		_ = out.writeRaw(res) // the client repeats its request when this is lost
	}
}

func (s *Stack) receiveResponse(res *sip.Response, flow Flow, r *Reading) {
	if len(headersNamed(res, "Via")) != 1 || res.CSeq() == nil || res.StatusCode < 100 || res.StatusCode > 699 {
		// RFC 3261 §8.1.3.3: more than our own Via means that it went astray.
		s.opts.Dropped.Count(flow.listener(), "bad_response")
		return
	}
	key, err := clientKey(res)
	if err != nil {
		s.opts.Dropped.Count(flow.listener(), "bad_response")
		return
	}
	if t := s.clients.get(key); t != nil && complete(res) {
		t.receive(res, r)
		return
	}
	s.strayResponse(res, flow, r)
}

func (s *Stack) strayResponse(res *sip.Response, flow Flow, r *Reading) {
	if s.stray == nil || !complete(res) || !strings.HasPrefix(branchOf(res), sip.RFC3261BranchMagicCookie) {
		s.opts.Dropped.Count(flow.listener(), "stray_response")
		return
	}
	s.stray(res, flow, r)
}

func (s *Stack) receiveRequest(req *sip.Request, out *outlet, r *Reading) {
	via := req.Via()
	if via == nil {
		s.opts.Dropped.Count(out.flow.listener(), "no_via")
		return
	}
	s.markSource(via, out)
	if !complete(req) {
		s.refuseStateless(req, out, missingHeader(req))
		return
	}
	key := serverKey(req, req.Method, out.flow)
	switch {
	case req.IsAck():
		s.receiveAck(req, out, serverKey(req, sip.INVITE, out.flow), r)
		return
	case req.IsCancel():
		s.receiveCancel(req, out, serverKey(req, sip.INVITE, out.flow))
		return
	}
	if t := s.servers.get(key); t != nil {
		_ = t.tx.Receive(req) // a retransmission: the machine repeats its last response
		return
	}
	if why := s.validate(req); why != nil {
		s.refuseStateless(req, out, why)
		return
	}
	unstrict(req)
	h := s.handlers[req.Method]
	switch {
	case h == nil && known(req.Method):
		s.refuseStateless(req, out, &refusal{code: sip.StatusMethodNotAllowed, reason: "Method Not Allowed", headers: [][2]string{{"Allow", s.Allow()}}})
	case h == nil:
		s.refuseStateless(req, out, &refusal{code: sip.StatusNotImplemented, reason: "Not Implemented", headers: [][2]string{{"Allow", s.Allow()}}})
	case s.servers.merged(req, key):
		s.refuseStateless(req, out, &refusal{code: sip.StatusLoopDetected, reason: "Merged Request"})
	case s.servers.size() >= s.limits.Transactions:
		s.opts.Dropped.Count(out.flow.listener(), "overload")
		s.refuseStateless(req, out, &refusal{code: sip.StatusServiceUnavailable, reason: "Service Unavailable"})
	case s.held(req, out, key, h):
	default:
		s.dispatch(h, s.open(req, out, key), r)
	}
}

// held reports whether the gate has taken the request. When it lets it in, the transaction begins at once, so that a
// repeated request finds it, and the handler runs in a goroutine of the stack.
func (s *Stack) held(req *sip.Request, out *outlet, key string, h Handler) bool {
	if s.opts.Gate == nil || req.To().Params.Has("tag") {
		return false
	}
	return !s.opts.Gate.Enter(&Request{Request: req, Flow: out.flow}, key, func() {
		if !s.conns.enlist(s) {
			return
		}
		defer s.work.Done()
		if out.conn != nil && s.conns.get(out.flow) != out.conn {
			return // whoever has waited is gone
		}
		s.dispatchApart(h, s.open(req, out, key))
	})
}

// unstrict undoes what a strict router of RFC 2543 has done on the way to us
// (RFC 3261 §16.4): our own URI, known by its lr parameter, stands in the request
// line, and what the request is for in the last Route.
func unstrict(req *sip.Request) {
	routes := headersNamed(req, "Route")
	if len(routes) == 0 || req.Recipient.User != "" || !req.Recipient.UriParams.Has("lr") {
		return
	}
	last, ok := routes[len(routes)-1].(*sip.RouteHeader)
	if !ok || last.Address.Host == "" {
		return
	}
	req.Recipient = *last.Address.Clone()
	req.Recipient.Headers = nil
	for req.RemoveHeader("Route") {
	}
	for _, r := range routes[:len(routes)-1] {
		req.AppendHeader(r)
	}
}

// open starts the server transaction of a new request.
func (s *Stack) open(req *sip.Request, out *outlet, key string) *Request {
	t := &ServerTx{stack: s, key: key, id: s.opened.Add(1), method: req.Method, flow: out.flow, out: out, tag: newTag()}
	opened := &Request{Request: req, Tx: t, Flow: out.flow}
	if !req.IsInvite() {
		t.tx = &plainTx{t: t}
		s.servers.put(t)
		s.expiries.add(t, expiryGuard)
		return opened
	}
	s.openInvite(t, req)
	if c := s.early.take(key); c != nil {
		s.answerCancel(c.req, c.out, t)
		return nil
	}
	return opened
}

// openInvite starts the machine of an INVITE's server transaction.
func (s *Stack) openInvite(t *ServerTx, req *sip.Request) {
	t.acks = make(chan *sip.Request, 4)
	// 100 and 487 are built from the request while the handler may be changing it.
	t.req, t.merge = skeleton(req), mergeKey(req)
	p := newInviteTx(t)
	t.tx = p
	s.servers.put(t)
	p.start()
}

// dispatch runs a handler, at once or in its own goroutine, in its Call-ID's order; req is nil when there is nothing to
// serve any more.
func (s *Stack) dispatch(h Handler, req *Request, r *Reading) {
	if req != nil && s.order.free(req.CallID().Value()) {
		req.reading = r
		if s.dialogs != nil && req.InDialog() && s.dialogs(req) {
			return
		}
		if s.atOnce[req.Method] && (!req.IsInvite() || r != nil && !r.Pressed()) {
			s.serve(h, req)
			return
		}
		req.reading = nil
	}
	s.dispatchApart(h, req)
}

// dispatchApart runs a handler in its own goroutine.
func (s *Stack) dispatchApart(h Handler, req *Request) {
	if req == nil {
		return
	}
	turn := s.order.enter(req.CallID().Value())
	s.workers.Run(&s.work, func() {
		defer turn.leave()
		turn.wait()
		s.serve(h, req)
	})
}

// serve is the edge of a handler: a panic there ends this request alone.
func (s *Stack) serve(h Handler, req *Request) {
	defer observe.Recover(s.log, s.opts.Panics, "sip "+methodLabel(req.Method))
	done := false
	defer func() {
		if !done && req.Tx.tx != nil {
			of := req.Tx.req
			if of == nil {
				of = req.Request // the handler has lost it
			}
			_ = req.Tx.Respond(s.newResponse(of, req.Tx.tag, sip.StatusInternalServerError, "Server Internal Error"))
		}
	}()
	h(s.ctx, req)
	done = true
}

// receiveAck gives an ACK to its INVITE's transaction when that failed, else to
// the handler of ACK (RFC 3261 §17.1.1.3: the ACK of a 2xx is on its own).
func (s *Stack) receiveAck(req *sip.Request, out *outlet, key string, r *Reading) {
	if t := s.servers.get(key); t != nil {
		if final := t.Final(); final >= 300 {
			_ = t.tx.Receive(req)
			select {
			case t.acks <- req:
			default: // repeated ACKs tell nothing new
			}
			return
		} else if final == 0 {
			s.opts.Dropped.Count(out.flow.listener(), "early_ack")
			return
		}
	}
	h := s.handlers[sip.ACK]
	if h == nil || req.CSeq().MethodName != sip.ACK {
		s.opts.Dropped.Count(out.flow.listener(), "stray_ack")
		return
	}
	s.metrics.answered(sip.ACK, 0)
	done := make(chan struct{})
	close(done)
	t := &ServerTx{stack: s, key: key, method: sip.ACK, flow: out.flow, out: out, done: done}
	s.dispatch(h, &Request{Request: req, Tx: t, Flow: out.flow}, r)
}

// receiveCancel matches a CANCEL (RFC 3261 §9.2). One that overtook its INVITE
// on the way waits for it for T1, after which the peer repeats it anyway.
func (s *Stack) receiveCancel(req *sip.Request, out *outlet, key string) {
	if t := s.servers.get(key); t != nil {
		s.answerCancel(req, out, t)
		return
	}
	none := &refusal{code: sip.StatusCallTransactionDoesNotExists, reason: "Call/Transaction Does Not Exist"}
	held := s.early.hold(key, req, out, func() { s.refuseStateless(req, out, none) })
	if !held {
		s.refuseStateless(req, out, none)
	}
}

func (s *Stack) answerCancel(req *sip.Request, out *outlet, invite *ServerTx) {
	// 200 first: the peer stops repeating the CANCEL before the 487 arrives.
	s.metrics.answered(sip.CANCEL, sip.StatusOK)
	_ = out.WriteMsg(s.newResponse(req, invite.tag, sip.StatusOK, "OK")) // the peer repeats the CANCEL
	invite.cancel(req)
}

// refuseStateless answers without a transaction (RFC 3261 §8.2.7): the tag is a
// function of the request, so that every copy gets the same answer.
func (s *Stack) refuseStateless(req *sip.Request, out *outlet, r *refusal) {
	if req.IsAck() {
		s.opts.Dropped.Count(out.flow.listener(), "bad_ack")
		return
	}
	s.metrics.answered(req.Method, r.code)
	_ = out.WriteMsg(s.refuse(req, s.statelessTag(req), r)) // the client repeats its request
}

func (s *Stack) statelessTag(req *sip.Request) string {
	mac := hmac.New(sha256.New, s.tagKey)
	mac.Write([]byte(branchOf(req)))
	if h := req.CallID(); h != nil {
		mac.Write([]byte(h.Value()))
	}
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

func newTagKey() []byte {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	return key
}

// markSource adds received and, when asked for, rport to the top Via
// (RFC 3261 §18.2.1, RFC 3581 §4) and decides where responses go. Without rport
// they go to the port of the Via only when its host is the real source: behind
// a NAT, or with a name, that port means nothing here, and desk phones that
// neither send rport nor listen where they send from do not exist any more.
func (s *Stack) markSource(via *sip.ViaHeader, out *outlet) {
	source := out.flow.Remote
	via.Params.Add("received", hostTextBare(source.Addr()))
	if _, asked := via.Params.Get("rport"); asked {
		via.Params.Add("rport", strconv.Itoa(int(source.Port())))
		return
	}
	host, err := netip.ParseAddr(strings.Trim(via.Host, "[]"))
	if out.socket == nil || err != nil || host.Unmap() != source.Addr() {
		return
	}
	port := via.Port
	if port == 0 {
		port = sip.DefaultUdpPort
	}
	if port > 0 && port < 1<<16 {
		out.to = netip.AddrPortFrom(source.Addr(), uint16(port))
	}
}

func hostTextBare(a netip.Addr) string { return a.Unmap().WithZone("").String() }

// complete reports whether the headers are there without which a message has
// no identity (RFC 3261 §8.1.1).
func complete(m sip.Message) bool {
	return m.Via() != nil && m.From() != nil && m.To() != nil && m.CallID() != nil && m.CSeq() != nil
}

func missingHeader(m sip.Message) *refusal {
	name := "Call-ID"
	switch {
	case m.CSeq() == nil:
		name = "CSeq"
	case m.From() == nil:
		name = "From"
	case m.To() == nil:
		name = "To"
	}
	return badRequest("Missing " + name)
}

// skeleton copies the headers that responses repeat.
func skeleton(req *sip.Request) *sip.Request {
	k := sip.NewRequest(req.Method, *req.Recipient.Clone())
	for _, name := range []string{"Via", "Record-Route", "Timestamp"} {
		sip.CopyHeaders(name, req, k)
	}
	k.AppendHeader(sip.HeaderClone(req.From()))
	k.AppendHeader(sip.HeaderClone(req.To()))
	k.AppendHeader(sip.HeaderClone(req.CallID()))
	k.AppendHeader(sip.HeaderClone(req.CSeq()))
	k.SetTransport(req.Transport())
	k.SetSource(req.Source())
	return k
}

// serverKey follows RFC 3261 §17.2.3, with the older rule for branches without
// the cookie; ACK and CANCEL are looked up as the INVITE they belong to. The
// source address is part of it: phones of two sites may have the same private
// address, and nobody shall cancel another's call by its branch.
func serverKey(req *sip.Request, method sip.RequestMethod, from Flow) string {
	via := req.Via()
	branch := branchOf(req)
	port := via.Port
	if port == 0 {
		port = sip.DefaultPort(via.Transport)
	}
	var b strings.Builder
	if len(branch) > len(sip.RFC3261BranchMagicCookie) && strings.HasPrefix(branch, sip.RFC3261BranchMagicCookie) {
		b.WriteString(branch)
	} else {
		tag, _ := req.From().Params.Get("tag")
		b.WriteString("2543|" + branch + "|" + tag + "|" + req.CallID().Value() + "|" + strconv.FormatUint(uint64(req.CSeq().SeqNo), 10) + "|" + req.Recipient.String())
	}
	b.WriteByte('|')
	b.WriteString(strings.ToLower(via.Host))
	b.WriteByte(':')
	b.WriteString(strconv.Itoa(port))
	b.WriteByte('|')
	b.WriteString(string(method))
	b.WriteByte('|')
	b.WriteString(from.Remote.Addr().String())
	return b.String()
}

// clientKey follows RFC 3261 §17.1.3.
func clientKey(m sip.Message) (string, error) {
	branch := branchOf(m)
	if branch == "" || m.CSeq() == nil {
		return "", errors.New("no branch or no CSeq")
	}
	return branch + "|" + string(m.CSeq().MethodName), nil
}

func branchOf(m sip.Message) string {
	via := m.Via()
	if via == nil {
		return ""
	}
	branch, _ := via.Params.Get("branch")
	return branch
}

func methodLabel(m sip.RequestMethod) string {
	if known(m) {
		return string(m)
	}
	return "other"
}
