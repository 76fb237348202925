// Package stacktest helps to test what uses sip/stack: a peer that speaks raw
// SIP over real sockets, and a network of datagrams in memory for tests that
// run under testing/synctest. It shares no code with the stack: what a peer
// reads and writes is plain text.
//
//	p := stacktest.DialUDP(t, s.Listeners()[0].Address)
//	p.Send("OPTIONS sip:x@127.0.0.1 SIP/2.0", "Max-Forwards: 70", ...)
//	res := p.Await(func(m stacktest.Message) bool { return m.Code == 200 })
package stacktest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// patience is how long a peer waits for what must come; tests fail beyond it.
const patience = 10 * time.Second

// Message is a SIP message as text.
type Message struct {
	Start  string // the start line
	Method string // of a request
	Code   int    // of a response
	Lines  []string
	Body   string
	Raw    string
}

// Header returns the value of the first header of that name, or "".
func (m Message) Header(name string) string {
	if all := m.Headers(name); len(all) > 0 {
		return all[0]
	}
	return ""
}

// Headers returns the values of all headers of that name, in order.
func (m Message) Headers(name string) []string {
	var out []string
	for _, l := range m.Lines {
		n, v, ok := strings.Cut(l, ":")
		if ok && strings.EqualFold(strings.TrimSpace(n), name) {
			out = append(out, strings.TrimSpace(v))
		}
	}
	return out
}

// Tag returns the tag parameter of the first header of that name.
func (m Message) Tag(name string) string {
	_, tag, _ := strings.Cut(m.Header(name), ";tag=")
	tag, _, _ = strings.Cut(tag, ";")
	return tag
}

// Parse reads one message; it does not judge it.
func Parse(raw string) Message {
	head, body, _ := strings.Cut(raw, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	m := Message{Start: lines[0], Lines: lines[1:], Body: body, Raw: raw}
	fields := strings.Fields(lines[0])
	if len(fields) > 1 && strings.HasPrefix(fields[0], "SIP/") {
		m.Code, _ = strconv.Atoi(fields[1])
	} else if len(fields) > 0 {
		m.Method = fields[0]
	}
	return m
}

// Peer is one SIP endpoint of a test: a UDP socket or a connection.
type Peer struct {
	tb     testing.TB
	conn   net.Conn
	read   *bufio.Reader // of a stream
	Name   string        // transport in the Via
	Local  netip.AddrPort
	Remote netip.AddrPort
	Socket *websocket.Conn // of DialWS
}

// DialUDP returns a peer that talks to addr over UDP from a port of its own.
func DialUDP(tb testing.TB, addr netip.AddrPort) *Peer {
	tb.Helper()
	return DialUDPFrom(tb, netip.AddrPort{}, addr)
}

// DialUDPFrom is DialUDP from a given address (port 0: any).
func DialUDPFrom(tb testing.TB, from, addr netip.AddrPort) *Peer {
	tb.Helper()
	var local *net.UDPAddr
	if from.IsValid() {
		local = net.UDPAddrFromAddrPort(from)
	}
	conn, err := net.DialUDP("udp", local, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		tb.Fatal(err)
	}
	return newPeer(tb, conn, "UDP")
}

// DialTCP returns a peer on a TCP connection.
func DialTCP(tb testing.TB, addr netip.AddrPort) *Peer {
	tb.Helper()
	return DialTCPFrom(tb, netip.AddrPort{}, addr)
}

// DialTCPFrom is DialTCP from a given address (port 0: any).
func DialTCPFrom(tb testing.TB, from, addr netip.AddrPort) *Peer {
	tb.Helper()
	d := net.Dialer{Timeout: patience}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(from)
	}
	conn, err := d.DialContext(tb.Context(), "tcp", addr.String())
	if err != nil {
		tb.Fatal(err)
	}
	return newPeer(tb, conn, "TCP")
}

// DialTLS returns a peer on a TLS connection.
func DialTLS(tb testing.TB, addr netip.AddrPort, config *tls.Config) *Peer {
	tb.Helper()
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: patience}, Config: config}
	conn, err := d.DialContext(tb.Context(), "tcp", addr.String())
	if err != nil {
		tb.Fatal(err)
	}
	return newPeer(tb, conn, "TLS")
}

