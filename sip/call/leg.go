package call

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/site"
	"linehall/sip/dialog"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// leg is one side of a call: a dialog and where it is reached. Its exported fields survive a
// restart.
type leg struct {
	Side      side           `json:"side"`
	Dialog    *dialog.Dialog `json:"dialog"`
	Flow      stack.Flow     `json:"flow"`
	Extension string         `json:"extension"`
	Display   string         `json:"display"`
	Site      site.ID        `json:"site"`
	User      string         `json:"user"`            // user part of our Contact towards this leg
	Trunk     string         `json:"trunk,omitempty"` // it is a gateway of this trunk, Extension a number behind it
	Gateway   string         `json:"gateway,omitempty"`
	TrunkSRTP string         `json:"trunk_srtp,omitempty"` // the policy of the trunk
	Asserted  string         `json:"asserted,omitempty"`   // P-Asserted-Identity towards a gateway; "" for none
	Agreed    []byte         `json:"agreed,omitempty"`     // its session description, as of the last agreed exchange
	Allow     string         `json:"allow,omitempty"`      // the methods it allows, as it said last
	Refers    int            `json:"refers,omitempty"`     // REFERs taken from it
	Timer     sessionTimer   `json:"timer,omitzero"`
	Moves     int            `json:"moves,omitempty"`   // how often one call handed it to another
	Browser   string         `json:"browser,omitempty"` // of a browser that comes from another call: its leg there (anchor.Path.Browser)
	// Private: this party withholds its identity. RemoteParty: its phone shows Remote-Party-ID only.
	Private     bool `json:"private,omitempty"`
	Secure      bool `json:"secure,omitempty"` // its media is SRTP, as of the last answer
	RemoteParty bool `json:"remote_party,omitempty"`

	accept    *acceptance             // our 2xx that waits for this leg's ACK
	acks      map[uint32]*sip.Request // our ACKs to this leg's 2xx, by CSeq, for their repetition
	ended     bool                    // its BYE was sent or received, or another call has it
	asked     bool                    // BYE is wanted as soon as the ACK is there
	reason    string
	raises    int   // 422s to the present request
	successor *call // the call that has it now
	guest     int   // it has joined the call of two others; from 1

	judged  []byte // the Agreed that holding is true of, see holds
	holding bool
}

// place tells the legs of a call apart, in the names of timers: caller, callee, guests.
func (l *leg) place() int {
	if l.guest > 0 {
		return int(callee) + l.guest
	}
	return int(l.Side)
}

// placeBits hold a place.
const placeBits = 3

// keepAcks bounds leg.acks: a 2xx is repeated for 64*T1 after its INVITE, and a leg has one
// INVITE at a time.
const keepAcks = 4

// learn keeps what a message of the phone says that it can do.
func (l *leg) learn(msg sip.Message) {
	l.note(msg)
	if allow := strings.Join(stack.Tokens(msg, "Allow"), ","); allow != "" && len(allow) < longestAllow {
		l.Allow = strings.ToUpper(allow)
	}
}

// longestAllow bounds what is kept of an Allow header; all methods there are take a third.
const longestAllow = 300

// allows reports whether the phone has said that it takes a method.
func (l *leg) allows(m sip.RequestMethod) bool {
	for a := range strings.SplitSeq(l.Allow, ",") {
		if a == string(m) {
			return true
		}
	}
	return false
}

// outgoing is a request of ours that waits for its final response.
type outgoing struct {
	leg     *leg
	req     *sip.Request
	tx      *stack.ClientTx
	respond func(res *sip.Response) // every response
	failed  func(err error)         // the transaction ended without a final one
	cancel  bool                    // asked for before there was a transaction
	because []sip.Header            // of the CANCEL
	// challenged is how often it was sent again with credentials.
	challenged int
	until      time.Time // how long to wait for a phone whose connection is gone
	closed     bool
}

// send sends a request on a leg. When the phone's connection is gone it is retried until the
// phone is back, for as long as Limits.Linger (design 3.1).
func (c *call) send(l *leg, req *sip.Request, respond func(*sip.Response), failed func(error)) *outgoing {
	out := &outgoing{leg: l, req: req, respond: respond, failed: failed, until: time.Now().Add(c.s.limits.Linger)}
	c.pending++
	c.try(out)
	return out
}

