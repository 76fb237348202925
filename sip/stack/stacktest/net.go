package stacktest

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"sync"
)

// Net is a network of datagrams in memory, for tests under testing/synctest:
// reading from it blocks durably, so time moves on. The zero value is ready.
type Net struct {
	// Lose decides whether a datagram is lost; nil loses none. Set it before use.
	Lose func(from, to netip.AddrPort, data []byte) bool

	mu      sync.Mutex // guards sockets
	sockets map[netip.AddrPort]*Socket
}

// socketQueue bounds the datagrams that wait in a Socket; more are lost.
const socketQueue = 1024

// Socket is one endpoint of a Net; it implements stack.PacketSocket.
type Socket struct {
	net    *Net
	addr   netip.AddrPort
	queue  chan datagram
	once   sync.Once
	closed chan struct{}
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

// Listen returns the socket of that address.
func (n *Net) Listen(addr string) *Socket {
	s := &Socket{net: n, addr: netip.MustParseAddrPort(addr), queue: make(chan datagram, socketQueue), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sockets == nil {
		n.sockets = make(map[netip.AddrPort]*Socket)
	}
	n.sockets[s.addr] = s
	return s
}

// LocalAddr is the socket's address.
func (s *Socket) LocalAddr() netip.AddrPort { return s.addr }

// ReadFrom blocks until a datagram comes or the socket is closed.
func (s *Socket) ReadFrom(b []byte) (int, netip.AddrPort, netip.Addr, error) {
	select {
	case <-s.closed:
		return 0, netip.AddrPort{}, netip.Addr{}, net.ErrClosed
	case d := <-s.queue:
		return copy(b, d.data), d.from, s.addr.Addr(), nil
	}
}

// WriteTo delivers at once, or loses the datagram when nobody is there.
func (s *Socket) WriteTo(b []byte, to netip.AddrPort, _ netip.Addr) error {
	select {
	case <-s.closed:
		return net.ErrClosed
	default:
	}
	s.net.mu.Lock()
	peer := s.net.sockets[to]
	s.net.mu.Unlock()
	if peer == nil || s.net.Lose != nil && s.net.Lose(s.addr, to, b) {
		return nil
	}
	select {
	case peer.queue <- datagram{s.addr, bytes.Clone(b)}:
	default: // as the kernel does with a full buffer
	}
	return nil
}

// Close ends ReadFrom.
func (s *Socket) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// Recv returns the next message; it blocks until one comes.
func (s *Socket) Recv() Message {
	d := <-s.queue
	return Parse(string(d.data))
}

// Pending takes all messages that have arrived.
func (s *Socket) Pending() []Message {
	var out []Message
	for {
		select {
		case d := <-s.queue:
			out = append(out, Parse(string(d.data)))
		default:
			return out
		}
	}
}

// Send sends a start line and headers without a body to an address.
func (s *Socket) Send(to string, lines ...string) {
	raw := strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"
	_ = s.WriteTo([]byte(raw), netip.MustParseAddrPort(to), netip.Addr{}) // in memory
}

// Answer answers a request with the given status line rest, "200 OK".
func (s *Socket) Answer(to string, req Message, status string) {
	lines := []string{"SIP/2.0 " + status}
	for _, v := range req.Headers("Via") {
		lines = append(lines, "Via: "+v)
	}
	tag := ""
	if !strings.Contains(req.Header("To"), "tag=") && !strings.HasPrefix(status, "100") {
		tag = ";tag=peer"
	}
	s.Send(to, append(lines, "From: "+req.Header("From"), "To: "+req.Header("To")+tag,
		"Call-ID: "+req.Header("Call-ID"), "CSeq: "+req.Header("CSeq"))...)
}
