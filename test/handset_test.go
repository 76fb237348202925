package test

import (
	"bufio"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// handset is a phone made of a socket and the test's own hands: it shares no code with us, and does at any moment what a test
// wants, which the phones of SIPp, baresip and linesim cannot.
type handset struct {
	t         *testing.T
	a         *appliance
	acc       account
	conn      net.Conn
	transport string
	local     string
	sent      int
	lastVia   string
	inbox     chan sipText
	waiting   []sipText
	probes    atomic.Pointer[string] // how OPTIONS are answered without the test; nil: they are not
}

// answersProbes says how OPTIONS are answered from now on.
func (h *handset) answersProbes(status string) { h.probes.Store(&status) }

// sipText is a message as it came.
type sipText struct {
	start  string
	header textproto.MIMEHeader
	body   string
}

// handset puts an unregistered phone of an extension at a host of loopback.
func (a *appliance) handset(t *testing.T, extension, host, transport string) *handset {
	t.Helper()
	h := a.peer(t, host+":0", transport)
	h.acc = a.account(extension)
	return h
}

// peer is somebody at an address, who has no account.
func (a *appliance) peer(t *testing.T, address, transport string) *handset {
	t.Helper()
	network, port := strings.ToLower(transport), a.ports.sip
	if transport == "TLS" {
		network, port = "tcp", a.ports.tls
	}
	conn := dialFrom(t.Context(), network, address, port)
	if conn == nil {
		t.Fatalf("no socket at %s", address)
	}
	if transport == "TLS" {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // whose certificate comes is another test's business
	}
	return a.talksOver(t, conn, transport)
}

// talksOver is somebody at the other end of a connection.
func (a *appliance) talksOver(t *testing.T, conn net.Conn, transport string) *handset {
	t.Helper()
	h := &handset{t: t, a: a, conn: conn, transport: transport, local: conn.LocalAddr().String(), inbox: make(chan sipText, 256)}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-ended })
	go func() {
		defer close(ended)
		defer close(h.inbox)
		if transport != "UDP" {
			h.readStream()
			return
		}
		buf := make([]byte, 65536)
		for {
			n, err := conn.Read(buf)
			switch {
			case err == nil:
				h.take(bufio.NewReader(strings.NewReader(string(buf[:n]))))
			case errors.Is(err, net.ErrClosed):
				return
			default: // nobody is there while the appliance restarts
				time.Sleep(10 * time.Millisecond)
			}
		}
	}()
	return h
}

func (h *handset) readStream() {
	r := bufio.NewReader(h.conn)
	for h.take(r) == nil {
	}
}

func (h *handset) take(r *bufio.Reader) error {
	lines := textproto.NewReader(r)
	start, err := lines.ReadLine()
	if err != nil {
		return err
	}
	if start == "" { // an answered keep-alive
		h.inbox <- sipText{}
		return nil
	}
	headers, err := lines.ReadMIMEHeader()
	if err != nil {
		return err
	}
	length, _ := strconv.Atoi(headers.Get("Content-Length"))
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	m := sipText{start, headers, string(body)}
	if answer := h.probes.Load(); answer != nil && strings.HasPrefix(start, "OPTIONS ") {
		h.reply(m, *answer, "probed", "")
		return nil
	}
	h.inbox <- m
	return nil
}

func (m sipText) code() int {
	code, _ := strconv.Atoi(strings.Fields(m.start + "  0 0")[1])
	return code
}

func (m sipText) isRequest() bool { return !strings.HasPrefix(m.start, "SIP/2.0") }
func (m sipText) method() string  { return strings.Fields(m.header.Get("Cseq") + " 0 ?")[1] }
func (m sipText) String() string  { return fmt.Sprintf("%s %v\n%s", m.start, m.header, m.body) }

func (m sipText) uri(header string) string {
	_, rest, _ := strings.Cut(m.header.Get(header), "<")
	uri, _, _ := strings.Cut(rest, ">")
	return uri
}

// wait takes the first message that is meant; what comes before it stays for later.
func (h *handset) wait(what string, is func(sipText) bool) sipText {
	h.t.Helper()
	for i, m := range h.waiting {
		if is(m) {
			h.waiting = append(h.waiting[:i:i], h.waiting[i+1:]...)
			return m
		}
	}
	bound := time.After(15 * time.Second)
	for {
		select {
		case m, open := <-h.inbox:
			switch {
			case !open:
				h.t.Fatalf("%s: the connection has ended before %s", h.local, what)
			case is(m):
				return m
			}
			h.waiting = append(h.waiting, m)
		case <-bound:
			h.t.Fatalf("%s: no %s; there is %v", h.local, what, h.waiting)
		}
	}
}

func (h *handset) request(method string) sipText {
	h.t.Helper()
	return h.wait(method, func(m sipText) bool { return m.isRequest() && strings.HasPrefix(m.start, method+" ") })
}