// sendNow is send for a phone that must be there: a branch does not wait for it.
func (c *call) sendNow(l *leg, req *sip.Request, respond func(*sip.Response), failed func(error)) *outgoing {
	out := &outgoing{leg: l, req: req, respond: respond, failed: failed}
	c.pending++
	c.try(out)
	return out
}

// localAddr is our address as the phone at the end of a flow knows it.
func (c *call) localAddr(flow stack.Flow) netip.Addr {
	host := strings.Trim(c.s.stack.ContactURI(flow, "").Host, "[]")
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return flow.Local.Addr()
	}
	return addr
}

func (c *call) try(out *outgoing) {
	if out.closed {
		return
	}
	flow := c.flowOf(out.leg)
	if open := c.opener(out.leg, flow, out.req); open != nil {
		c.dial(out.leg, open, func(err error) {
			c.attempt(out, c.flowOf(out.leg), err)
		})
		return
	}
	c.attempt(out, flow, nil)
}

// attempt sends a request over the flow, or takes note that there is none: err is why the
// phone could not be dialled.
func (c *call) attempt(out *outgoing, flow stack.Flow, err error) {
	if out.closed {
		return
	}
	if err == nil && out.cancel && out.req.IsInvite() { // given up while we dialled
		err = stack.ErrFlowGone
	}
	var tx *stack.ClientTx
	if err == nil {
		flow = c.wide(out.req, out.leg, flow)
		c.addContact(out.req, out.leg, flow)
		if out.leg.Trunk != "" && out.leg.Dialog != nil { // the first INVITE was made for the gateway
			out.leg.hide(out.req)
		}
		req := out.req.Clone()
		c.s.translate(req, flow)
		tx, err = c.s.stack.RequestTo(c.ctx, req, flow, c.hears(out))
	}
	c.attempted(out, tx, err)
}

// attempted notes what became of an attempt: a transaction, another attempt later, or nothing.
func (c *call) attempted(out *outgoing, tx *stack.ClientTx, err error) {
	switch {
	case err == nil:
		out.tx = tx
		if out.cancel {
			c.cancelOutgoing(out)
		}
	case errors.Is(err, stack.ErrFlowGone) && time.Now().Before(out.until) && !out.cancel:
		name := timerName{"retry " + string(out.req.Method), int(out.req.CSeq().SeqNo)<<placeBits | out.leg.place()}
		c.arm(name, time.Second, func() { c.try(out) })
	default:
		c.closeOutgoing(out)
		out.failed(err)
	}
}

// hears brings the responses of a transaction, or how it ended without a final one, to the owner. A full mailbox
// loses provisional ones.
func (c *call) hears(out *outgoing) stack.Taker {
	return func(res *sip.Response, err error, r *stack.Reading) {
		most := 0
		if res != nil && res.IsProvisional() {
			most = mailboxLength
		}
		c.bring(msgResponse{out: out, res: res, err: err}, most, r)
	}
}

func (c *call) onResponse(m msgResponse) {
	if m.out.closed {
		return
	}
	if m.res == nil {
		c.closeOutgoing(m.out)
		m.out.failed(m.err)
		return
	}
	if !m.res.IsProvisional() {
		c.closeOutgoing(m.out)
		if c.authorize(m.out, m.res) {
			return
		}
	}
	m.out.respond(m.res)
}

func (c *call) closeOutgoing(out *outgoing) {
	if !out.closed {
		out.closed = true
		c.pending--
	}
}

func (c *call) cancelOutgoing(out *outgoing) {
	out.cancel = true
	if out.closed || out.tx == nil {
		return
	}
	if err := out.tx.Cancel(c.ctx, out.because...); err != nil {
		out.tx.Terminate() // nothing can be sent to it: its end comes through the pump
	}
}

// sendAck acknowledges a leg's 2xx and remembers the ACK for the next repetition of the 2xx.
func (c *call) sendAck(l *leg, seq uint32, body []byte) {
	ack := l.Dialog.Ack(seq)
	setBody(ack, body)
	if l.acks == nil || len(l.acks) >= keepAcks {
		l.acks = map[uint32]*sip.Request{}
	}
	l.acks[seq] = ack
	c.repeatAck(l, seq)
}

func (c *call) repeatAck(l *leg, seq uint32) bool {
	ack := l.acks[seq]
	if ack == nil {
		return false
	}
	if open := c.opener(l, c.flowOf(l), ack); open != nil {
		c.dial(l, open, func(err error) {
			if err == nil {
				c.sendPlain(l, ack)
			}
		})
		return true
	}
	c.sendPlain(l, ack)
	return true
}

