package subscribe

import (
	"context"
	"encoding/xml"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/goleak"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/call"
	"linehall/sip/location"
	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	domain = "linehall.test"
	here   = "10.0.0.1:5060"
)

// people is a directory, an authenticator that believes From, and a location service.
type people struct {
	mu       sync.Mutex
	known    map[string]directory.Terminal
	bindings map[string][]location.Binding
	groups   map[string][]string
	lamps    map[string][]string
	stack    *stack.Stack
}

func newPeople() *people {
	p := &people{known: map[string]directory.Terminal{}, bindings: map[string][]location.Binding{}, groups: map[string][]string{}, lamps: map[string][]string{}}
	for _, e := range []string{"8001", "8002", "8003", "8004"} {
		p.known[e] = directory.Terminal{Extension: e, AuthUser: e, DisplayName: "Phone " + e, State: directory.Active}
	}
	return p
}

func (p *people) ByExtension(e string) (directory.Terminal, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.known[e]
	return t, ok
}

func (p *people) Password(_ context.Context, e string) (string, error) { return "secret" + e, nil }

func (p *people) Lookup(aor string) []location.Binding {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bindings[aor]
}

func (p *people) Members(n string) ([]string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, ok := p.groups[n]
	return m, ok
}

func (p *people) Lamps(e string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lamps[e]
}

func (p *people) Check(req *stack.Request) (directory.Terminal, *sip.Response) {
	t, ok := p.ByExtension(req.From().Address.User)
	if !ok {
		return t, p.stack.NewResponse(req, 401, "Unauthorized")
	}
	return t, nil
}

// bubble is a service in fake time, with phones on a network in memory.
type bubble struct {
	*testing.T

	net    *stacktest.Net
	people *people
	s      *Service
	stop   func()
}

// inBubble runs a service in fake time. change may alter the options.
func inBubble(t *testing.T, change func(*Options), body func(*bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{T: t, net: &stacktest.Net{}, people: newPeople()}
		b.start(change)
		body(b)
		b.stop()
	})
}

func (b *bubble) start(change func(*Options)) {
	b.Helper()
	st, err := stack.New(stack.Options{Packets: []stack.PacketSocket{b.net.Listen(here)}, Domain: domain})
	if err != nil {
		b.Fatal(err)
	}
	b.people.stack = st
	table, err := site.NewTable([]site.Site{{ID: "hq", Name: "hq", Main: true, Prefix: "8", Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	if err != nil {
		b.Fatal(err)
	}
	o := Options{Stack: st, Auth: b.people, Locations: b.people, Directory: b.people, Numbers: b.people, Sites: site.NewAtlas(table)}
	if change != nil {
		change(&o)
	}
	if b.s, err = Open(b.Context(), o); err != nil {
		b.Fatal(err)
	}
	st.Handle(sip.NOTIFY, b.s.ServeNotify)
	st.Handle(sip.MESSAGE, b.s.ServeMessage)
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{st.Run, b.s.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				b.Error(err)
			}
		})
	}
	synctest.Wait()
	b.stop = func() { cancel(); wg.Wait() }
}

// handset is a phone made of a socket and the test's own hands.
type handset struct {
	*bubble

	ext   string
	addr  string
	sock  *stacktest.Socket
	seq   int
	early []stacktest.Message // requests that came before an answer
}

func (b *bubble) phone(ext string, host int) *handset {
	addr := fmt.Sprintf("10.0.0.%d:5060", host)
	h := &handset{bubble: b, ext: ext, addr: addr, sock: b.net.Listen(addr), seq: 1}
	b.register(h)
	return h
}

// register binds the phone in the location service.
func (b *bubble) register(h *handset) {
	b.people.mu.Lock()
	defer b.people.mu.Unlock()
	aor := location.AOR(h.ext, domain)
	b.people.bindings[aor] = append(b.people.bindings[aor], location.Binding{
		AOR: aor, Contact: "sip:" + h.ext + "@" + h.addr, Expires: time.Now().Add(24 * time.Hour),
		Flow: stack.Flow{Transport: stack.UDP, Local: netip.MustParseAddrPort(here), Remote: netip.MustParseAddrPort(h.addr)},
	})
}

// watch is a subscription as the phone sees it.
type watch struct {
	h       *handset
	event   string
	id, to  string // Call-ID, To with tag once known
	target  string
	version int // of the last document
	cseq    int // of the last NOTIFY
}

func (h *handset) send(method, uri, to, callID, body string, extra ...string) {
	h.seq++
	lines := append([]string{
		method + " " + uri + " SIP/2.0", fmt.Sprintf("Via: SIP/2.0/UDP %s;rport;branch=z9hG4bK%s%d", h.addr, h.ext, h.seq),
		"From: <sip:" + h.ext + "@" + domain + ">;tag=phone" + h.ext, "To: " + to, "Call-ID: " + callID, fmt.Sprintf("CSeq: %d %s", h.seq, method),
		"Max-Forwards: 70", "Contact: <sip:" + h.ext + "@" + h.addr + ">",
	}, extra...)
	raw := strings.Join(lines, "\r\n") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	_ = h.sock.WriteTo([]byte(raw), netip.MustParseAddrPort(here), netip.Addr{})
}

// answer takes the response to the last request. A NOTIFY may be faster when the request itself changed what is
// shown (RFC 6665 §4.1.2.4): it is kept for next.
func (h *handset) answer() stacktest.Message {
	for {
		m := h.sock.Recv()
		if m.Code != 0 {
			return m
		}
		h.early = append(h.early, m)
	}
}

// next takes the next request.
func (h *handset) next() stacktest.Message {
	if len(h.early) > 0 {
		m := h.early[0]
		h.early = h.early[1:]
		return m
	}
	return h.sock.Recv()
}