// response waits for one of these codes to a request of that method; 0 is any final one.
func (h *handset) response(method string, codes ...int) sipText {
	h.t.Helper()
	return h.wait(fmt.Sprintf("%v to %s", codes, method), func(m sipText) bool {
		if m.isRequest() || m.method() != method {
			return false
		}
		for _, code := range codes {
			if m.code() == code || code == 0 && m.code() >= 200 {
				return true
			}
		}
		return false
	})
}

// none checks that nothing of a kind has come by now.
func (h *handset) none(what string, is func(sipText) bool) {
	h.t.Helper()
	for {
		select {
		case m, open := <-h.inbox:
			if !open {
				return
			}
			h.waiting = append(h.waiting, m)
			continue
		default:
		}
		break
	}
	for _, m := range h.waiting {
		if is(m) {
			h.t.Errorf("%s: %s:\n%s", h.local, what, m)
		}
	}
}

func (h *handset) write(start, body string, headers ...string) {
	h.t.Helper()
	if body != "" {
		headers = append(headers, "Content-Type: application/sdp")
	}
	text := start + "\r\n" + strings.Join(headers, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if _, err := h.conn.Write([]byte(text)); err != nil {
		h.t.Fatal(err)
	}
}

func (h *handset) via() string {
	h.sent++
	h.lastVia = fmt.Sprintf("Via: SIP/2.0/%s %s;rport;branch=z9hG4bK%d-%s", h.transport, h.local, h.sent, strings.ReplaceAll(h.local, ":", "-"))
	return h.lastVia
}

func (h *handset) contact(params string) string {
	return fmt.Sprintf("Contact: <sip:%s@%s;transport=%s>%s", h.acc.Extension, h.local, strings.ToLower(h.transport), params)
}

// ask sends a request outside of dialogs, answers a challenge, and returns the final response and the headers that name the dialog.
func (h *handset) ask(method, user, body string, extra ...string) sipText {
	h.t.Helper()
	d := h.begin(method, user, body, extra...)
	res := h.response(method, 0)
	d.learn(res)
	return res
}

// talkOf is a dialog as one end sees it.
type talkOf struct {
	h             *handset
	method, user  string
	callID        string
	local, remote string // From and To of our requests
	target        string
	routes        []string
	seq           int
}

// begin sends a request outside of dialogs and answers its challenge; its responses are the caller's to wait for.
func (h *handset) begin(method, user, body string, extra ...string) *talkOf {
	h.t.Helper()
	uri := "sip:" + user + "@" + h.acc.Domain
	if method == "REGISTER" {
		uri = "sip:" + h.acc.Domain
	}
	return h.beginAt(method, user, uri, body, extra...)
}

// beginAt is begin with a request line of its own.
func (h *handset) beginAt(method, user, uri, body string, extra ...string) *talkOf {
	h.t.Helper()
	h.sent++
	d := &talkOf{
		h: h, method: method, user: user, callID: fmt.Sprintf("%d@%s", h.sent, h.local), target: uri,
		local:  fmt.Sprintf("<sip:%s@%s>;tag=t%d", h.acc.Extension, h.acc.Domain, h.sent),
		remote: "<sip:" + user + "@" + h.acc.Domain + ">",
	}
	if h.acc.Domain == "" { // a gateway
		uri = "sip:" + user + "@127.0.0.1"
		d.target, d.local, d.remote = uri, fmt.Sprintf("<sip:%s@%s>;tag=t%d", h.acc.Extension, h.conn.LocalAddr(), h.sent), "<"+uri+">"
	}
	d.send(method, body, extra...)
	if h.acc.Password == "" {
		return d
	}
	challenge := h.response(method, 0)
	if challenge.code() != 401 { // refused before
		h.waiting = append(h.waiting, challenge)
		return d
	}
	if method == "INVITE" {
		d.acknowledge(challenge, "")
	}
	d.send(method, body, append(extra, h.authorization(challenge, method, uri))...)
	return d
}

var realmOf = regexp.MustCompile(`realm="([^"]+)"`)

// authorization is RFC 2617 by hand.
func (h *handset) authorization(challenge sipText, method, uri string) string {
	value := challenge.header.Get("Www-Authenticate")
	nonce, realm := nonceOf.FindStringSubmatch(value), realmOf.FindStringSubmatch(value)
	if nonce == nil || realm == nil {
		h.t.Fatalf("challenge %q", value)
	}
	hash := func(parts ...string) string {
		sum := md5.Sum([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(sum[:])
	}
	response := hash(hash(h.acc.AuthUser, realm[1], h.acc.Password), nonce[1], "00000001", "cafe", "auth", hash(method, uri))
	return fmt.Sprintf("Authorization: Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=MD5, qop=auth, nc=00000001, cnonce=\"cafe\"",
		h.acc.AuthUser, realm[1], nonce[1], uri, response)
}

// send sends the dialog's next request.
func (d *talkOf) send(method, body string, extra ...string) {
	d.h.t.Helper()
	if method != "ACK" && method != "CANCEL" {
		d.seq++
	}
	d.write(method, d.seq, body, extra...)
}

func (d *talkOf) write(method string, seq int, body string, extra ...string) {
	d.h.t.Helper()
	headers := append([]string{
		d.h.via(), "From: " + d.local, "To: " + d.remote, "Call-ID: " + d.callID, fmt.Sprintf("CSeq: %d %s", seq, method), "Max-Forwards: 70",
	}, extra...)
	if !strings.Contains(strings.Join(extra, "\n"), "Contact:") {
		headers = append(headers, d.h.contact(""))
	}
	for _, r := range d.routes {
		headers = append(headers, "Route: "+r)
	}
	d.h.write(method+" "+d.target+" SIP/2.0", body, headers...)
}

// acknowledge sends the ACK of a final response to our INVITE.
func (d *talkOf) acknowledge(res sipText, body string) {
	d.h.t.Helper()
	seq, _ := strconv.Atoi(strings.Fields(res.header.Get("Cseq"))[0])
	if res.code() < 300 {
		d.learn(res)
		d.write("ACK", seq, body)
		return
	}
	via := res.header.Get("Via")
	if i := strings.Index(via, ";received"); i >= 0 {
		via = via[:i]
	}
	d.h.write("ACK "+d.target+" SIP/2.0", "", "Via: "+via, "From: "+d.local, "To: "+res.header.Get("To"), "Call-ID: "+d.callID, fmt.Sprintf("CSeq: %d ACK", seq), "Max-Forwards: 70")
}

func (d *talkOf) learn(res sipText) {
	if res.code() < 300 {
		d.remote = res.header.Get("To")
		if c := res.uri("Contact"); c != "" {
			d.target = c
		}
	}
}

// called is the dialog of an INVITE that has come, with our tag.
func (h *handset) called(invite sipText, tag string) *talkOf {
	return &talkOf{
		h: h, method: "INVITE", callID: invite.header.Get("Call-Id"), local: invite.header.Get("To") + ";tag=" + tag, remote: invite.header.Get("From"),
		target: invite.uri("Contact"), routes: invite.header.Values("Record-Route"), seq: 100,
	}
}

// reply answers a request; a tag is added to To where there is none.
func (h *handset) reply(req sipText, status, tag, body string, extra ...string) {
	h.t.Helper()
	to := req.header.Get("To")
	if !strings.Contains(to, ";tag=") && tag != "" {
		to += ";tag=" + tag
	}
	headers := make([]string, 0, 8)
	for _, v := range req.header.Values("Via") {
		headers = append(headers, "Via: "+v)
	}
	for _, v := range req.header.Values("Record-Route") {
		headers = append(headers, "Record-Route: "+v)
	}
	headers = append(headers, "From: "+req.header.Get("From"), "To: "+to, "Call-ID: "+req.header.Get("Call-Id"), "CSeq: "+req.header.Get("Cseq"), h.contact(""),
		"Allow: INVITE, ACK, CANCEL, BYE, UPDATE, PRACK, INFO, OPTIONS, NOTIFY, REFER")
	h.write("SIP/2.0 "+status, body, append(headers, extra...)...)
}

// sdp is an offer or answer of one voice stream.
func (h *handset) sdp(port int, lines ...string) string {
	host, _, _ := net.SplitHostPort(h.local)
	more := ""
	for _, l := range lines {
		more += l + "\r\n"
	}
	return fmt.Sprintf("v=0\r\no=- 7 %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n%s", h.sent+port, host, host, port, more)
}

// register binds the phone.
func (h *handset) register(extra ...string) sipText {
	h.t.Helper()
	if len(extra) == 0 {
		extra = []string{h.contact(""), "Expires: 300"}
	}
	res := h.ask("REGISTER", h.acc.Extension, "", extra...)
	if res.code() != 200 {
		h.t.Fatalf("REGISTER: %s", res)
	}
	return res
}

// answers takes an INVITE and returns the dialog once it is acknowledged.
func (h *handset) answers(port int) (*talkOf, sipText) {
	h.t.Helper()
	invite := h.request("INVITE")
	h.reply(invite, "200 OK", "answer", h.sdp(port))
	h.request("ACK")
	return h.called(invite, "answer"), invite
}

// calls dials an extension whose handset answers, and returns both ends.
func (h *handset) calls(other *handset) (own, theirs *talkOf) {
	h.t.Helper()
	own = h.begin("INVITE", other.acc.Extension, h.sdp(4000))
	invite := other.request("INVITE")
	other.reply(invite, "200 OK", "answer", other.sdp(4002))
	res := h.response("INVITE", 200)
	own.acknowledge(res, "")
	other.request("ACK")
	return own, other.called(invite, "answer")
}

// hangUp ends a call at one end, and takes the BYE at the other.
func (d *talkOf) hangUp(other *handset) {
	d.h.t.Helper()
	d.send("BYE", "")
	d.h.response("BYE", 200)
	if other != nil {
		other.reply(other.request("BYE"), "200 OK", "", "")
	}
}
