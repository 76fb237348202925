package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Account is one user of the server under test.
type Account struct {
	User, AuthUser, Password, Domain string
}

// agent is one UDP socket with any number of users behind it.
type agent struct {
	conn   *net.UDPConn
	server netip.AddrPort
	local  netip.AddrPort

	mu    sync.Mutex // guards waits
	waits map[string]chan *message

	answer func(invite *message) []byte // nil: ring and answer at once; set before anybody calls
}

var (
	ids         atomic.Uint64 // makes identifiers unique inside this process
	errTimeout  = errors.New("no answer")
	errRejected = errors.New("refused")
)

// unique returns an identifier that no other run on this machine uses.
func unique() string {
	return strconv.FormatInt(processStart, 36) + "x" + strconv.FormatUint(ids.Add(1), 36)
}

var processStart = time.Now().UnixNano() // constant after the start

func newAgent(ctx context.Context, bind netip.Addr, server netip.AddrPort) (*agent, error) {
	return (*network)(nil).newAgent(ctx, bind, server)
}

// newAgent opens an agent in the network of its address.
func (n *network) newAgent(ctx context.Context, bind netip.Addr, server netip.AddrPort) (*agent, error) {
	var conn *net.UDPConn
	if err := n.inside(bind, func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(bind, 0)))
		return err
	}); err != nil {
		return nil, fmt.Errorf("agent: %w", err)
	}
	const buffer = 4 << 20
	_ = conn.SetReadBuffer(buffer) // less is less head-room, not an error
	local := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	a := &agent{conn: conn, server: server, local: netip.AddrPortFrom(local.Addr().Unmap(), local.Port()), waits: make(map[string]chan *message)}
	context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends serve
	go a.serve()
	return a, nil
}

func (a *agent) serve() {
	buf := make([]byte, 65536)
	for {
		n, from, err := a.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m, err := parseMessage(buf[:n])
		if err != nil {
			continue // keep-alives
		}
		if m.request != "" {
			a.request(m, from)
			continue
		}
		a.mu.Lock()
		wait := a.waits[key(m.get("call-id"), m.get("cseq"))]
		a.mu.Unlock()
		if wait != nil {
			select {
			case wait <- m:
			default: // the operation has seen enough
			}
		}
	}
}

func key(callID, cseq string) string { return callID + "|" + strings.Join(strings.Fields(cseq), " ") }

// request is the callee's side: ring and answer at once.
func (a *agent) request(m *message, from netip.AddrPort) {
	var answers [][]byte
	contact := "Contact: <sip:callee@" + a.local.String() + ">\r\n"
	switch m.request {
	case "INVITE":
		if a.answer != nil {
			answers = [][]byte{a.answer(m)}
			break
		}
		tag := "c" + m.get("call-id")[:min(8, len(m.get("call-id")))]
		answers = [][]byte{
			respond(m, "180 Ringing", tag, contact, ""),
			respond(m, "200 OK", tag, contact+"Content-Type: application/sdp\r\n", sdp(a.local)),
		}
	case "ACK":
	default:
		answers = [][]byte{respond(m, "200 OK", "b", "", "")}
	}
	for _, answer := range answers {
		_, _ = a.conn.WriteToUDPAddrPort(answer, from) // a lost answer is repeated when the request is
	}
}

func sdp(local netip.AddrPort) string {
	ip := local.Addr().String()
	return "v=0\r\no=- 1 1 IN IP4 " + ip + "\r\ns=-\r\nc=IN IP4 " + ip + "\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendrecv\r\n"
}

// outgoing is one request of the caller's side.
type outgoing struct {
	method, uri, from, to, callID string
	seq                           int
	extra, body                   string
}

func (a *agent) text(o outgoing) []byte {
	return []byte(o.method + " " + o.uri + " SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP " + a.local.String() + ";branch=z9hG4bK" + o.callID + strconv.Itoa(o.seq) + o.method[:1] + ";rport\r\n" +
		"Max-Forwards: 70\r\nFrom: " + o.from + "\r\nTo: " + o.to + "\r\nCall-ID: " + o.callID + "\r\nCSeq: " + strconv.Itoa(o.seq) + " " + o.method + "\r\n" +
		o.extra + "Content-Length: " + strconv.Itoa(len(o.body)) + "\r\n\r\n" + o.body)
}

func (a *agent) send(o outgoing) {
	_, _ = a.conn.WriteToUDPAddrPort(a.text(o), a.server) // lost or not, the operation's timers decide
}

