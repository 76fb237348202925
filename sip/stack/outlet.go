package stack

import (
	"bytes"
	"net/netip"
	"sync"

	"github.com/emiago/sipgo/sip"
)

// outlet is one way out of the stack, bound to a flow. It does not look at a
// message's destination, so a message can only leave where it belongs. Writing
// never blocks for long: a datagram goes to the kernel, a stream has its own writer.
type outlet struct {
	flow   Flow
	socket *udpSocket // UDP
	to     netip.AddrPort
	conn   *streamConn // streams
}

// outletFor finds the way out of a flow; it never opens one.
func (s *Stack) outletFor(f Flow) (*outlet, error) {
	if f.Transport == UDP {
		if u := s.socketFor(f); u != nil && f.Remote.IsValid() {
			return &outlet{flow: f, socket: u, to: f.Remote}, nil
		}
		return nil, ErrFlowGone
	}
	if c := s.conns.get(f); c != nil {
		return &outlet{flow: f, conn: c}, nil
	}
	return nil, ErrFlowGone
}

// Alive reports whether a message can leave over the flow: streams live as long
// as their connection, UDP as long as a socket fits.
func (s *Stack) Alive(f Flow) bool {
	_, err := s.outletFor(f)
	return err == nil
}

// KeepAlive sends the empty datagram, or the empty lines of a stream, that hold a
// flow's way open (RFC 5626 §3.5.1). Phones may answer it as a ping.
func (s *Stack) KeepAlive(f Flow) error {
	out, err := s.outletFor(f)
	if err != nil {
		return err
	}
	return out.writeRaw([]byte("\r\n\r\n"))
}

// WriteMsg sends a message.
func (o *outlet) WriteMsg(msg sip.Message) error {
	if o.conn != nil {
		_, err := o.send(msg)
		return err
	}
	if o.unwanted(msg) {
		return nil
	}
	buf := writeBuffers.Get().(*bytes.Buffer) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer writeBuffers.Put(buf)
	buf.Reset()
	msg.StringWrite(buf)
	if !intact(msg, buf.Bytes()) {
		return ErrInjected
	}
	o.show(buf.Bytes())
	return o.socket.write(buf.Bytes(), o.to, o.flow.Local.Addr())
}

// unwanted reports whether a response would go to somebody who is kept out since he asked.
func (o *outlet) unwanted(msg sip.Message) bool {
	if _, response := msg.(*sip.Response); !response || !o.stack().admit.keptOut(o.flow.Remote, o.flow.Transport) {
		return false
	}
	o.stack().opts.Dropped.Count(o.flow.listener(), string(banned))
	return true
}

// send sends a message and returns its text, which must not be changed; it is empty for one that nobody shall get.
func (o *outlet) send(msg sip.Message) ([]byte, error) {
	text, err := o.text(msg)
	if text == nil {
		return nil, err
	}
	return text, o.writeRaw(text)
}

// text is a message as it leaves, for writeRaw; it is nil for one that nobody shall get.
func (o *outlet) text(msg sip.Message) ([]byte, error) {
	if o.unwanted(msg) {
		return nil, nil
	}
	buf := writeBuffers.Get().(*bytes.Buffer) //nolint:errcheck,forcetypeassert // the pool holds nothing else
	defer writeBuffers.Put(buf)
	buf.Reset()
	msg.StringWrite(buf)
	if !intact(msg, buf.Bytes()) {
		return nil, ErrInjected
	}
	return bytes.Clone(buf.Bytes()), nil
}

// intact reports whether the text has one line per header: a value with a line
// end in it, from an API or another peer, would add headers of its own.
func intact(msg sip.Message, text []byte) bool {
	m, ok := msg.(interface{ Headers() []sip.Header })
	if !ok {
		return false
	}
	head, _, ok := bytes.Cut(text, []byte("\r\n\r\n"))
	lines := len(m.Headers())
	return ok && bytes.Count(head, []byte("\r\n")) == lines &&
		bytes.Count(head, []byte("\n")) == lines && bytes.Count(head, []byte("\r")) == lines
}

// writeRaw sends bytes that are a whole message; b is taken.
func (o *outlet) writeRaw(b []byte) error {
	o.show(b)
	if o.conn != nil {
		return o.conn.send(b)
	}
	return o.socket.write(b, o.to, o.flow.Local.Addr())
}

// show lets the tap see what leaves.
func (o *outlet) show(b []byte) {
	s := o.stack()
	if s.opts.Tap != nil {
		s.opts.Tap.Message(false, o.flow, b)
	}
}

func (o *outlet) stack() *Stack {
	if o.conn != nil {
		return o.conn.stack
	}
	return o.socket.stack
}

// writeBuffers keeps the buffers that messages are written into.
var writeBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}
