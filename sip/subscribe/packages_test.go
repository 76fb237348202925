package subscribe

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/call"
	"linehall/sip/location"
	"linehall/sip/stack/stacktest"
)

// rlmi is a list document as an independent reader sees it (RFC 4662 §5.2).
type rlmi struct {
	XMLName   xml.Name `xml:"urn:ietf:params:xml:ns:rlmi list"`
	URI       string   `xml:"uri,attr"`
	Version   int      `xml:"version,attr"`
	FullState bool     `xml:"fullState,attr"`
	Resources []struct {
		URI       string `xml:"uri,attr"`
		Instances []struct {
			ID    string `xml:"id,attr"`
			State string `xml:"state,attr"`
			CID   string `xml:"cid,attr"`
		} `xml:"instance"`
	} `xml:"resource"`
}

// readList reads a multipart/related body with the standard library and returns the list and
// the parts by Content-ID.
func readList(t *testing.T, m stacktest.Message) (rlmi, map[string]string) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header("Content-Type"))
	if err != nil || kind != "multipart/related" {
		t.Fatalf("content type %q: %v", m.Header("Content-Type"), err)
	}
	var list rlmi
	parts := map[string]string{}
	reader := multipart.NewReader(strings.NewReader(m.Body), params["boundary"])
	for {
		p, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, m.Body)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		id := p.Header.Get("Content-ID")
		if id == params["start"] {
			if err := xml.Unmarshal(body, &list); err != nil {
				t.Fatalf("%v in\n%s", err, body)
			}
			continue
		}
		parts[strings.Trim(id, "<>")] = string(body)
	}
	for _, r := range list.Resources {
		for _, i := range r.Instances {
			if parts[i.CID] == "" {
				t.Errorf("no part %s in\n%s", i.CID, m.Body)
			}
		}
	}
	return list, parts
}

// RFC 4662: all lamps of a phone in one subscription; over UDP in as many NOTIFYs as it takes.
func TestLampList(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.people.groups["8000"] = []string{"8001", "8004"}
		b.people.lamps["8003"] = []string{"8001", "8002", "8004", "8000", "8999"}
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8003-list", "Supported: eventlist")
		told := map[string]bool{}
		m := w.notify("200 OK")
		list, parts := readList(t, m)
		if !list.FullState || len(list.Resources) != 4 || m.Header("Require") != "eventlist" || list.URI != "sip:8003-list@linehall.test" {
			t.Fatalf("first\n%s", m.Raw)
		}
		version := list.Version
		for {
			if len(m.Raw) > 1300 {
				t.Errorf("%d bytes over UDP", len(m.Raw))
			}
			for id := range parts {
				told[id] = true
			}
			if len(told) == 4 {
				break
			}
			m = w.notify("200 OK")
			list, parts = readList(t, m)
			if list.FullState || list.Version <= version {
				t.Errorf("next\n%s", m.Raw)
			}
			version = list.Version
		}
		h.quiet(time.Second)
		b.s.CallChanged(talk("c1", call.DialogEarly)) // 8001, 8002 and the group 8000
		told = map[string]bool{}
		for len(told) < 3 {
			m = w.notify("200 OK")
			_, parts = readList(t, m)
			for id, body := range parts {
				told[id] = true
				if d := readDialogInfo(b.T, body); d.states() != "early" {
					t.Errorf("%s is\n%s", id, body)
				}
			}
		}
		h.quiet(time.Minute)
		b.s.CallChanged(ended("c1"))
		told = map[string]bool{}
		for len(told) < 3 {
			_, parts = readList(t, w.notify("200 OK"))
			for id, body := range parts {
				told[id] = true
				if d := readDialogInfo(b.T, body); d.states() != "terminated" {
					t.Errorf("%s is\n%s", id, body)
				}
			}
		}
	})
}