// DialWS returns a peer on a WebSocket with subprotocol "sip", as a page of origin opens it ("": no browser): each Write
// is one WebSocket message. config is for wss.
func DialWS(tb testing.TB, url, origin string, config *tls.Config) *Peer {
	tb.Helper()
	var raw net.Conn
	transport := &http.Transport{
		TLSClientConfig: config,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var err error
			raw, err = (&net.Dialer{Timeout: patience}).DialContext(ctx, network, addr)
			return raw, err
		},
	}
	tb.Cleanup(transport.CloseIdleConnections)
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	socket, res, err := websocket.Dial(tb.Context(), url, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: header, Subprotocols: []string{"sip"},
	})
	if err != nil {
		tb.Fatalf("%v (%v)", err, res)
	}
	if socket.Subprotocol() != "sip" {
		tb.Fatalf("subprotocol %q", socket.Subprotocol())
	}
	p := newPeer(tb, websocket.NetConn(context.Background(), socket, websocket.MessageText), strings.ToUpper(url[:strings.IndexByte(url, ':')]))
	p.Local, p.Remote, p.Socket = addrPort(raw.LocalAddr()), addrPort(raw.RemoteAddr()), socket
	return p
}

func newPeer(tb testing.TB, conn net.Conn, name string) *Peer {
	tb.Helper()
	tb.Cleanup(func() { _ = conn.Close() })
	p := &Peer{tb: tb, conn: conn, Name: name, Local: addrPort(conn.LocalAddr()), Remote: addrPort(conn.RemoteAddr())}
	if name != "UDP" {
		p.read = bufio.NewReaderSize(conn, 1<<17)
	}
	return p
}

func addrPort(a net.Addr) netip.AddrPort {
	ap, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// Via returns a Via line for this peer.
func (p *Peer) Via(branch string) string {
	return "Via: SIP/2.0/" + p.Name + " " + p.Local.String() + ";rport;branch=z9hG4bK" + branch
}

// Write sends bytes as they are.
func (p *Peer) Write(raw string) {
	p.tb.Helper()
	if _, err := p.conn.Write([]byte(raw)); err != nil {
		p.tb.Fatalf("write: %v", err)
	}
}

// Send sends a start line and headers without a body.
func (p *Peer) Send(lines ...string) {
	p.tb.Helper()
	p.Write(strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n")
}

// Try is Send to somebody who may have closed the connection.
func (p *Peer) Try(lines ...string) error {
	_, err := p.conn.Write([]byte(strings.Join(lines, "\r\n") + "\r\nContent-Length: 0\r\n\r\n"))
	return err //nolint:wrapcheck // the caller has nothing to add
}

// Read returns the next message within d, or false.
func (p *Peer) Read(d time.Duration) (Message, bool) {
	p.tb.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		return Message{}, false
	}
	if p.read != nil {
		return p.readStream()
	}
	buf := make([]byte, 1<<16)
	n, err := p.conn.Read(buf)
	if err != nil {
		return Message{}, false
	}
	return Parse(string(buf[:n])), true
}

func (p *Peer) readStream() (Message, bool) {
	var raw bytes.Buffer
	for {
		line, err := p.read.ReadString('\n')
		if err != nil {
			return Message{}, false
		}
		raw.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	m := Parse(raw.String())
	length, _ := strconv.Atoi(m.Header("Content-Length"))
	body := make([]byte, length)
	if _, err := io.ReadFull(p.read, body); err != nil {
		return Message{}, false
	}
	m.Body, m.Raw = string(body), m.Raw+string(body)
	return m, true
}

// Await returns the first message that fits and fails the test when none comes.
func (p *Peer) Await(fits func(Message) bool) Message {
	p.tb.Helper()
	end := time.Now().Add(patience)
	for time.Now().Before(end) {
		if m, ok := p.Read(time.Until(end)); ok && fits(m) {
			return m
		}
	}
	p.tb.Fatal("the message never came")
	return Message{}
}

// Code awaits a response with that status code.
func (p *Peer) Code(code int) Message {
	p.tb.Helper()
	return p.Await(func(m Message) bool { return m.Code == code })
}

// Final awaits a response of 200 or more.
func (p *Peer) Final() Message {
	p.tb.Helper()
	return p.Await(func(m Message) bool { return m.Code >= 200 })
}

// Request awaits a request with that method.
func (p *Peer) Request(method string) Message {
	p.tb.Helper()
	return p.Await(func(m Message) bool { return m.Method == method })
}

// Silent fails the test when a message arrives within d.
func (p *Peer) Silent(d time.Duration) {
	p.tb.Helper()
	if m, ok := p.Read(d); ok {
		p.tb.Fatalf("unexpected message:\n%s", m.Raw)
	}
}

// Closed fails the test unless the other side closes the connection.
func (p *Peer) Closed() {
	p.tb.Helper()
	_ = p.conn.SetReadDeadline(time.Now().Add(patience)) // a dead connection is what we wait for
	_, err := io.Copy(io.Discard, p.conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		p.tb.Fatal("the connection is still open")
	}
}

// Close closes the peer's socket.
func (p *Peer) Close() { _ = p.conn.Close() }
