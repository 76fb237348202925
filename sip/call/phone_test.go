package call_test

import (
	"bufio"
	"context"
	"crypto/md5" //nolint:gosec // what digest authentication uses
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"linehall/sip/stack"
)

// message is a SIP message as text, read without any of the server's code.
type message struct {
	first   string
	headers [][2]string
	body    string
}

func (m *message) header(name string) string {
	for _, h := range m.headers {
		if strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}

func (m *message) all(name string) []string {
	var out []string
	for _, h := range m.headers {
		if strings.EqualFold(h[0], name) {
			out = append(out, h[1])
		}
	}
	return out
}

func (m *message) response() bool { return strings.HasPrefix(m.first, "SIP/2.0 ") }
func (m *message) code() int {
	f := strings.Fields(m.first)
	n, _ := strconv.Atoi(f[1])
	return n
}

func (m *message) method() string {
	if m.response() {
		return strings.Fields(m.header("CSeq"))[1]
	}
	return strings.Fields(m.first)[0]
}
func (m *message) seq() string { return strings.Fields(m.header("CSeq"))[0] }

func (m *message) text() string {
	var b strings.Builder
	b.WriteString(m.first + "\r\n")
	for _, h := range m.headers {
		b.WriteString(h[0] + ": " + h[1] + "\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(m.body), m.body)
	return b.String()
}

func readMessage(r *bufio.Reader) (*message, error) {
	m := &message{}
	for m.first == "" {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		m.first = strings.TrimRight(line, "\r\n")
	}
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if strings.EqualFold(name, "Content-Length") {
			length, _ = strconv.Atoi(value)
			continue
		}
		m.headers = append(m.headers, [2]string{name, value})
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, err
	}
	m.body = string(body)
	return m, nil
}

// phone is a SIP phone made of a socket and the test's own hands.
type phone struct {
	t         *testing.T
	x         *exchange
	ext       string
	transport string
	conn      net.Conn
	inbox     chan *message
	had       map[string]bool // texts of what the test has had: a repetition is absorbed, as a transaction does it
	local     string
	seq       int
	call      string // Call-ID of its own calls
	tag       string
	agent     string    // User-Agent of its REGISTER
	redial    func()    // waits until the exchange has dialled the phone
	acks      *sync.Map // text of each ACK, by Call-ID and CSeq number: a 2xx that is repeated gets it again (RFC 3261 §13.2.2.4)
}

// acknowledged keeps an ACK for the repetitions of its 2xx.
func (p *phone) acknowledged(m *message) {
	if number, is := strings.CutSuffix(m.header("CSeq"), " ACK"); is {
		p.acks.Store(m.header("Call-ID")+" "+number, m.text())
	}
}

// repeatAck answers a repeated 2xx, as every phone does without its user.
func (p *phone) repeatAck(conn net.Conn, m *message) {
	if number, is := strings.CutSuffix(m.header("CSeq"), " INVITE"); is && m.response() && m.code()/100 == 2 {
		if text, sent := p.acks.Load(m.header("Call-ID") + " " + number); sent {
			_, _ = io.WriteString(conn, text.(string))
		}
	}
}

func token() string { return rand.Text()[:12] }

// newPhone opens a socket at the given address of its site; it does not register.
func newPhone(t *testing.T, x *exchange, ext, transport, ip string) *phone {
	t.Helper()
	p := &phone{t: t, x: x, ext: ext, transport: transport, inbox: make(chan *message, 64), had: map[string]bool{}, tag: token(), acks: new(sync.Map)}
	p.open(ip)
	t.Cleanup(func() { _ = p.conn.Close() })
	return p
}

func (p *phone) open(ip string) {
	p.t.Helper()
	var d net.Dialer
	server := p.x.ports[p.transport]
	if p.transport != "UDP" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(ip)}
	} else {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(ip)}
	}
	var conn net.Conn
	if p.transport == stack.WS {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(ip)}
		conn, p.local = p.upgrade(&d, server), token()+".invalid"
	} else {
		network := strings.ToLower(p.transport)
		if network == "tls" {
			network = "tcp"
		}
		var err error
		if conn, err = d.DialContext(p.t.Context(), network, server); err != nil {
			p.t.Fatal(err)
		}
		if p.transport == "TLS" {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a certificate of this test
		}
		p.local = conn.LocalAddr().String()
	}
	p.conn = conn
	inbox := p.inbox
	go func() {
		if p.transport != "UDP" {
			r := bufio.NewReader(conn)
			for {
				m, err := readMessage(r)
				if err != nil {
					return
				}
				inbox <- m
			}
		}
		buf := make([]byte, 65536)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				if errors.Is(err, syscall.ECONNREFUSED) {
					continue // the exchange is down for a moment
				}
				return
			}
			if m, err := readMessage(bufio.NewReader(strings.NewReader(string(buf[:n])))); err == nil {
				p.repeatAck(conn, m)
				inbox <- m
			}
		}
	}()
}

