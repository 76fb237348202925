package test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// What only a phone in the test's own hands can do, and see: flows, paths, glare, early dialogs, headers of who calls and why.
func TestPhonesByHand(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, func(s settings, _ *appliance) {
		s.set("dialplan.groups", []any{group("8100", "all", "8025"), group("8101", "longest_idle", "8034", "8035"), group("8102", "memory", "8034", "8035")})
	})
	caller := a.handset(t, "8021", "127.0.0.21", "UDP")
	caller.register()
	idle := func(t *testing.T) {
		t.Helper()
		a.eventually(10*time.Second, "no call is left", func() error {
			if n := a.metric("linehall_calls_active"); n != 0 {
				return fmt.Errorf("%v calls", n)
			}
			return nil
		})
	}

	t.Run("two flows of one phone", func(t *testing.T) {
		caller.t = t
		first, second := a.handset(t, "8022", "127.0.0.22", "TCP"), a.handset(t, "8022", "127.0.0.22", "TCP")
		for i, flow := range []*handset{first, second} {
			res := flow.register("Supported: path, outbound, gruu", "Expires: 300",
				flow.contact(fmt.Sprintf(";reg-id=%d;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"", i+1)))
			if !strings.Contains(res.header.Get("Require"), "outbound") || res.header.Get("Flow-Timer") == "" || !strings.Contains(res.header.Get("Contact"), "pub-gruu=") {
				t.Errorf("flow %d: %s", i+1, res)
			}
		}
		invited := func(m sipText) bool { return m.isRequest() && strings.HasPrefix(m.start, "INVITE") }
		call := caller.begin("INVITE", "8022", caller.sdp(4000))
		used, spare := first, second
		a.eventually(5*time.Second, "one flow rings", func() error {
			for _, flow := range []*handset{first, second} {
				flow.drain()
				if len(flow.waiting) > 0 {
					used, spare = flow, map[*handset]*handset{first: second, second: first}[flow]
					return nil
				}
			}
			return fmt.Errorf("silence")
		})
		invite := used.request("INVITE")
		spare.none("a phone rings once", invited)
		used.reply(invite, "430 Flow Failed", "x", "") // RFC 5626 §5.3.2: the edge says so
		spare.answers(4002)
		call.acknowledge(caller.response("INVITE", 200), "")
		call.hangUp(spare)
		// One connection is gone: the other one rings.
		_ = used.conn.Close()
		call = caller.begin("INVITE", "8022", caller.sdp(4000))
		spare.answers(4002)
		call.acknowledge(caller.response("INVITE", 200), "")
		call.hangUp(spare)
		idle(t)
	})
	t.Run("through a proxy of the branch", func(t *testing.T) {
		caller.t = t
		edge := a.handset(t, "8023", "127.0.0.23", "UDP")
		path := fmt.Sprintf("<sip:%s;lr>", edge.local)
		res := edge.register("Supported: path", "Path: "+path, "Contact: <sip:8023@10.99.99.99:5070>", "Expires: 300")
		if res.header.Get("Path") != path {
			t.Errorf("Path is repeated as %q", res.header.Get("Path"))
		}
		call := caller.begin("INVITE", "8023", caller.sdp(4000))
		invite := edge.request("INVITE")
		if !strings.HasPrefix(invite.start, "INVITE sip:8023@10.99.99.99:5070") || invite.header.Get("Route") != path {
			t.Errorf("the proxy gets\n%s", invite)
		}
		edge.reply(invite, "486 Busy Here", "x", "")
		edge.request("ACK")
		call.acknowledge(caller.response("INVITE", 486), "")
		edge.register("Path: "+path, "Supported: path", "Contact: <sip:8023@10.99.99.99:5070>", "Expires: 0")
		idle(t)
	})
	t.Run("keep-alives", func(t *testing.T) {
		stream := a.handset(t, "8024", "127.0.0.24", "TCP")
		if _, err := stream.conn.Write([]byte("\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		stream.wait("pong", func(m sipText) bool { return m.start == "" })
		conn := dialFrom(t.Context(), "udp", "127.0.0.24:0", a.ports.sip)
		defer conn.Close()
		binding := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, "twelve bytes"...)
		if _, err := conn.Write(binding); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second)) // of a live socket
		buf := make([]byte, 200)
		n, err := conn.Read(buf)
		if err != nil || n < 32 || buf[0] != 1 || buf[1] != 1 || string(buf[8:20]) != "twelve bytes" {
			t.Fatalf("STUN: % x, %v", buf[:n], err)
		}
		own := conn.LocalAddr().(*net.UDPAddr)
		if port := int(buf[26])<<8 | int(buf[27]); port^0x2112 != own.Port {
			t.Errorf("mapped port %d, want %d", port^0x2112, own.Port)
		}
	})

	other := a.handset(t, "8025", "127.0.0.25", "UDP")
	other.register()
	t.Run("glare", func(t *testing.T) {
		caller.t, other.t = t, t
		own, theirs := caller.calls(other)
		own.send("INVITE", caller.sdp(4010))
		re := other.request("INVITE")
		theirs.send("INVITE", other.sdp(4012))
		theirs.acknowledge(other.response("INVITE", 491), "")
		other.reply(re, "200 OK", "", other.sdp(4002))
		own.acknowledge(caller.response("INVITE", 200), "")
		other.request("ACK")
		own.hangUp(other)
		idle(t)
	})
	t.Run("several early dialogs with early media", func(t *testing.T) {
		caller.t, other.t = t, t
		call := caller.begin("INVITE", "8025", caller.sdp(4000))
		invite := other.request("INVITE")
		other.reply(invite, "183 Session Progress", "announcement", other.sdp(4004))
		early := caller.response("INVITE", 183)
		if !strings.Contains(early.body, "m=audio 4004") {
			t.Errorf("early media\n%s", early)
		}
		other.reply(invite, "180 Ringing", "bell", "")
		rings := caller.response("INVITE", 180)
		other.reply(invite, "200 OK", "bell", other.sdp(4006))
		answer := caller.response("INVITE", 200)
		call.acknowledge(answer, "")
		other.request("ACK")
		if early.header.Get("To") == answer.header.Get("To") || rings.header.Get("To") != answer.header.Get("To") || !strings.Contains(answer.body, "m=audio 4006") {
			t.Errorf("183 to %s, 180 to %s, 200 to %s", early.header.Get("To"), rings.header.Get("To"), answer)
		}
		call.hangUp(other)
		idle(t)
	})
	t.Run("answered elsewhere", func(t *testing.T) {
		caller.t, other.t = t, t
		twin := a.handset(t, "8025", "127.0.0.26", "UDP")
		twin.register()
		call := caller.begin("INVITE", "8025", caller.sdp(4000))
		lost := twin.request("INVITE")
		twin.reply(lost, "180 Ringing", "lost", "")
		other.answers(4002)
		cancel := twin.request("CANCEL")
		if !strings.Contains(cancel.header.Get("Reason"), "SIP;cause=200") && !strings.Contains(cancel.header.Get("Reason"), "cause=200") {
			t.Errorf("CANCEL for %q", cancel.header.Get("Reason"))
		}
		twin.reply(cancel, "200 OK", "lost", "")
		twin.reply(lost, "487 Request Terminated", "lost", "")
		twin.request("ACK")
		call.acknowledge(caller.response("INVITE", 200), "")
		call.hangUp(other)
		twin.register(twin.contact(""), "Expires: 0")
		idle(t)
	})
	t.Run("REFER without a subscription", func(t *testing.T) {
		caller.t, other.t = t, t
		third := a.handset(t, "8027", "127.0.0.27", "UDP")
		third.register()
		own, _ := caller.calls(other)
		own.send("REFER", "", "Refer-To: <sip:8027@"+caller.acc.Domain+">", "Refer-Sub: false", "Supported: norefersub")
		if res := caller.response("REFER", 0); res.code() != 200 && res.code() != 202 || res.header.Get("Refer-Sub") != "false" {
			t.Errorf("REFER: %s", res)
		}
		target, invite := third.answers(4020)
		if !strings.Contains(invite.header.Get("Referred-By"), "8021") {
			t.Errorf("Referred-By %q", invite.header.Get("Referred-By"))
		}
		re := other.request("INVITE")
		other.reply(re, "200 OK", "", other.sdp(4002))
		other.request("ACK")
		caller.reply(caller.request("BYE"), "200 OK", "", "")
		caller.none("nobody has subscribed", func(m sipText) bool { return m.isRequest() && strings.HasPrefix(m.start, "NOTIFY") })
		target.send("BYE", "")
		third.response("BYE", 200)
		other.reply(other.request("BYE"), "200 OK", "", "")
		idle(t)
	})
	t.Run("forwarded with its history", func(t *testing.T) {
		caller.t, other.t = t, t
		a.run("terminal", "features", "8028", "always=8025")
		call := caller.begin("INVITE", "8028", caller.sdp(4000))
		caller.response("INVITE", 181)
		_, invite := other.answers(4002)
		history := strings.Join(invite.header.Values("History-Info"), ", ")
		if !strings.Contains(history, "8028") || !strings.Contains(history, "cause=302") || !strings.Contains(history, "index=1.1") || !strings.Contains(invite.header.Get("Diversion"), "8028") {
			t.Errorf("History-Info %q, Diversion %q", history, invite.header.Get("Diversion"))
		}
		call.acknowledge(caller.response("INVITE", 200), "")
		call.hangUp(other)
		a.run("terminal", "features", "8028", "always=off")
		idle(t)
	})
	t.Run("CANCEL", func(t *testing.T) {
		caller.t, other.t = t, t
		call := caller.begin("INVITE", "8025", caller.sdp(4000))
		invite := other.request("INVITE")
		other.reply(invite, "180 Ringing", "rings", "")
		caller.response("INVITE", 180)
		caller.write("CANCEL "+call.target+" SIP/2.0", "", caller.lastVia, "From: "+call.local, "To: "+call.remote, "Call-ID: "+call.callID, "CSeq: 2 CANCEL", "Max-Forwards: 70")
		caller.response("CANCEL", 200)
		other.reply(other.request("CANCEL"), "200 OK", "rings", "")
		other.reply(invite, "487 Request Terminated", "rings", "")
		other.request("ACK")
		call.acknowledge(caller.response("INVITE", 487), "")
		idle(t)
	})
	t.Run("what crosses a call", func(t *testing.T) {
		caller.t, other.t = t, t
		own, _ := caller.calls(other)
		own.send("INFO", "", "X-Kind: dtmf")
		other.reply(other.request("INFO"), "200 OK", "", "")
		caller.response("INFO", 200)
		own.send("BYE", "", "Reason: Q.850;cause=31;text=\"gone\"")
		caller.response("BYE", 200)
		bye := other.request("BYE")
		if !strings.Contains(bye.header.Get("Reason"), "cause=31") {
			t.Errorf("Reason %q", bye.header.Get("Reason"))
		}
		other.reply(bye, "200 OK", "", "")
		idle(t)
	})
	t.Run("phones by preference", func(t *testing.T) {
		caller.t, other.t = t, t
		first := a.handset(t, "8030", "127.0.0.30", "UDP")
		second := a.handset(t, "8030", "127.0.0.31", "UDP")
		first.register(first.contact(";q=1.0"), "Expires: 300")
		second.register(second.contact(";q=0.2"), "Expires: 300")
		call := caller.begin("INVITE", "8030", caller.sdp(4000))
		invite := first.request("INVITE")
		second.none("it waits for its turn", func(m sipText) bool { return m.isRequest() && strings.HasPrefix(m.start, "INVITE") })
		first.reply(invite, "486 Busy Here", "busy", "")
		first.request("ACK")
		second.answers(4030)
		call.acknowledge(caller.response("INVITE", 200), "")
		call.hangUp(second)
		idle(t)
	})
	t.Run("refused", func(t *testing.T) {
		caller.t = t
		for _, tt := range []struct {
			to      string
			code    int
			headers []string
		}{
			{"8025", 420, []string{"Require: x-nobody-knows"}},
			{"8025", 417, []string{"Require: resource-priority", "Resource-Priority: ets.0"}},
			{"8025", 403, []string{"Resource-Priority: dsn.flash-override"}},
			{"8999998", 404, nil},
			{"8031", 480, nil}, // nobody is registered
		} {
			d := caller.begin("INVITE", tt.to, caller.sdp(4000), tt.headers...)
			res := caller.response("INVITE", 0)
			d.acknowledge(res, "")
			if res.code() != tt.code {
				t.Errorf("%s with %v: %s, want %d", tt.to, tt.headers, res.start, tt.code)
			}
		}
	})
	t.Run("records leave in three formats", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "calls.xlsx")
		a.run("cdr", "export", "--format", "xlsx", "--output", file)
		if content, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(content), "PK") {
			t.Errorf("xlsx: %d bytes, %v", len(content), err)
		}
		if text := a.run("cdr", "export", "--format", "csv"); !strings.Contains(text, "8021") || strings.Count(text, "\n") < 5 {
			t.Errorf("csv:\n%s", text)
		}
		if text := a.run("cdr", "export", "--format", "json"); !strings.Contains(text, "\"8021\"") {
			t.Errorf("json:\n%.300s", text)
		}
	})
	t.Run("a group's lamp and pickup by group", func(t *testing.T) {
		caller.t, other.t = t, t
		picker := a.handset(t, "8033", "127.0.0.33", "UDP")
		picker.register()
		for _, e := range []string{"8025", "8033"} {
			a.run("terminal", "features", e, "pickup_groups=board")
		}
		lamp := picker.begin("SUBSCRIBE", "8100", "", "Event: dialog", "Expires: 300")
		lamp.learn(picker.response("SUBSCRIBE", 200))
		picker.reply(picker.request("NOTIFY"), "200 OK", "", "")
		call := caller.begin("INVITE", "8100", caller.sdp(4000))
		invite := other.request("INVITE")
		other.reply(invite, "180 Ringing", "rings", "")
		notify := picker.request("NOTIFY")
		picker.reply(notify, "200 OK", "", "")
		if !strings.Contains(notify.body, `entity="sip:8100@`) || !strings.Contains(notify.body, "<state>early") {
			t.Errorf("the lamp shows\n%s", notify.body)
		}
		lamp.send("SUBSCRIBE", "", "Event: dialog", "Expires: 0")
		picked := picker.begin("INVITE", "*8", picker.sdp(4040))
		other.reply(other.request("CANCEL"), "200 OK", "rings", "")
		other.reply(invite, "487 Request Terminated", "rings", "")
		other.request("ACK")
		picked.acknowledge(picker.response("INVITE", 200), "")
		call.acknowledge(caller.response("INVITE", 200), "")
		call.send("BYE", "")
		caller.response("BYE", 200)
		picker.reply(picker.request("BYE"), "200 OK", "", "")
		idle(t)
	})
	t.Run("whose turn it is in a group", func(t *testing.T) {
		caller.t = t
		members := []*handset{a.handset(t, "8034", "127.0.0.34", "UDP"), a.handset(t, "8035", "127.0.0.35", "UDP")}
		for _, m := range members {
			m.register()
		}
		turn := func(number string) (rings int) {
			t.Helper()
			call := caller.begin("INVITE", number, caller.sdp(4000))
			a.eventually(5*time.Second, "somebody's turn", func() error {
				for i, m := range members {
					m.drain()
					if slices.ContainsFunc(m.waiting, func(m sipText) bool { return strings.HasPrefix(m.start, "INVITE") }) {
						rings = i
						return nil
					}
				}
				return fmt.Errorf("silence")
			})
			members[rings].answers(4050)
			call.acknowledge(caller.response("INVITE", 200), "")
			call.hangUp(members[rings])
			idle(t)
			return rings
		}
		for _, number := range []string{"8101", "8102"} {
			if first, second := turn(number), turn(number); first == second {
				t.Errorf("%s rang member %d twice", number, first)
			}
		}
	})
	t.Run("lamps of a withheld number", func(t *testing.T) {
		caller.t, other.t = t, t
		watcher := a.handset(t, "8029", "127.0.0.29", "UDP")
		watcher.register()
		watching := map[string]*talkOf{}
		for _, watched := range []string{"8025", "8021"} {
			d := watcher.begin("SUBSCRIBE", watched, "", "Event: dialog", "Expires: 300")
			d.learn(watcher.response("SUBSCRIBE", 200))
			watching[watched] = d
			watcher.reply(watcher.request("NOTIFY"), "200 OK", "", "")
		}
		lit := func(state string) (bodies string) {
			t.Helper()
			for range watching {
				m := watcher.wait("a lamp that is "+state, func(m sipText) bool {
					if !m.isRequest() || !strings.HasPrefix(m.start, "NOTIFY") {
						return false
					}
					watcher.reply(m, "200 OK", "", "")
					return strings.Contains(m.body, "<state>"+state)
				})
				bodies += m.body
			}
			return bodies
		}
		for _, private := range []bool{false, true} {
			var headers []string
			if private {
				headers = []string{"Privacy: id"}
			}
			call := caller.begin("INVITE", "8025", caller.sdp(4000), headers...)
			_, invite := other.answers(4002)
			call.acknowledge(caller.response("INVITE", 200), "")
			seen := lit("confirmed")
			own := strings.Contains(seen, "<remote><identity>sip:8021@") || strings.Contains(seen, ">sip:8021@"+caller.acc.Domain+"</identity><target uri=\"sip:8021@"+caller.acc.Domain+"\"/></remote>")
			if own == private || strings.Contains(invite.String(), "8021@") == private {
				t.Errorf("private %v: the lamps show\n%s\nthe phone gets\n%s", private, seen, invite)
			}
			if private && strings.Contains(seen, ">sip:8025@"+caller.acc.Domain+"</identity><target uri=\"sip:8025@"+caller.acc.Domain+"\"/></remote>") {
				t.Errorf("whom 8021 calls is shown\n%s", seen)
			}
			call.hangUp(other)
			lit("terminated")
			idle(t)
		}
		for _, d := range watching {
			d.send("SUBSCRIBE", "", "Event: dialog", "Expires: 0")
		}
	})
}

// drain looks what has come.
func (h *handset) drain() { h.none("", func(sipText) bool { return false }) }
