package test

import (
	"bytes"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// office is the appliance of TestDesksByHand, and two phones at headquarters.
type office struct {
	t             *testing.T // of what is tested now
	a             *appliance
	caller, other *handset
}

// phone is a registered phone; site is the last digit of its subnet.
func (o *office) phone(t *testing.T, extension string, site, host int, transport string, headers ...string) *handset {
	t.Helper()
	h := o.a.handset(t, extension, fmt.Sprintf("127.0.%d.%d", site, host), transport)
	if len(headers) > 0 {
		headers = append(headers, h.contact(""), "Expires: 300")
	}
	h.register(headers...)
	return h
}

func (o *office) idle(t *testing.T) {
	t.Helper()
	o.a.eventually(10*time.Second, "no call is left", func() error {
		if n := o.a.metric("linehall_calls_active"); n != 0 {
			return fmt.Errorf("%v calls", n)
		}
		return nil
	})
}

// refused dials and expects a final response with a warning, which nobody else hears of.
func refused(t *testing.T, from *handset, to, body string, code int, warning string, headers ...string) {
	t.Helper()
	call := from.begin("INVITE", to, body, headers...)
	res := from.response("INVITE", 0)
	call.acknowledge(res, "")
	if res.code() != code || !strings.Contains(res.header.Get("Warning"), warning) {
		t.Errorf("%s calls %s: %s, Warning %q, want %d %q", from.acc.Extension, to, res.start, res.header.Get("Warning"), code, warning)
	}
}

func invites(m sipText) bool { return m.isRequest() && strings.HasPrefix(m.start, "INVITE") }

// What desk phones in the test's own hands are told, and told to do, on one appliance whose branches are each of another kind.
func TestDesksByHand(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, func(s settings, a *appliance) {
		a.terminalColumn("class", map[string]string{"8050": "chief"})
		a.terminalColumn("lamps", map[string]string{"8021": "8025 8026 2001"})
		s.set("dialplan.classes", map[string]any{"chief": map[string]any{"priority": "flash_override"}})
		s.set("dialplan.duty_members", []string{"8025"})
		s.set("dialplan.preempt_busy", true)
		s.set("terminals.transport", "tls")
		s.set("terminals.srtp", "optional")
		s.set("recording.rules", []any{map[string]any{"name": "book", "extensions": []any{"5001"}, "mode": "always", "announce": "none"}})
		for _, one := range s["sites"].([]any) {
			switch place := one.(map[string]any); place["id"] {
			case "branch1":
				place["line"].(map[string]any)["calls_max"] = 1
			case "branch2":
				place["srtp"] = "required"
			case "branch3":
				line := place["line"].(map[string]any)
				line["up"], line["down"], line["conference_floor"] = "400kbps", "400kbps", "50%"
			case "branch5":
				place["srtp"] = "off"
			}
		}
	})
	o := &office{a: a, caller: a.handset(t, "8021", "127.0.0.21", "UDP"), other: a.handset(t, "8025", "127.0.0.25", "UDP")}
	o.caller.register()
	o.other.register()
	for _, c := range []struct {
		name string
		run  func(*office)
	}{
		{"a list of lamps", (*office).listOfLamps},
		{"one phone of several by its GRUU", (*office).gruu},
		{"who calls and who answers", (*office).identities},
		{"callers without a number", (*office).anonymous},
		{"intercom for every brand", (*office).intercom},
		{"encryption by site", (*office).encryption},
		{"every level of precedence", (*office).precedence},
		{"a busy telephone gives way", (*office).busyGivesWay},
		{"twice through the line", (*office).hairpin},
		{"a narrow line", (*office).narrow},
		{"a new certificate during a call", (*office).certificate},
	} {
		if !t.Run(c.name, func(t *testing.T) {
			o.t, o.caller.t, o.other.t = t, t, t
			c.run(o)
			o.idle(t)
		}) {
			break // what is left of it would disturb the next ones
		}
	}
}

// lampList is a NOTIFY for a list (RFC 4662).
type lampList struct {
	FullState bool `xml:"fullState,attr"`
	Version   int  `xml:"version,attr"`
	Resources []struct {
		URI string `xml:"uri,attr"`
	} `xml:"resource"`
	shown map[string]string // documents by what they are about
}