// A list whose names alone would not fit into a datagram (RFC 3261 §18.1.1) grows with each NOTIFY; a refresh takes nothing
// away, and a list that has changed begins anew. Over a stream it is one NOTIFY, and so is the answer to a single question.
func TestLargeLampList(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		const most = 40
		var lamps []string
		for i := range most {
			lamps = append(lamps, fmt.Sprint(8100+i))
			b.people.known[lamps[i]] = directory.Terminal{Extension: lamps[i], Site: "hq", State: directory.Active}
		}
		b.people.lamps["8003"] = lamps
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8003-list", "Supported: eventlist")
		collect := func(w *watch, first bool, want int) (state string) {
			t.Helper()
			var told []string
			for n := 0; len(told) < want; n++ {
				m := w.notify("200 OK")
				if strings.HasPrefix(state, "terminated") {
					t.Errorf("%s and then\n%s", state, m.Raw)
				}
				state = m.Header("Subscription-State")
				list, _ := readList(t, m)
				if len(m.Raw) > 1300 {
					t.Errorf("%d bytes over UDP", len(m.Raw))
				}
				if list.FullState != (first && n == 0) {
					t.Errorf("NOTIFY %d: fullState %v", n, list.FullState)
				}
				for _, r := range list.Resources {
					if len(r.Instances) != 1 {
						t.Errorf("%s is named without a state", r.URI)
					}
					told = append(told, strings.TrimSuffix(strings.TrimPrefix(r.URI, "sip:"), "@linehall.test"))
				}
			}
			if diff := cmp.Diff(lamps[:want], told); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			h.quiet(time.Second)
			return state
		}
		collect(w, true, most)
		if res := w.again("600", "Supported: eventlist"); res.Code != 200 {
			t.Fatalf("refresh: %s", res.Start)
		}
		collect(w, false, most)
		question := h.subscribe("dialog", "8003-list", "Supported: eventlist", "Expires: 0")
		if state := collect(question, true, most); state != "terminated;reason=timeout" {
			t.Errorf("the last answer is %s", state)
		}
	})
}

// A list NOTIFY that was lost is followed by the whole list: nothing is missing afterwards.
func TestLostListNotify(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.people.lamps["8003"] = []string{"8001", "8002"}
		h := b.phone("8003", 3)
		w := h.subscribe("dialog", "8003-list", "Supported: eventlist")
		for told := 0; told < 2; {
			_, parts := readList(t, w.notify("200 OK"))
			told += len(parts)
		}
		b.s.CallChanged(talk("c1", call.DialogConfirmed))
		h.sock.Answer(here, h.sock.Recv(), "500 Server Internal Error")
		states := map[string]string{}
		for len(states) < 2 {
			_, parts := readList(t, w.notify("200 OK"))
			for id, body := range parts {
				states[id] = readDialogInfo(b.T, body).states()
			}
		}
		if diff := cmp.Diff(map[string]string{"8001@l": "confirmed", "8002@l": "confirmed"}, states); diff != "" {
			t.Error(diff)
		}
	})
}

// mailboxes are counted by hand.
type mailboxes struct {
	mu    sync.Mutex
	boxes map[string]Messages
}

func (m *mailboxes) Messages(e string) (Messages, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	box, ok := m.boxes[e]
	return box, ok
}

func (m *mailboxes) set(e string, box Messages) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boxes[e] = box
}

func TestMessageSummary(t *testing.T) {
	boxes := &mailboxes{boxes: map[string]Messages{}}
	inBubble(t, func(o *Options) { o.Mailboxes = boxes }, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("message-summary", "8003", "Accept: application/simple-message-summary")
		m := w.notify("200 OK")
		if want := "Messages-Waiting: no\r\nMessage-Account: sip:8003@linehall.test\r\nVoice-Message: 0/0 (0/0)\r\n"; m.Body != want {
			t.Errorf("without a mailbox\n%s", m.Body)
		}
		boxes.set("8003", Messages{New: 2, Old: 8, NewUrgent: 1})
		b.s.MessagesChanged("8003")
		if m := w.notify("200 OK"); !strings.Contains(m.Body, "Messages-Waiting: yes\r\n") || !strings.Contains(m.Body, "Voice-Message: 2/8 (1/0)\r\n") {
			t.Errorf("two new\n%s", m.Body)
		}
		h.quiet(time.Minute) // who is subscribed hears it once
		// RFC 3842 §4: a phone that did not ask, after it registers and when the box changes.
		other := b.phone("8004", 4)
		boxes.set("8004", Messages{New: 1})
		b.s.PhoneChanged("8004@" + domain)
		for range 2 {
			m = other.sock.Recv()
			if m.Method != "NOTIFY" || m.Header("Event") != "message-summary" || m.Header("Subscription-State") != "active" ||
				!strings.Contains(m.Body, "Message-Account: sip:8004@linehall.test\r\nVoice-Message: 1/0") {
				t.Errorf("unsolicited\n%s", m.Raw)
			}
			other.sock.Answer(here, m, "200 OK")
			synctest.Wait()
			b.s.MessagesChanged("8004")
		}
		other.sock.Answer(here, other.sock.Recv(), "481 Call/Transaction Does Not Exist")
		other.quiet(time.Minute)
		// Without a mailbox nobody is disturbed.
		third := b.phone("8001", 5)
		b.s.PhoneChanged("8001@" + domain)
		third.quiet(time.Minute)
	})
}