// response waits for the final response of the last request.
func (h *handset) response() stacktest.Message {
	h.Helper()
	synctest.Wait()
	for _, m := range h.sock.Pending() {
		if m.Code >= 200 && strings.HasPrefix(m.Header("CSeq"), fmt.Sprint(h.seq, " ")) {
			return m
		}
		h.Errorf("unexpected:\n%s", m.Raw)
	}
	h.Fatal("no response")
	return stacktest.Message{}
}

// ask sends a SUBSCRIBE outside of dialogs and returns its answer; a NOTIFY may follow.
func (h *handset) ask(event, user string, extra ...string) stacktest.Message {
	h.Helper()
	uri := "sip:" + user + "@" + domain
	h.send("SUBSCRIBE", uri, "<"+uri+">", fmt.Sprintf("call-%s-%d", h.ext, h.seq), "", append([]string{"Event: " + event}, extra...)...)
	res := h.sock.Recv()
	if res.Code == 0 {
		h.Fatalf("a request came before the answer:\n%s", res.Raw)
	}
	return res
}

// subscribe opens a subscription.
func (h *handset) subscribe(event, user string, extra ...string) *watch {
	h.Helper()
	res := h.ask(event, user, extra...)
	if res.Code != 200 {
		h.Fatalf("subscribe: %s", res.Start)
	}
	contact := strings.Trim(res.Header("Contact"), "<>")
	return &watch{h: h, event: event, id: res.Header("Call-ID"), to: res.Header("To"), target: contact, version: -1}
}

// again sends a SUBSCRIBE in the dialog.
func (w *watch) again(expires string, extra ...string) stacktest.Message {
	w.h.Helper()
	w.h.send("SUBSCRIBE", w.target, w.to, w.id, "", append([]string{"Event: " + w.event, "Expires: " + expires}, extra...)...)
	return w.h.sock.Recv()
}

// notify takes the next NOTIFY, checks that its numbers rise, and answers it.
func (w *watch) notify(status string) stacktest.Message {
	w.h.Helper()
	m := w.h.next()
	w.check(m)
	if status != "" {
		w.h.sock.Answer(here, m, status)
		synctest.Wait()
	}
	return m
}

func (w *watch) check(m stacktest.Message) {
	w.h.Helper()
	if m.Method != "NOTIFY" || m.Header("Call-ID") != w.id || m.Header("Event") != w.event || m.Header("Subscription-State") == "" || m.Header("Contact") == "" {
		w.h.Fatalf("no NOTIFY of %s:\n%s", w.id, m.Raw)
	}
	var cseq int
	_, _ = fmt.Sscan(m.Header("CSeq"), &cseq)
	if cseq <= w.cseq {
		w.h.Errorf("CSeq %d after %d", cseq, w.cseq)
	}
	w.cseq = cseq
	if !strings.Contains(m.Header("Content-Type"), "dialog-info") {
		return
	}
	d := readDialogInfo(w.h.T, m.Body)
	if d.Version <= w.version {
		w.h.Errorf("version %d after %d", d.Version, w.version)
	}
	w.version = d.Version
}

// quiet fails when anything arrives within d.
func (h *handset) quiet(d time.Duration) {
	h.Helper()
	time.Sleep(d)
	synctest.Wait()
	for _, m := range h.sock.Pending() {
		h.Errorf("unexpected:\n%s", m.Raw)
	}
}

// dialogInfo is the document as an independent reader sees it (RFC 4235 §4.4).
type dialogInfo struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:dialog-info dialog-info"`
	Version int      `xml:"version,attr"`
	State   string   `xml:"state,attr"`
	Entity  string   `xml:"entity,attr"`
	Dialogs []struct {
		ID        string `xml:"id,attr"`
		CallID    string `xml:"call-id,attr"`
		LocalTag  string `xml:"local-tag,attr"`
		RemoteTag string `xml:"remote-tag,attr"`
		Direction string `xml:"direction,attr"`
		State     string `xml:"state"`
		Local     party  `xml:"local"`
		Remote    party  `xml:"remote"`
	} `xml:"dialog"`
}

type party struct {
	Identity struct {
		Display string `xml:"display,attr"`
		URI     string `xml:",chardata"`
	} `xml:"identity"`
	Target struct {
		URI    string `xml:"uri,attr"`
		Params []struct {
			Name  string `xml:"pname,attr"`
			Value string `xml:"pval,attr"`
		} `xml:"param"`
	} `xml:"target"`
}

func readDialogInfo(t *testing.T, body string) dialogInfo {
	t.Helper()
	var d dialogInfo
	if err := xml.Unmarshal([]byte(body), &d); err != nil {
		t.Fatalf("%v in\n%s", err, body)
	}
	return d
}

// states are the lamps of a document: "early confirmed terminated".
func (d dialogInfo) states() string {
	var out []string
	for _, x := range d.Dialogs {
		out = append(out, x.State)
	}
	return strings.Join(out, " ")
}

// talk is a call between 8001 and 8002 in the given state of both phones.
func talk(id string, state call.DialogState) call.Info {
	info := call.Info{ID: id, State: call.StateRinging, Dialogs: []call.DialogInfo{
		{ID: id + "-0", Extension: "8001", CallID: id + "a", LocalTag: "la", RemoteTag: "ra", Initiator: true, State: state, RemoteExtension: "8002", RemoteDisplay: "Wang"},
		{ID: id + "-1", Extension: "8002", CallID: id + "b", LocalTag: "lb", RemoteTag: "rb", State: state, RemoteExtension: "8001", RemoteDisplay: `Li <"&`},
	}}
	return info
}

func ended(id string) call.Info { return call.Info{ID: id, State: call.StateEnded} }