func (c *call) sendPlain(l *leg, ack *sip.Request) {
	flow := c.flowOf(l)
	if ack.Via() == nil {
		c.addContact(ack, l, flow)
		c.s.translate(ack, flow)
	}
	if err := c.s.stack.Send(c.ctx, ack, flow); err != nil {
		c.log.Debug("ack not sent", "err", err) // the peer repeats its 2xx
	}
}

// dialBack says where to open a connection for a request whose flow is gone (RFC 3261
// §18.1.1): where the request itself is addressed to, if that is the very address the phone
// was seen at, and no proxy is on the way.
func (c *call) dialBack(flow stack.Flow, req *sip.Request) (netip.AddrPort, bool) {
	if !flow.Stream() || len(req.GetHeaders("Route")) > 0 || c.s.stack.Alive(flow) {
		return netip.AddrPort{}, false
	}
	return stack.DialBack(flow, &req.Recipient)
}

// opener is how a new connection for a request is opened whose flow is gone; nil: there is no need,
// or no way. A gateway's connection is its trunk's to open.
func (c *call) opener(l *leg, flow stack.Flow, req *sip.Request) func(ctx context.Context) (stack.Flow, error) {
	if l.Trunk == "" {
		remote, ok := c.dialBack(flow, req)
		if !ok {
			return nil
		}
		return func(ctx context.Context) (stack.Flow, error) { return c.s.stack.Dial(ctx, stack.TCP, remote) }
	}
	if !flow.Stream() || c.s.o.Trunks == nil || c.s.stack.Alive(flow) {
		return nil
	}
	return func(ctx context.Context) (stack.Flow, error) {
		return c.s.o.Trunks.Reconnect(ctx, l.Trunk, l.Gateway, flow)
	}
}

// dial opens a connection to a leg's phone without keeping the owner waiting; then is called by
// the owner. The call does not end before that.
func (c *call) dial(l *leg, open func(ctx context.Context) (stack.Flow, error), then func(err error)) {
	c.connect(open, func(flow stack.Flow, err error) {
		if err == nil {
			l.Flow = flow
			c.dirty()
		}
		then(err)
	})
}

// flowOf is where the leg's phone is reached now. A UDP flow needs no connection; of a stream
// that is gone, the phone's present binding takes the place: the one at the same address
// first, because a person may have several phones.
func (c *call) flowOf(l *leg) stack.Flow {
	if !l.Flow.Stream() || c.s.stack.Alive(l.Flow) {
		return l.Flow
	}
	bindings, exact := c.bindingsOf(l)
	for _, b := range bindings {
		if (exact || b.Flow.Remote.Addr() == l.Flow.Remote.Addr()) && (!b.Flow.Stream() || c.s.stack.Alive(b.Flow)) {
			l.Flow = b.Flow
			return b.Flow
		}
	}
	return l.Flow
}

// bindings are the present registrations of a leg's phone; a gateway has none.
func (c *call) bindings(l *leg) []location.Binding {
	if l.Trunk != "" {
		return nil
	}
	return c.s.o.Locations.Lookup(c.s.aor(l.Extension))
}

// comesFrom decides whether a request in the leg's dialog may come over this flow, and follows
// the phone when it has a new one. The tags are the dialog's secret, but travel in clear over
// UDP: another host that knows them is still not the phone.
func (c *call) comesFrom(l *leg, flow stack.Flow) bool {
	if flow == l.Flow {
		return true
	}
	known := flow.Remote.Addr() == l.Flow.Remote.Addr()
	for _, b := range c.bindings(l) {
		known = known || b.Flow == flow
	}
	if !known {
		return false
	}
	if l.Flow.Stream() == flow.Stream() && (!l.Flow.Stream() || !c.s.stack.Alive(l.Flow)) {
		l.Flow = flow // a new connection, or a new port behind a NAT
	}
	return true
}

// addContact sets our Contact for a request that may form or refresh a dialog.
func (c *call) addContact(req *sip.Request, l *leg, flow stack.Flow) {
	for req.RemoveHeader("Contact") {
	}
	switch req.Method {
	case sip.INVITE, sip.UPDATE, sip.ACK, sip.OPTIONS, sip.NOTIFY:
		req.AppendHeader(&sip.ContactHeader{Address: c.s.stack.ContactURI(flow, l.User)})
	default:
	}
}

// withoutCancel is for work that must finish although the call's context may have ended.
func withoutCancel(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