// exchange sends a request and waits for its final answer, repeating it as Timer E does. provisional, if not nil, is
// called once for the first answer above 100.
func (a *agent) exchange(ctx context.Context, o outgoing, provisional func()) (*message, error) {
	wait := make(chan *message, 8)
	k := key(o.callID, strconv.Itoa(o.seq)+" "+o.method)
	a.mu.Lock()
	a.waits[k] = wait
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.waits, k)
		a.mu.Unlock()
	}()
	a.send(o)
	const t1, patience = 500 * time.Millisecond, 8 * time.Second
	limit := time.NewTimer(patience)
	defer limit.Stop()
	interval := t1
	again := time.NewTimer(interval)
	defer again.Stop()
	for {
		select {
		case m := <-wait:
			if m.status >= 200 {
				return m, nil
			}
			again.Stop()
			if m.status > 100 && provisional != nil {
				provisional()
				provisional = nil
			}
		case <-again.C:
			a.send(o)
			interval *= 2
			again.Reset(interval)
		case <-limit.C:
			return nil, fmt.Errorf("%s: %w", o.method, errTimeout)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// register performs one authenticated registration: two requests.
func (a *agent) register(ctx context.Context, who Account) error {
	o := outgoing{
		method: "REGISTER", uri: "sip:" + who.Domain, callID: unique(), seq: 1,
		from: "<sip:" + who.User + "@" + who.Domain + ">;tag=" + unique(), to: "<sip:" + who.User + "@" + who.Domain + ">",
	}
	contact := "Contact: <sip:" + who.User + "@" + a.local.String() + ">\r\nExpires: 3600\r\n"
	o.extra = contact
	m, err := a.exchange(ctx, o, nil)
	if err != nil {
		return err
	}
	if m.status == 401 {
		o.seq++
		o.extra = contact + "Authorization: " + authorization(m.get("www-authenticate"), o.method, o.uri, who.AuthUser, who.Password) + "\r\n"
		if m, err = a.exchange(ctx, o, nil); err != nil {
			return err
		}
	}
	if m.status != 200 {
		return fmt.Errorf("REGISTER: %w: %d", errRejected, m.status)
	}
	return nil
}

// call performs one call to a number from INVITE to BYE and returns the delay to the first ringing.
func (a *agent) call(ctx context.Context, who Account, number string, hold time.Duration) (ringing time.Duration, err error) {
	started := time.Now()
	o, m, credentials, err := a.invite(ctx, who, number, sdp(a.local), func() { ringing = time.Since(started) })
	if err != nil {
		return 0, err
	}
	if ringing == 0 { // the 200 overtook the 180
		ringing = time.Since(started)
	}
	return ringing, a.finish(ctx, o, m, credentials, hold)
}

// invite calls a number, with credentials when it is asked for them, and returns the 200.
func (a *agent) invite(ctx context.Context, who Account, number, body string, rang func()) (o outgoing, m *message, credentials string, err error) {
	o = outgoing{
		method: "INVITE", uri: "sip:" + number + "@" + who.Domain, callID: unique(), seq: 1, body: body,
		from: "<sip:" + who.User + "@" + who.Domain + ">;tag=" + unique(), to: "<sip:" + number + "@" + who.Domain + ">",
	}
	contact := "Contact: <sip:" + who.User + "@" + a.local.String() + ">\r\nContent-Type: application/sdp\r\n"
	o.extra = contact
	if m, err = a.exchange(ctx, o, rang); err != nil {
		return o, nil, "", err
	}
	if m.status == 401 || m.status == 407 {
		a.acknowledge(o, m)
		o.seq++
		if m.status == 401 {
			credentials = "Authorization: " + authorization(m.get("www-authenticate"), o.method, o.uri, who.AuthUser, who.Password) + "\r\n"
		} else {
			credentials = "Proxy-Authorization: " + authorization(m.get("proxy-authenticate"), o.method, o.uri, who.AuthUser, who.Password) + "\r\n"
		}
		o.extra = contact + credentials
		if m, err = a.exchange(ctx, o, rang); err != nil {
			return o, nil, "", err
		}
	}
	if m.status != 200 {
		a.acknowledge(o, m)
		return o, nil, "", fmt.Errorf("INVITE: %w: %d", errRejected, m.status)
	}
	return o, m, credentials, nil
}

// acknowledge sends the ACK to a refusal: same transaction as the INVITE (RFC 3261 §17.1.1.3).
func (a *agent) acknowledge(o outgoing, m *message) {
	ack := o
	ack.to, ack.extra, ack.body = m.get("to"), "", ""
	text := string(a.text(ack))
	text = strings.Replace(text, "INVITE "+o.uri, "ACK "+o.uri, 1)
	text = strings.Replace(text, strconv.Itoa(o.seq)+" INVITE", strconv.Itoa(o.seq)+" ACK", 1)
	_, _ = a.conn.WriteToUDPAddrPort([]byte(text), a.server) // repeated with the refusal
}

// finish acknowledges the 200, holds, and hangs up along the recorded route.
func (a *agent) finish(ctx context.Context, o outgoing, ok *message, credentials string, hold time.Duration) error {
	var routes strings.Builder
	for _, recorded := range slices.Backward(ok.all("record-route")) {
		routes.WriteString("Route: " + recorded + "\r\n")
	}
	in := outgoing{method: "ACK", uri: address(ok.get("contact")), from: o.from, to: ok.get("to"), callID: o.callID, seq: o.seq, extra: routes.String() + credentials}
	a.send(in)
	if hold > 0 {
		timer := time.NewTimer(hold)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	in.method, in.seq, in.extra = "BYE", o.seq+1, routes.String()
	m, err := a.exchange(context.WithoutCancel(ctx), in, nil)
	if err != nil {
		return err
	}
	if m.status != 200 {
		return fmt.Errorf("BYE: %w: %d", errRejected, m.status)
	}
	return nil
}