var entityOf = regexp.MustCompile(`entity="sip:([^@"]+)@`)

func readLampList(t *testing.T, m sipText) lampList {
	t.Helper()
	list := lampList{shown: map[string]string{}}
	kind, params, err := mime.ParseMediaType(m.header.Get("Content-Type"))
	if err != nil || kind != "multipart/related" || params["type"] != "application/rlmi+xml" {
		t.Fatalf("%v: %s", err, m)
	}
	parts := multipart.NewReader(strings.NewReader(m.body), params["boundary"])
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("%v in %s", err, m)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		switch part.Header.Get("Content-Type") {
		case "application/rlmi+xml":
			if err := xml.Unmarshal(body, &list); err != nil {
				t.Errorf("%v in %s", err, body)
			}
		case "application/dialog-info+xml":
			if about := entityOf.FindSubmatch(body); about != nil {
				list.shown[string(about[1])] = string(body)
			}
		}
	}
}

func (o *office) listOfLamps() {
	t := o.t
	o.caller.begin("SUBSCRIBE", "8021-list", "", "Event: dialog", "Expires: 300")
	if res := o.caller.response("SUBSCRIBE", 421); !strings.Contains(res.header.Get("Require"), "eventlist") {
		t.Errorf("without the extension: %s", res)
	}
	d := o.caller.begin("SUBSCRIBE", "8021-list", "", "Event: dialog", "Expires: 300", "Supported: eventlist",
		"Accept: application/dialog-info+xml, application/rlmi+xml, multipart/related")
	res := o.caller.response("SUBSCRIBE", 200)
	d.learn(res)
	if !strings.Contains(res.header.Get("Require"), "eventlist") {
		t.Errorf("subscribed: %s", res)
	}
	first := o.caller.request("NOTIFY")
	o.caller.reply(first, "200 OK", "", "")
	list := readLampList(t, first)
	if !list.FullState || len(list.Resources) != 3 || !strings.Contains(first.header.Get("Require"), "eventlist") {
		t.Errorf("the list is %+v in\n%s", list, first)
	}
	third := o.phone(t, "8026", 0, 26, "UDP")
	call, _ := third.calls(o.other)
	lit := func(state string) {
		t.Helper()
		left := map[string]bool{"8025": true, "8026": true}
		for len(left) > 0 {
			m := o.caller.request("NOTIFY")
			o.caller.reply(m, "200 OK", "", "")
			next := readLampList(t, m)
			if next.Version <= list.Version {
				t.Errorf("version %d after %d", next.Version, list.Version)
			}
			list = next
			for about, document := range list.shown {
				if strings.Contains(document, "<state>"+state) {
					delete(left, about)
				}
			}
		}
	}
	lit("confirmed")
	call.hangUp(o.other)
	lit("terminated")
	end := []string{"Event: dialog", "Expires: 0", "Supported: eventlist"}
	d.send("SUBSCRIBE", "", end...)
	d.send("SUBSCRIBE", "", append(end, o.caller.authorization(o.caller.response("SUBSCRIBE", 401), "SUBSCRIBE", d.target))...)
	o.caller.response("SUBSCRIBE", 200)
	for last := ""; !strings.HasPrefix(last, "terminated"); { // the state once more, in as many datagrams as it takes
		m := o.caller.request("NOTIFY")
		o.caller.reply(m, "200 OK", "", "")
		last = m.header.Get("Subscription-State")
	}
}