// upgrade opens a WebSocket: the phone is a page in a browser.
func (p *phone) upgrade(d *net.Dialer, server string) net.Conn {
	p.t.Helper()
	transport := &http.Transport{DialContext: d.DialContext}
	p.t.Cleanup(transport.CloseIdleConnections)
	socket, _, err := websocket.Dial(p.t.Context(), "ws://"+server+"/sip", &websocket.DialOptions{ //nolint:bodyclose // of an upgrade
		Subprotocols: []string{stack.Subprotocol}, HTTPClient: &http.Client{Transport: transport},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return websocket.NetConn(context.Background(), socket, websocket.MessageText)
}

func (p *phone) send(m *message) {
	p.t.Helper()
	p.acknowledged(m)
	_, err := io.WriteString(p.conn, m.text())
	if errors.Is(err, syscall.ECONNREFUSED) { // what an earlier datagram met while the exchange was down
		_, err = io.WriteString(p.conn, m.text())
	}
	if err != nil {
		p.t.Logf("%s: send: %v", p.ext, err)
	}
}

// patience is how long a message may take: before a phone rings, and before a caller hears of the answer, the call is
// stored, and each write has five seconds on a disk that is busy with other things.
const patience = 20 * time.Second

// next waits for the next message that fits; others that arrive meanwhile are skipped, and so are repetitions of what it
// has returned before.
func (p *phone) next(what string, fits func(*message) bool) *message {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	var seen []string
	for {
		select {
		case m := <-p.inbox:
			switch {
			case p.had[m.text()]:
				seen = append(seen, m.first+" again")
			case fits(m):
				p.had[m.text()] = true
				return m
			default:
				seen = append(seen, m.first)
			}
		case <-ctx.Done():
			p.t.Fatalf("%s: no %s; saw %q", p.ext, what, seen)
		}
	}
}

// wantRepeated has next return repetitions of what it has returned so far.
func (p *phone) wantRepeated() { clear(p.had) }

func (p *phone) request(method string) *message {
	p.t.Helper()
	return p.next(method, func(m *message) bool { return !m.response() && m.method() == method })
}

func (p *phone) final(method string) *message {
	p.t.Helper()
	return p.next("final response to "+method, func(m *message) bool { return m.response() && m.method() == method && m.code() >= 200 })
}

func (p *phone) status(method string, code int) *message {
	p.t.Helper()
	return p.next(fmt.Sprintf("%d to %s", code, method), func(m *message) bool { return m.response() && m.method() == method && m.code() == code })
}

// quiet checks that nothing that fits arrives for a moment.
func (p *phone) quiet(what string, fits func(*message) bool) {
	p.t.Helper()
	timer := time.NewTimer(150 * time.Millisecond)
	defer timer.Stop()
	for {
		select {
		case m := <-p.inbox:
			if fits(m) && !p.had[m.text()] {
				p.t.Errorf("%s: unexpected %s: %s", p.ext, what, m.first)
			}
		case <-timer.C:
			return
		}
	}
}

func (p *phone) contact() string {
	c := "<sip:" + p.ext + "@" + p.local
	if p.transport != "UDP" {
		c += ";transport=" + strings.ToLower(p.transport)
	}
	return c + ">"
}

func (p *phone) via() [2]string {
	return [2]string{"Via", "SIP/2.0/" + p.transport + " " + p.local + ";rport;branch=z9hG4bK" + token()}
}

// fresh is a request outside of any dialog.
func (p *phone) fresh(method, uri, to string, extra ...[2]string) *message {
	p.seq++
	m := &message{first: method + " " + uri + " SIP/2.0", headers: [][2]string{
		p.via(),
		{"Max-Forwards", "70"},
		{"From", "\"I am the boss\" <sip:" + p.ext + "@" + domain + ">;tag=" + p.tag},
		{"To", "<" + to + ">"},
		{"Call-ID", p.call},
		{"CSeq", fmt.Sprintf("%d %s", p.seq, method)},
		{"Contact", p.contact()},
	}}
	m.headers = append(m.headers, extra...)
	return m
}

func (p *phone) password() string {
	p.t.Helper()
	return must[string](p.t)(p.x.people.Password(p.t.Context(), p.ext))
}

func md5hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // what digest authentication uses
	return hex.EncodeToString(sum[:])
}

// authorize answers a challenge.
func (p *phone) authorize(m, challenge *message, password string) {
	value := challenge.header("WWW-Authenticate")
	name := "Authorization"
	if value == "" {
		value, name = challenge.header("Proxy-Authenticate"), "Proxy-Authorization"
	}
	param := func(key string) string {
		_, rest, _ := strings.Cut(value, key+"=")
		rest = strings.TrimPrefix(rest, `"`)
		end := strings.IndexAny(rest, `",`)
		if end < 0 {
			end = len(rest)
		}
		return rest[:end]
	}
	uri := strings.Fields(m.first)[1]
	ha1 := md5hex(p.ext + ":" + param("realm") + ":" + password)
	ha2 := md5hex(m.method() + ":" + uri)
	cnonce := token()
	response := md5hex(strings.Join([]string{ha1, param("nonce"), "00000001", cnonce, "auth", ha2}, ":"))
	m.headers = append(m.headers, [2]string{name, fmt.Sprintf(
		`Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=MD5, qop=auth, cnonce="%s", nc=00000001`,
		p.ext, param("realm"), param("nonce"), uri, response, cnonce)})
}

// authenticated sends a request, answers the challenge and returns the request that counted.
func (p *phone) authenticated(build func() *message) *message {
	p.t.Helper()
	m := build()
	p.send(m)
	challenge := p.next("challenge", func(r *message) bool { return r.response() && (r.code() == 401 || r.code() == 407) })
	if m.method() == "INVITE" {
		p.send(p.ackFailure(m, challenge))
	}
	m = build()
	p.authorize(m, challenge, p.password())
	p.send(m)
	return m
}

// ackFailure is the ACK of a failed INVITE, part of its transaction.
func (p *phone) ackFailure(invite, res *message) *message {
	return &message{first: "ACK " + strings.Fields(invite.first)[1] + " SIP/2.0", headers: [][2]string{
		{"Via", invite.header("Via")},
		{"Max-Forwards", "70"},
		{"From", invite.header("From")},
		{"To", res.header("To")},
		{"Call-ID", invite.header("Call-ID")},
		{"CSeq", invite.seq() + " ACK"},
	}}
}

func (p *phone) register() {
	p.t.Helper()
	p.registerWith("")
}

// registerWith adds parameters to the Contact.
func (p *phone) registerWith(params string) {
	p.t.Helper()
	p.call = token()
	p.authenticated(func() *message {
		m := p.fresh("REGISTER", "sip:"+domain, "sip:"+p.ext+"@"+domain, [2]string{"Expires", "300"}, [2]string{"User-Agent", p.agent})
		for i, h := range m.headers {
			if h[0] == "Contact" {
				m.headers[i][1] += params
			}
		}
		return m
	})
	p.status("REGISTER", 200)
}

func sdpFrom(addr string, lines ...string) string {
	host, _, _ := net.SplitHostPort(addr)
	body := "v=0\r\no=phone 42 1 IN IP4 " + host + "\r\ns=-\r\nc=IN IP4 " + host + "\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
	for _, l := range lines {
		body += l + "\r\n"
	}
	return body
}

// invite calls a number and returns the INVITE that counted.
func (p *phone) invite(number, body string, extra ...[2]string) *message {
	p.t.Helper()
	p.call, p.tag = token(), token()
	return p.authenticated(func() *message { return p.inviteMessage(number, body, extra...) })
}

func (p *phone) inviteMessage(number, body string, extra ...[2]string) *message {
	if body != "" {
		extra = append(extra, [2]string{"Content-Type", "application/sdp"})
	}
	uri := "sip:" + number + "@" + domain
	m := p.fresh("INVITE", uri, uri, extra...)
	m.body = body
	return m
}

// cancel gives an INVITE up.
func (p *phone) cancel(invite *message) { p.cancelBecause(invite, "") }

func (p *phone) cancelBecause(invite *message, reason string) {
	m := &message{first: "CANCEL " + strings.Fields(invite.first)[1] + " SIP/2.0", headers: [][2]string{
		{"Via", invite.header("Via")},
		{"Max-Forwards", "70"},
		{"From", invite.header("From")},
		{"To", invite.header("To")},
		{"Call-ID", invite.header("Call-ID")},
		{"CSeq", invite.seq() + " CANCEL"},
	}}
	if reason != "" {
		m.headers = append(m.headers, [2]string{"Reason", reason})
	}
	p.send(m)
}

// reply builds a response to a request; a To without tag gets the phone's.
func (p *phone) reply(req *message, code int, reason, body string, extra ...[2]string) *message {
	m := &message{first: fmt.Sprintf("SIP/2.0 %d %s", code, reason), body: body}
	for _, v := range req.all("Via") {
		m.headers = append(m.headers, [2]string{"Via", v})
	}
	to := req.header("To")
	if !strings.Contains(to, "tag=") && code != 100 {
		to += ";tag=" + p.tag
	}
	m.headers = append(m.headers, [2]string{"From", req.header("From")}, [2]string{"To", to},
		[2]string{"Call-ID", req.header("Call-ID")}, [2]string{"CSeq", req.header("CSeq")}, [2]string{"Contact", p.contact()})
	if body != "" {
		m.headers = append(m.headers, [2]string{"Content-Type", "application/sdp"})
	}
	m.headers = append(m.headers, extra...)
	return m
}

// dlg is a dialog as the phone sees it.
type dlg struct {
	p                      *phone
	id, local, remote, uri string
	seq                    int
}

func uriOf(nameAddr string) string {
	_, rest, _ := strings.Cut(nameAddr, "<")
	uri, _, _ := strings.Cut(rest, ">")
	return uri
}

// dialogOfCaller is the dialog that a response to the phone's INVITE opened.
func (p *phone) dialogOfCaller(res *message) *dlg {
	return &dlg{p: p, id: res.header("Call-ID"), local: res.header("From"), remote: res.header("To"), uri: uriOf(res.header("Contact")), seq: p.seq}
}

// dialogOfCallee is the dialog of an INVITE that the phone answered.
func (p *phone) dialogOfCallee(invite *message) *dlg {
	return &dlg{p: p, id: invite.header("Call-ID"), local: invite.header("To") + ";tag=" + p.tag, remote: invite.header("From"), uri: uriOf(invite.header("Contact")), seq: 100}
}

func (d *dlg) request(method, body string, extra ...[2]string) *message {
	if method != "ACK" {
		d.seq++
	}
	m := &message{first: method + " " + d.uri + " SIP/2.0", body: body, headers: [][2]string{
		d.p.via(),
		{"Max-Forwards", "70"},
		{"From", d.local},
		{"To", d.remote},
		{"Call-ID", d.id},
		{"CSeq", fmt.Sprintf("%d %s", d.seq, method)},
		{"Contact", d.p.contact()},
	}}
	if body != "" && len(extra) == 0 {
		m.headers = append(m.headers, [2]string{"Content-Type", "application/sdp"})
	}
	m.headers = append(m.headers, extra...)
	return m
}

func (d *dlg) send(method, body string, extra ...[2]string) *message {
	m := d.request(method, body, extra...)
	d.p.send(m)
	return m
}

// talk is an established call between two phones, as both see it.
type talk struct {
	a, b   *phone
	da, db *dlg
	invite *message // as the callee got it
	ok     *message // as the caller got it
}

// connect makes a call with an early offer.
func connect(t *testing.T, a, b *phone) *talk {
	t.Helper()
	allow := [2]string{"Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE"}
	a.invite(b.ext, sdpFrom(a.local), allow)
	inv := b.request("INVITE")
	b.tag = token()
	b.send(b.reply(inv, 180, "Ringing", ""))
	a.status("INVITE", 180)
	b.send(b.reply(inv, 200, "OK", sdpFrom(b.local), allow))
	ok := a.status("INVITE", 200)
	da, db := a.dialogOfCaller(ok), b.dialogOfCallee(inv)
	b.request("ACK")
	da.send("ACK", "")
	return &talk{a: a, b: b, da: da, db: db, invite: inv, ok: ok}
}

// hangUp ends the call from one side and checks that the other side hears of it.
func (k *talk) hangUp(from *dlg) {
	k.a.t.Helper()
	other := k.b
	if from == k.db {
		other = k.a
	}
	from.send("BYE", "")
	bye := other.request("BYE")
	other.send(other.reply(bye, 200, "OK", ""))
	from.p.status("BYE", 200)
}

// hangUpFrom ends the call from one of its phones.
func (k *talk) hangUpFrom(p *phone) {
	k.a.t.Helper()
	if p == k.a {
		k.hangUp(k.da)
		return
	}
	k.hangUp(k.db)
}