// presenceDoc is PIDF as an independent reader sees it (RFC 3863 §4.4, RFC 4480).
type presenceDoc struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:pidf presence"`
	Entity  string   `xml:"entity,attr"`
	Tuples  []struct {
		ID      string `xml:"id,attr"`
		Basic   string `xml:"urn:ietf:params:xml:ns:pidf status>basic"`
		Contact string `xml:"urn:ietf:params:xml:ns:pidf contact"`
		Note    string `xml:"urn:ietf:params:xml:ns:pidf note"`
	} `xml:"urn:ietf:params:xml:ns:pidf tuple"`
	Activities []struct {
		XMLName xml.Name
	} `xml:"urn:ietf:params:xml:ns:pidf:data-model person>activities"`
	Raw string `xml:",innerxml"`
}

func readPresence(t *testing.T, m stacktest.Message) presenceDoc {
	t.Helper()
	var d presenceDoc
	if err := xml.Unmarshal([]byte(m.Body), &d); err != nil {
		t.Fatalf("%v in\n%s", err, m.Body)
	}
	return d
}

const publishedDoc = `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:8002@linehall.test">
<tuple id="x"><status><basic>open</basic></status><note>At lunch &lt;back at one&gt;</note></tuple><r:person><r:activities><r:meal/></r:activities></r:person></presence>`

func TestPresence(t *testing.T) {
	features := newSettings()
	inBubble(t, func(o *Options) { o.Features = features }, func(b *bubble) {
		h := b.phone("8003", 3)
		w := h.subscribe("presence", "8002", "Accept: application/pidf+xml")
		d := readPresence(b.T, w.notify("200 OK"))
		if d.Entity != "sip:8002@linehall.test" || len(d.Tuples) != 1 || d.Tuples[0].Basic != "closed" || d.Tuples[0].Contact != "sip:8002@linehall.test" {
			t.Errorf("not registered\n%+v", d)
		}
		other := b.phone("8002", 4)
		b.s.PhoneChanged("8002@" + domain)
		if d = readPresence(b.T, w.notify("200 OK")); d.Tuples[0].Basic != "open" || d.Tuples[0].Note != "Ready" {
			t.Errorf("registered\n%+v", d)
		}
		b.s.CallChanged(talk("c1", call.DialogConfirmed))
		if d = readPresence(b.T, w.notify("200 OK")); d.Tuples[0].Note != "On the phone" || !strings.Contains(d.Raw, "<rpid:on-the-phone/>") {
			t.Errorf("in a call\n%+v", d)
		}
		b.s.CallChanged(ended("c1"))
		w.notify("200 OK")
		features.set("8002", Settings{DoNotDisturb: true})
		b.s.Changed("8002")
		if d = readPresence(b.T, w.notify("200 OK")); d.Tuples[0].Note != "Do not disturb" || !strings.Contains(d.Raw, "<rpid:busy/>") {
			t.Errorf("do not disturb\n%+v", d)
		}
		features.set("8002", Settings{})
		other.send("PUBLISH", "sip:8002@"+domain, "<sip:8002@"+domain+">", "p1", publishedDoc, "Event: presence", "Expires: 120", "Content-Type: application/pidf+xml")
		res := other.response()
		if res.Code != 200 || res.Header("SIP-ETag") == "" || res.Header("Expires") != "120" {
			t.Fatalf("published: %s", res.Raw)
		}
		d = readPresence(b.T, w.notify("200 OK"))
		if len(d.Tuples) != 2 || d.Tuples[1].Note != "At lunch <back at one>" || !strings.Contains(d.Raw, "<rpid:meal/>") {
			t.Errorf("published\n%+v", d)
		}
		began := time.Now()
		if d = readPresence(b.T, w.notify("200 OK")); len(d.Tuples) != 1 || time.Since(began) < 110*time.Second {
			t.Errorf("after its time, %s\n%+v", time.Since(began), d)
		}
	})
}