func (o *office) gruu() {
	t := o.t
	gruus := func(h *handset, instance string) []string {
		t.Helper()
		res := h.register("Supported: gruu", "Expires: 300", h.contact(`;+sip.instance="<urn:uuid:00000000-0000-1000-8000-`+instance+`>"`))
		var found []string
		for c := range strings.SplitSeq(strings.Join(res.header.Values("Contact"), ","), "<sip:") {
			if !strings.Contains(c, h.local) {
				continue
			}
			for _, kind := range []string{"pub-gruu", "temp-gruu"} {
				if m := regexp.MustCompile(kind + `="([^"]+)"`).FindStringSubmatch(c); m != nil {
					found = append(found, m[1])
				}
			}
		}
		if len(found) != 2 {
			t.Fatalf("GRUUs %q in %s", found, res)
		}
		return found
	}
	first, second := o.a.handset(t, "8032", "127.0.0.32", "UDP"), o.a.handset(t, "8032", "127.0.0.33", "TCP")
	gruus(first, "00a0c91e6bf6")
	for _, uri := range gruus(second, "00a0c91e6bf7") {
		call := o.caller.beginAt("INVITE", "8032", uri, o.caller.sdp(4000))
		_, invite := second.answers(4002)
		if !strings.HasPrefix(invite.start, "INVITE sip:8032@"+second.local) {
			t.Errorf("%s becomes %s", uri, invite.start)
		}
		call.acknowledge(o.caller.response("INVITE", 200), "")
		call.hangUp(second)
	}
	first.none("the other phone is meant", invites)
}

func (o *office) identities() {
	t := o.t
	const claimed = "P-Asserted-Identity: <sip:110@linehall.test>"
	for _, old := range []bool{false, true} { // phones that show Remote-Party-ID only, at both ends
		agent := "User-Agent: Yealink SIP-T54W 96.86.0.100"
		if old {
			agent = "User-Agent: Cisco/SPA504G-7.6.2"
		}
		called := o.phone(t, "8035", 0, 35, "UDP", agent)
		call := o.caller.begin("INVITE", "8035", o.caller.sdp(4000), claimed, agent)
		invite := called.request("INVITE")
		called.reply(invite, "180 Ringing", "rings", "")
		called.reply(invite, "200 OK", "rings", called.sdp(4002), agent)
		ringing, answer := o.caller.response("INVITE", 180), o.caller.response("INVITE", 200)
		called.request("ACK")
		call.acknowledge(answer, "")
		for _, m := range []struct {
			sipText
			number, party string
		}{{invite, "8021", "calling"}, {ringing, "8035", "called"}, {answer, "8035", "called"}} {
			if v := m.header.Values("P-Asserted-Identity"); len(v) != 1 || !strings.HasSuffix(v[0], " <sip:"+m.number+"@"+o.caller.acc.Domain+">") {
				t.Errorf("P-Asserted-Identity %q in\n%s", v, m)
			}
			remote := m.header.Get("Remote-Party-ID")
			if old != (strings.Contains(remote, "sip:"+m.number+"@") && strings.Contains(remote, "party="+m.party)) {
				t.Errorf("Remote-Party-ID %q in\n%s", remote, m)
			}
		}
		call.send("INVITE", o.caller.sdp(4000, "a=sendonly"), claimed)
		hold := called.request("INVITE")
		if v := hold.header.Values("P-Asserted-Identity"); len(v) != 1 || !strings.Contains(v[0], "8021@") {
			t.Errorf("P-Asserted-Identity %q in\n%s", v, hold)
		}
		called.reply(hold, "200 OK", "", called.sdp(4002, "a=recvonly"))
		call.acknowledge(o.caller.response("INVITE", 200), "")
		called.request("ACK")
		call.hangUp(called)
		called.register(called.contact(""), "Expires: 0")
	}
}

func (o *office) anonymous() {
	t := o.t
	o.a.run("terminal", "features", "8025", "block_anonymous=on")
	refused(t, o.caller, "8025", o.caller.sdp(4000), 433, "", "Privacy: id")
	refused(t, o.caller, "*678025", o.caller.sdp(4000), 433, "")
	o.other.none("it takes no calls without a number", invites)
	call, _ := o.caller.calls(o.other)
	call.hangUp(o.other)
	o.a.run("terminal", "features", "8025", "block_anonymous=off")
	hidden := o.caller.begin("INVITE", "8025", o.caller.sdp(4000), "Privacy: id")
	_, invite := o.other.answers(4002)
	if strings.Contains(invite.String(), "8021@") {
		t.Errorf("the phone is told\n%s", invite)
	}
	hidden.acknowledge(o.caller.response("INVITE", 200), "")
	hidden.hangUp(o.other)
	refused(t, o.other, "*69", o.other.sdp(4000), 404, "399") // nor does calling back tell
}

// brands is what the manuals say each brand's phones look for.
var brands = map[string][2]string{ //nolint:gochecknoglobals // a constant table
	"Yealink":     {"Alert-Info", `info=alert-autoanswer`},
	"Poly":        {"Alert-Info", `info=alert-autoanswer`},
	"Fanvil":      {"Alert-Info", `info=alert-autoanswer`},
	"Snom":        {"Alert-Info", `^<http://[^>]+>;info=alert-autoanswer;delay=0$`},
	"Htek":        {"Alert-Info", `info=alert-autoanswer`},
	"Mitel":       {"Alert-Info", `info=alert-autoanswer`},
	"Grandstream": {"Call-Info", `answer-after=0`},
	"Cisco":       {"Call-Info", `^<sip:[^>]+>; ?answer-after=0$`},
	"Gigaset":     {"Call-Info", `answer-after=0`},
	"Linphone":    {"Call-Info", `answer-after=0`},
}

func (o *office) intercom() {
	t := o.t
	call := o.caller.begin("INVITE", "*808025", o.caller.sdp(4000))
	_, invite := o.other.answers(4002)
	for brand, looks := range brands {
		if !regexp.MustCompile(looks[1]).MatchString(invite.header.Get(looks[0])) {
			t.Errorf("%s would ring: %s %q", brand, looks[0], invite.header.Get(looks[0]))
		}
	}
	call.acknowledge(o.caller.response("INVITE", 200), "")
	call.hangUp(o.other)
	call = o.caller.begin("INVITE", "8025", o.caller.sdp(4000), "Alert-Info: <http://x>;info=alert-autoanswer", "Call-Info: <sip:x>;answer-after=0", "Answer-Mode: Auto")
	_, invite = o.other.answers(4002)
	for _, name := range []string{"Alert-Info", "Call-Info", "Answer-Mode"} {
		if v := invite.header.Get(name); v != "" {
			t.Errorf("a phone's own %s crosses: %q", name, v)
		}
	}
	call.acknowledge(o.caller.response("INVITE", 200), "")
	call.hangUp(o.other)
}