func TestPublish(t *testing.T) {
	inBubble(t, func(o *Options) { o.Limits.Published = 2 }, func(b *bubble) {
		h := b.phone("8002", 4)
		n := 0
		publish := func(body string, extra ...string) stacktest.Message {
			n++
			h.send("PUBLISH", "sip:8002@"+domain, "<sip:8002@"+domain+">", fmt.Sprint("p", n), body, append([]string{"Event: presence"}, extra...)...)
			return h.response()
		}
		pidf := "Content-Type: application/pidf+xml"
		first := publish(publishedDoc, pidf)
		tag := first.Header("SIP-ETag")
		refreshed := publish("", "SIP-If-Match: "+tag)
		if refreshed.Code != 200 || refreshed.Header("SIP-ETag") == tag || refreshed.Header("SIP-ETag") == "" {
			t.Errorf("refresh\n%s", refreshed.Raw)
		}
		if res := publish("", "SIP-If-Match: "+tag); res.Code != 412 {
			t.Errorf("an old tag got %s", res.Start)
		}
		changed := publish(strings.Replace(publishedDoc, "lunch", "work", 1), pidf, "SIP-If-Match: "+refreshed.Header("SIP-ETag"))
		if got := b.s.publishedOf("8002"); changed.Code != 200 || len(got) != 1 || !strings.Contains(got[0].Note, "work") {
			t.Errorf("modified: %+v", got)
		}
		if res := publish("", "Expires: 0", "SIP-If-Match: "+changed.Header("SIP-ETag")); res.Code != 200 || len(b.s.publishedOf("8002")) != 0 {
			t.Errorf("removed: %s", res.Start)
		}
		for range 3 {
			publish(publishedDoc, pidf)
		}
		if got := len(b.s.publishedOf("8002")); got != 2 {
			t.Errorf("%d documents kept", got)
		}
		for name, tt := range map[string]struct {
			res  stacktest.Message
			code int
		}{
			"nothing":           {publish(""), 400},
			"no document":       {publish("hello", pidf), 400},
			"another type":      {publish("hello", "Content-Type: text/plain"), 415},
			"brief":             {publish(publishedDoc, pidf, "Expires: 5"), 423},
			"a document's bomb": {publish(`<!DOCTYPE a [<!ENTITY b "c">]><presence/>`, pidf), 400},
		} {
			if tt.res.Code != tt.code {
				t.Errorf("%s got %s", name, tt.res.Start)
			}
		}
		h.send("PUBLISH", "sip:8001@"+domain, "<sip:8001@"+domain+">", "q1", publishedDoc, "Event: presence", pidf)
		if res := h.response(); res.Code != 403 {
			t.Errorf("another's presence got %s", res.Start)
		}
		h.send("PUBLISH", "sip:8002@"+domain, "<sip:8002@"+domain+">", "q2", publishedDoc, "Event: dialog")
		if res := h.response(); res.Code != 489 {
			t.Errorf("another event got %s", res.Start)
		}
	})
}

// settings is a Features in memory.
type settings struct {
	mu sync.Mutex
	of map[string]Settings
}

func newSettings() *settings { return &settings{of: map[string]Settings{}} }

func (f *settings) set(e string, s Settings) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.of[e] = s
}

func (f *settings) Settings(e string) (Settings, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.of[e]
	return s, ok
}

func (f *settings) SetDoNotDisturb(_ context.Context, e string, on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.of[e]
	s.DoNotDisturb = on
	f.of[e] = s
	return nil
}

func (f *settings) SetForward(_ context.Context, e string, kind ForwardKind, fw Forward) error {
	if fw.To == "110" {
		return fmt.Errorf("110: %w", ErrNotAllowed)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.of[e]
	next := map[ForwardKind]Forward{kind: fw}
	for k, v := range s.Forwards {
		if k != kind {
			next[k] = v
		}
	}
	s.Forwards = next
	f.of[e] = s
	return nil
}

// readFeatures reads a report with the standard library: one element per part.
func readFeatures(t *testing.T, m stacktest.Message) map[string]string {
	t.Helper()
	_, params, err := mime.ParseMediaType(m.Header("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	reader := multipart.NewReader(strings.NewReader(m.Body), params["boundary"])
	for {
		p, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			XMLName xml.Name
			DND     string `xml:"doNotDisturbOn"`
			Kind    string `xml:"forwardingType"`
			Status  string `xml:"forwardStatus"`
			To      string `xml:"forwardTo"`
			Rings   string `xml:"ringCount"`
		}
		if err := xml.NewDecoder(p).Decode(&doc); err != nil {
			t.Fatal(err)
		}
		if doc.XMLName.Space != cstaSpace || p.Header.Get("Content-Type") != featureType {
			t.Errorf("part %v of %s", doc.XMLName, p.Header.Get("Content-Type"))
		}
		out[doc.XMLName.Local+doc.Kind] = strings.Trim(doc.DND+" "+doc.Status+" "+doc.To+" "+doc.Rings, " ")
	}
}

func TestFeatureEvents(t *testing.T) {
	features := newSettings()
	inBubble(t, func(o *Options) { o.Features = features }, func(b *bubble) {
		h, twin := b.phone("8003", 3), b.phone("8003", 4)
		w, v := h.subscribe("as-feature-event", "8003"), twin.subscribe("as-feature-event", "8003")
		want := map[string]string{"DoNotDisturbEvent": "false", "ForwardingEventforwardImmediate": "false", "ForwardingEventforwardBusy": "false", "ForwardingEventforwardNoAns": "false"}
		if diff := cmp.Diff(want, readFeatures(t, w.notify("200 OK"))); diff != "" {
			t.Error(diff)
		}
		v.notify("200 OK")
		change := func(body string) stacktest.Message {
			h.send("SUBSCRIBE", w.target, w.to, w.id, body, "Event: as-feature-event", "Content-Type: "+featureType)
			return h.answer()
		}
		if res := change(`<?xml version="1.0"?><SetDoNotDisturb xmlns="` + cstaSpace + `"><device>8003</device><doNotDisturbOn>true</doNotDisturbOn></SetDoNotDisturb>`); res.Code != 200 {
			t.Fatalf("%s", res.Raw)
		}
		want["DoNotDisturbEvent"] = "true"
		for _, x := range []*watch{w, v} { // both phones of the extension show it
			if diff := cmp.Diff(want, readFeatures(t, x.notify("200 OK"))); diff != "" {
				t.Error(diff)
			}
		}
		h.quiet(time.Second)
		if res := change(`<SetForwarding xmlns="` + cstaSpace + `"><device/><forwardingType>forwardNoAns</forwardingType><activateForward>true</activateForward><forwardDN>sip:8001@linehall.test</forwardDN><ringCount>4</ringCount></SetForwarding>`); res.Code != 200 {
			t.Fatalf("%s", res.Raw)
		}
		want["ForwardingEventforwardNoAns"] = "true 8001 4"
		if diff := cmp.Diff(want, readFeatures(t, v.notify("200 OK"))); diff != "" {
			t.Error(diff)
		}
		w.notify("200 OK")
		for body, code := range map[string]int{
			`<SetForwarding><forwardingType>forwardImmediate</forwardingType><activateForward>true</activateForward><forwardDN>110</forwardDN></SetForwarding>`: 403,
			`<SetDoNotDisturb><device>8001</device><doNotDisturbOn>true</doNotDisturbOn></SetDoNotDisturb>`:                                                     403,
			`<SetDoNotDisturb><doNotDisturbOn>maybe</doNotDisturbOn></SetDoNotDisturb>`:                                                                         400,
			`<SetForwarding><forwardingType>forwardSometimes</forwardingType><activateForward>true</activateForward></SetForwarding>`:                           400,
			`<SetForwarding><forwardingType>forwardBusy</forwardingType><activateForward>true</activateForward></SetForwarding>`:                                400,
			`<Reboot/>`: 400,
			`nonsense`:  400,
		} {
			if res := change(body); res.Code != code {
				t.Errorf("%s got %s", body, res.Start)
			}
		}
	})
}

// reports notes what the collector was given.
type reports struct {
	mu  sync.Mutex
	all []string
}

func (q *reports) Report(_ context.Context, call, extension string, at site.ID, r Report) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = append(q.all, fmt.Sprint(call, " ", extension, " ", at, " ", r.Local.MOS(), " ", r.Local.LossPercent))
	return nil
}

// The example of RFC 6035 §4.6.2, its Call-ID that of a call of ours.
const qualityReport = "VQSessionReport: CallTerm\r\nCallID: c1b\r\nLocalID: Alice <sip:alice@example.org>\r\nRemoteID: Bill <sip:bill@example.net>\r\n" +
	"OrigID: Alice <sip:alice@example.org>\r\nLocalGroup: example-phone-55671\r\nRemoteGroup: example-gateway-09871\r\n" +
	"LocalAddr: IP=10.10.1.100 PORT=5000 SSRC=1a3b5c7d\r\nLocalMAC: 00:1f:5b:cc:21:0f\r\nRemoteAddr: IP=11.1.1.150 PORT=5002 SSRC=0x2468abcd\r\n" +
	"LocalMetrics:\r\nTimestamps: START=2004-10-10T18:23:43Z STOP=2004-10-01T18:26:02Z\r\nSessionDesc: PT=18 PD=G729 SR=8000 FD=20 FO=20 FPP=2 PPS=50 FMTP=\"annexb=no\" PLC=3 SSUP=on\r\n" +
	"JitterBuffer: JBA=3 JBR=2 JBN=40 JBM=80 JBX=120\r\nPacketLoss: NLR=5.0 JDR=2.0\r\nBurstGapLoss: BLD=0 BD=0 GLD=2.0 GD=500 GMIN=16\r\n" +
	"Delay: RTD=200 ESD=140 SOWD=200 IAJ=2 MAJ=10\r\nSignal: SL=-18 NL=-50 RERL=55\r\nQualityEst: RLQ=90 RCQ=85 EXTRI=90 MOSLQ=4.2 MOSCQ=4.3 QoEEstAlg=P.564\r\n" +
	"RemoteMetrics:\r\nQualityEst: MOSLQ=4.1\r\nDialogID: 38419823470834;to-tag=8472761;from-tag=9123dh311\r\n"

func TestQualityReports(t *testing.T) {
	q := &reports{}
	inBubble(t, func(o *Options) { o.Quality = q }, func(b *bubble) {
		h := b.phone("8002", 3)
		b.s.CallChanged(talk("c1", call.DialogConfirmed))
		b.s.CallChanged(ended("c1")) // the report comes after the BYE
		for i, tt := range []struct {
			method, body, kind string
			code               int
		}{
			{"PUBLISH", qualityReport, qualityType, 200},
			{"NOTIFY", qualityReport, qualityType, 200},
			{"PUBLISH", strings.Replace(qualityReport, "CallID: c1b", "CallID: other", 1), qualityType, 200},
			{"PUBLISH", "hello", qualityType, 400},
			{"PUBLISH", qualityReport, "text/plain", 415},
		} {
			h.send(tt.method, "sip:collector@"+domain, "<sip:collector@"+domain+">", fmt.Sprint("q", i), tt.body, "Event: vq-rtcpxr", "Content-Type: "+tt.kind, "SIP-If-Match: whatever")
			if res := h.response(); res.Code != tt.code {
				t.Errorf("%s %d got %s", tt.method, i, res.Start)
			}
		}
		want := []string{"c1 8002 hq 4.2 5", "c1 8002 hq 4.2 5", " 8002 hq 4.2 5"}
		if diff := cmp.Diff(want, q.all); diff != "" {
			t.Error(diff)
		}
	})
}

func TestParseReport(t *testing.T) {
	r, err := parseReport([]byte(qualityReport))
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Kind: "session", CallID: "c1b", LocalID: "Alice <sip:alice@example.org>", RemoteID: "Bill <sip:bill@example.net>",
		Local: Metrics{
			MOSListening: 4.2, MOSConversation: 4.3, LossPercent: 5, DiscardPercent: 2, Jitter: 2 * time.Millisecond, RoundTrip: 200 * time.Millisecond,
			EndSystem: 140 * time.Millisecond, OneWay: 200 * time.Millisecond, Codec: "G729",
			Start: time.Date(2004, 10, 10, 18, 23, 43, 0, time.UTC), Stop: time.Date(2004, 10, 1, 18, 26, 2, 0, time.UTC),
		},
		Remote: &Metrics{MOSListening: 4.1},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	// Old firmware: no heading, colons without a blank, figures that mean "not measured".
	r, err = parseReport([]byte("VQIntervalReport\n:x\nVQIntervalReport:\nCallID:a\nPacketLoss:NLR=nan JDR=-1\nQualityEst:MOSLQ=127 MOSCQ=3.9\nDelay:RTD=99999999\n"))
	if err != nil || r.Kind != "interval" || r.Local.MOS() != 3.9 || r.Local.LossPercent != 0 || r.Local.RoundTrip != 0 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestMessage(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h, one, two := b.phone("8001", 1+9), b.phone("8002", 3), b.phone("8002", 4)
		n := 0
		message := func(to, body string) {
			n++
			h.send("MESSAGE", "sip:"+to+"@"+domain, "<sip:"+to+"@"+domain+">", fmt.Sprint("m", n), body, "Content-Type: text/plain")
			synctest.Wait()
		}
		message("8002", "你好")
		for i, p := range []*handset{one, two} {
			m := p.sock.Recv()
			if m.Method != "MESSAGE" || m.Body != "你好" || !strings.Contains(m.Header("From"), `"Phone 8001" <sip:8001@linehall.test>`) || m.Header("Content-Type") != "text/plain" {
				t.Errorf("got\n%s", m.Raw)
			}
			if i == 1 { // one of two phones is enough
				p.sock.Answer(here, m, "200 OK")
			}
		}
		if res := h.response(); res.Code != 200 {
			t.Errorf("delivered: %s", res.Start)
		}
		message("8002", "x")
		time.Sleep(3 * time.Second)
		if got := h.sock.Pending(); len(got) != 0 {
			t.Errorf("answered early: %s", got[0].Start)
		}
		time.Sleep(2 * time.Second)
		if res := h.response(); res.Code != 202 {
			t.Errorf("nobody answers: %s", res.Start)
		}
		time.Sleep(time.Minute)
		one.sock.Pending()
		two.sock.Pending()
		message("8002", "x")
		one.sock.Answer(here, one.sock.Recv(), "415 Unsupported Media Type")
		two.sock.Answer(here, two.sock.Recv(), "481 Call/Transaction Does Not Exist")
		if res := h.response(); res.Code != 415 {
			t.Errorf("refused: %s", res.Start)
		}
		for to, code := range map[string]int{"8003": 480, "8999": 404, "013800000000": 404} {
			message(to, "x")
			if res := h.response(); res.Code != code {
				t.Errorf("to %s: %s", to, res.Start)
			}
		}
		message("8002", strings.Repeat("x", 9000))
		if res := h.response(); res.Code != 413 {
			t.Errorf("too long: %s", res.Start)
		}
	})
}

func TestPhoneOfAnotherPortIsFound(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		h := b.phone("8003", 3)
		before := b.people.bindings[location.AOR("8003", domain)][0].Flow
		before.Transport, before.Remote = "TCP", netip.MustParseAddrPort("10.0.0.3:40000")
		if _, ok := b.s.present("8003", "sip:8003@10.0.0.3:5060", before); ok {
			t.Error("a UDP binding stands in for a connection")
		}
		before.Transport = "UDP"
		if got, ok := b.s.present("8003", "sip:8003@elsewhere", before); !ok || got.Flow.Remote.String() != h.addr {
			t.Errorf("found %+v", got)
		}
	})
}