// secret is an offer or answer of SRTP.
func (h *handset) secret(port int) string {
	return strings.Replace(h.sdp(port, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"), "RTP/AVP", "RTP/SAVP", 1)
}

// goesClear tries to go on without encryption, and says how that was answered.
func goesClear(t *testing.T, own *talkOf, other *handset, code int) {
	t.Helper()
	own.send("INVITE", own.h.sdp(4004))
	if code == 200 {
		re := other.request("INVITE")
		other.reply(re, "200 OK", "", other.sdp(4006))
		defer other.request("ACK")
	}
	own.acknowledge(own.h.response("INVITE", code), "")
}

func (o *office) encryption() {
	t := o.t
	talks := func(from, to *handset) *talkOf {
		t.Helper()
		own := from.begin("INVITE", to.acc.Extension, from.secret(4000))
		invite := to.request("INVITE")
		to.reply(invite, "200 OK", "answer", to.secret(4002))
		answer := from.response("INVITE", 200)
		own.acknowledge(answer, "")
		to.request("ACK")
		if !strings.Contains(invite.body, "inline:WVNfX19") || !strings.Contains(answer.body, "RTP/SAVP") {
			t.Errorf("offered\n%s\nanswered\n%s", invite.body, answer.body)
		}
		return own
	}
	// branch2 requires it.
	clear := o.phone(t, "3003", 2, 33, "UDP")
	refused(t, clear, "8025", clear.sdp(4000), 488, "encrypted media is required here")
	refused(t, clear, "8025", clear.secret(4000), 488, "use TLS")
	first, second := o.phone(t, "3001", 2, 31, "TLS"), o.phone(t, "3002", 2, 32, "TLS")
	refused(t, o.caller, "3002", o.caller.sdp(4000), 488, "encrypted media is required here")
	second.none("nothing in clear", invites)
	own := talks(first, second)
	goesClear(t, own, second, 488)
	own.hangUp(second)
	emergency := clear.begin("INVITE", "110", clear.sdp(4000)) // which no policy stops
	o.other.answers(4002)
	emergency.acknowledge(clear.response("INVITE", 200), "")
	emergency.hangUp(o.other)
	// Headquarters offers it: what is encrypted stays so.
	third := o.phone(t, "8026", 0, 26, "UDP")
	own = talks(o.caller, third)
	goesClear(t, own, third, 488)
	own.hangUp(third)
	// branch5 leaves it to the phones.
	free, fifth := o.phone(t, "6001", 5, 61, "UDP"), o.phone(t, "6002", 5, 62, "UDP")
	own = talks(free, fifth)
	goesClear(t, own, fifth, 200)
	own.hangUp(fifth)
}

// ends takes the BYE of a call that had to give way, and looks for its reason.
func (h *handset) ends(t *testing.T, cause string) {
	t.Helper()
	bye := h.request("BYE")
	h.reply(bye, "200 OK", "", "")
	if reason := bye.header.Get("Reason"); !strings.HasPrefix(reason, "preemption") || !strings.Contains(reason, "cause="+cause) {
		t.Errorf("%s is hung up on for %q", h.acc.Extension, reason)
	}
}

func (o *office) precedence() {
	t := o.t
	chief := o.phone(t, "8050", 0, 50, "UDP")
	branch := []*handset{o.phone(t, "2001", 1, 41, "UDP"), o.phone(t, "2002", 1, 42, "UDP")}
	now, _ := o.caller.calls(branch[0]) // the line takes one call
	at := 0
	for _, level := range []string{"dsn.priority", "dsn.immediate", "q735.1", "dsn.flash-override"} {
		next := 1 - at
		call := chief.begin("INVITE", branch[next].acc.Extension, chief.sdp(4000), "Resource-Priority: "+level)
		now.h.ends(t, "2")
		branch[at].ends(t, "2")
		_, invite := branch[next].answers(4002)
		if got := invite.header.Get("Resource-Priority"); got != level {
			t.Errorf("Resource-Priority %q, want %q", got, level)
		}
		call.acknowledge(chief.response("INVITE", 200), "")
		refused(t, chief, branch[at].acc.Extension, chief.sdp(4008), 488, "370", "Resource-Priority: "+level) // an equal does not
		refused(t, o.caller, branch[at].acc.Extension, o.caller.sdp(4008), 488, "370")
		now, at = call, next
	}
	now.hangUp(branch[at])
	refused(t, o.caller, "2001", o.caller.sdp(4000), 403, "399", "Resource-Priority: dsn.priority") // staff may not
	res := o.caller.ask("OPTIONS", "", "")
	if got := res.header.Get("Accept-Resource-Priority"); !strings.Contains(got, "dsn.flash-override") || !strings.Contains(got, "q735.4") {
		t.Errorf("Accept-Resource-Priority %q", got)
	}
}

func (o *office) busyGivesWay() {
	t := o.t
	chief, busy, third := o.phone(t, "8050", 0, 51, "UDP"), o.phone(t, "8030", 0, 30, "UDP"), o.phone(t, "8026", 0, 27, "UDP")
	o.a.run("terminal", "features", "8030", "call_limit=1")
	o.caller.calls(busy)
	refused(t, third, "8030", third.sdp(4000), 486, "")
	call := chief.begin("INVITE", "8030", chief.sdp(4000))
	o.caller.ends(t, "1")
	busy.ends(t, "1")
	busy.answers(4002)
	call.acknowledge(chief.response("INVITE", 200), "")
	call.hangUp(busy)
}

func (o *office) hairpin() {
	t := o.t
	recorded, near, far := o.phone(t, "5001", 4, 51, "UDP"), o.phone(t, "5002", 4, 52, "UDP"), o.phone(t, "5003", 4, 53, "UDP")
	booked := func(from, to *handset) int64 {
		t.Helper()
		call, _ := from.calls(to)
		up, down := o.a.line("branch4")
		if up.ReservedBps != down.ReservedBps {
			t.Errorf("%d up, %d down", up.ReservedBps, down.ReservedBps)
		}
		call.hangUp(to)
		o.idle(t)
		return up.ReservedBps
	}
	once := booked(o.caller, far)
	if inside := booked(near, far); inside != 0 || once == 0 {
		t.Errorf("a call to headquarters takes %d bit/s, one inside the branch %d", once, inside)
	}
	if twice := booked(recorded, near); twice != 2*once {
		t.Errorf("recorded at headquarters, a call inside the branch takes %d bit/s, want twice %d", twice, once)
	}
}

// narrow is a line of 400 kbit/s, half of it kept for the voices of meetings: there is room for one call, without a picture.
func (o *office) narrow() {
	t := o.t
	near, far := o.phone(t, "4001", 3, 41, "UDP"), o.phone(t, "4002", 3, 42, "UDP")
	picture := func(h *handset, port int) string {
		return h.sdp(4000) + fmt.Sprintf("m=video %d RTP/AVP 96\r\nb=AS:512\r\na=rtpmap:96 H264/90000\r\n", port)
	}
	call := o.caller.begin("INVITE", "4001", picture(o.caller, 4010))
	invite := near.request("INVITE")
	if !strings.Contains(invite.body, "m=video 0 ") || strings.Contains(invite.body, "m=audio 0 ") {
		t.Errorf("offered\n%s", invite.body)
	}
	near.reply(invite, "200 OK", "answer", picture(near, 0))
	answer := o.caller.response("INVITE", 200)
	if !strings.Contains(answer.body, "m=video 0 ") {
		t.Errorf("answered\n%s", answer.body)
	}
	call.acknowledge(answer, "")
	near.request("ACK")
	refused(t, o.other, "4002", o.other.sdp(4000), 488, "370")
	far.none("there is no room", invites)

	args := append([]string{"rooms", "--insecure", "--allow-failures"}, o.a.venueLinks("hq", "branch3")...) // there is no room for pictures
	meeting := startProcess(t, ".", repository+"/bin/linesim", args...)
	o.a.eventually(15*time.Second, "the branch's voices have their place", func() error {
		voices := o.a.metric("linehall_line_reserved_bps", `site="branch3"`, `class="conference_audio"`, `direction="up"`)
		if up, _ := o.a.line("branch3"); voices == 0 || up.ReservedBps > up.CapacityBps-up.OfficeReserveBps {
			return fmt.Errorf("%v bit/s for voices, %+v", voices, up)
		}
		if n := o.a.metric("linehall_conference_participants"); n != 2 {
			return fmt.Errorf("%v participants", n)
		}
		return nil
	})
	meeting.stop()
	call.hangUp(near)
}

func (o *office) certificate() {
	t := o.t
	first, second := o.phone(t, "8040", 0, 40, "TLS"), o.phone(t, "8041", 0, 41, "TLS")
	own := first.begin("INVITE", "8041", first.secret(4000))
	invite := second.request("INVITE")
	second.reply(invite, "200 OK", "answer", second.secret(4002))
	own.acknowledge(first.response("INVITE", 200), "")
	second.request("ACK")
	theirs := second.called(invite, "answer")
	shown := func() []byte {
		t.Helper()
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(o.a.ports.tls))) //nolint:gosec // which one comes is looked at
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // nothing was said
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw
	}
	before := shown()
	o.a.run("cert", "renew")
	o.a.eventually(10*time.Second, "a new certificate", func() error {
		if bytes.Equal(shown(), before) {
			return fmt.Errorf("still the old one")
		}
		return nil
	})
	for _, hold := range []struct {
		by *talkOf
		at *handset
	}{{own, second}, {theirs, first}} { // over the connections of before
		hold.by.send("INVITE", hold.by.h.secret(4000)+"a=sendonly\r\n")
		hold.at.reply(hold.at.request("INVITE"), "200 OK", "", hold.at.secret(4002)+"a=recvonly\r\n")
		hold.by.acknowledge(hold.by.h.response("INVITE", 200), "")
		hold.at.request("ACK")
	}
	theirs.hangUp(first)
}
