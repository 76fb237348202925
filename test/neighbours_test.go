package test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"linehall/internal/database"
)

// Other networks, the number plan, a capture server, scanners and a crash, as phones in the test's own hands meet them.
func TestNeighboursByHand(t *testing.T) {
	t.Parallel()
	port := phonePort(t)
	capture, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var captured atomic.Int64
	ended := make(chan struct{})
	t.Cleanup(func() { _ = capture.Close(); <-ended })
	go func() {
		defer close(ended)
		buf := make([]byte, 65536)
		for {
			n, _, err := capture.ReadFrom(buf)
			if err != nil {
				return
			}
			if bytes.HasPrefix(buf[:n], []byte("HEP3")) && bytes.Contains(buf[:n], []byte("INVITE sip:1888@")) {
				captured.Add(1)
			}
		}
	}()
	a := startAppliance(t, officer("8022"), func(s settings, _ *appliance) {
		outsidePlan(s)
		trunk := gatewayTrunk(port)
		trunk["dids"] = []any{map[string]any{"number": "04715550001", "to": "8025"}}
		s.set("trunks", []any{trunk})
		s.set("dialplan.classes", map[string]any{"officer": map[string]any{
			"forbidden_hours": []any{map[string]any{"from": "00:00", "to": "24:00", "reach": "internal"}},
		}})
		s.set("dialplan.groups", []any{map[string]any{"number": "8101", "name": "8101", "strategy": "linear", "members": []string{"8041", "8042"}, "ring": "60s"}})
		s.set("dialplan.short_codes", []any{map[string]any{"code": "1888", "name": "Desk", "dial": "8025"}})
		s.set("observability.trace.hep", map[string]any{"address": capture.LocalAddr().String(), "agent": 7})
	})
	caller, limited, other := a.handset(t, "8021", "127.0.0.21", "UDP"), a.handset(t, "8022", "127.0.0.22", "UDP"), a.handset(t, "8025", "127.0.0.25", "UDP")
	for _, h := range []*handset{caller, limited, other} {
		h.register()
	}
	gateway := a.peer(t, fmt.Sprintf("%s:%d", gatewayAddress, port), "UDP")
	gateway.acc.Extension = "04719990000"

	t.Run("short code, also at the capture server", func(t *testing.T) {
		caller.t, other.t = t, t
		call := caller.begin("INVITE", "1888", caller.sdp(4000))
		other.answers(4002)
		call.acknowledge(caller.response("INVITE", 200), "")
		call.hangUp(other)
		a.eventually(5*time.Second, "the call is at the capture server", func() error {
			if captured.Load() == 0 {
				return fmt.Errorf("no INVITE")
			}
			return nil
		})
	})
	t.Run("forbidden hours", func(t *testing.T) {
		caller.t, limited.t, gateway.t, other.t = t, t, t, t
		refused := limited.begin("INVITE", "013800000000", limited.sdp(4000))
		refused.acknowledge(limited.response("INVITE", 403), "")
		inside := limited.begin("INVITE", "8025", limited.sdp(4000))
		other.answers(4002)
		inside.acknowledge(limited.response("INVITE", 200), "")
		inside.hangUp(other)
		free := caller.begin("INVITE", "013800000000", caller.sdp(4000))
		invite := gateway.request("INVITE")
		gateway.reply(invite, "486 Busy Here", "gw", "")
		gateway.request("ACK")
		free.acknowledge(caller.response("INVITE", 486), "")
	})
	t.Run("transfer inside of the other network", func(t *testing.T) {
		gateway.t, other.t, caller.t, limited.t = t, t, t, t
		inside, insideEnd := caller.calls(limited)
		replaces := func(d *talkOf) string {
			tag := func(s string) string { _, v, _ := strings.Cut(s, ";tag="); return v }
			return fmt.Sprintf("Replaces: %s;to-tag=%s;from-tag=%s", d.callID, tag(d.remote), tag(d.local))
		}
		old := gateway.begin("INVITE", "04715550001", gateway.sdp(4000))
		other.answers(4002)
		old.acknowledge(gateway.response("INVITE", 200), "")
		stranger := gateway.begin("INVITE", "04715550001", gateway.sdp(4004), replaces(inside))
		stranger.acknowledge(gateway.response("INVITE", 481), "")
		now := gateway.begin("INVITE", "04715550001", gateway.sdp(4006), replaces(old))
		re := other.request("INVITE")
		other.reply(re, "200 OK", "", other.sdp(4002))
		now.acknowledge(gateway.response("INVITE", 200), "")
		other.request("ACK")
		gateway.reply(gateway.request("BYE"), "200 OK", "", "")
		now.hangUp(other)
		insideEnd.hangUp(caller)
	})
	rates := []int{1000}
	if os.Getenv("LINEHALL_SOAK") != "" {
		rates = append(rates, 1)
	}
	for i, transport := range []string{"UDP", "TCP"} {
		for j, rate := range rates {
			t.Run(fmt.Sprintf("scan over %s, %d a second", transport, rate), func(t *testing.T) {
				host := fmt.Sprintf("127.0.0.%d", 50+2*i+j)
				phone := a.handset(t, fmt.Sprint(8050+2*i+j), host, transport)
				phone.register()
				if answers := a.scanAt(t, host, transport, rate); answers == 0 || answers > 20 {
					t.Errorf("%d answers", answers)
				}
				a.eventually(10*time.Second, "the scanner is shut out", func() error {
					if !slices.ContainsFunc(a.bans(), func(b banned) bool { return strings.HasPrefix(b.Address, host) || strings.HasPrefix(b.Flow, host) }) {
						return fmt.Errorf("bans: %v", a.bans())
					}
					return nil
				})
				phone.register() // behind the same address
			})
		}
	}
	t.Run("under way at a crash", func(t *testing.T) {
		a.crashUnderWay(t, caller, limited, other)
	})
}

// scanAt asks for one number after the other and returns how many answers it got until it is shut out.
func (a *appliance) scanAt(t *testing.T, host, transport string, rate int) int {
	t.Helper()
	scanner := a.peer(t, host+":0", transport)
	scanner.acc.Extension = "x"
	tries := min(50, 25+rate/40)
	begin := time.Now()
	for i := range tries {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / time.Duration(rate)))) // the rate is what is tested
		text := fmt.Sprintf("REGISTER sip:linehall.test SIP/2.0\r\n%s\r\nFrom: <sip:%d@linehall.test>;tag=s\r\nTo: <sip:%d@linehall.test>\r\nCall-ID: %d@%s\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n%s\r\nContent-Length: 0\r\n\r\n",
			scanner.via(), 3000+i, 3000+i, i, scanner.local, scanner.contact(""))
		if _, err := scanner.conn.Write([]byte(text)); err != nil {
			break // over TCP it is hung up on
		}
	}
	answers := 0
	for {
		select {
		case m, open := <-scanner.inbox:
			if !open {
				return answers
			}
			if !m.isRequest() {
				answers++
			}
		case <-time.After(time.Second): // what has to wait gets its answer sooner, or none
			return answers
		}
	}
}

// crashUnderWay kills the process while a phone is asked into an attended transfer, while a 2xx with an offer waits for its
// ACK, while a hunt group rings and while a call of our own does: all go on.
func (a *appliance) crashUnderWay(t *testing.T, by, party, target *handset) {
	t.Helper()
	asks, other := a.handset(t, "8026", "127.0.0.26", "UDP"), a.handset(t, "8027", "127.0.0.27", "UDP")
	for _, h := range []*handset{by, party, target, asks, other} {
		h.t = t
		h.drain()
		h.waiting = nil
	}
	first, _ := by.calls(party)
	consultation, _ := by.calls(target)
	tag := func(s string) string { _, v, _ := strings.Cut(s, ";tag="); return v }
	first.send("REFER", "", fmt.Sprintf("Refer-To: <sip:%s@%s?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3D%s>", target.acc.Extension, by.acc.Domain,
		strings.ReplaceAll(consultation.callID, "@", "%40"), tag(consultation.remote), tag(consultation.local)), "Supported: replaces")
	by.response("REFER", 202)
	by.reply(by.request("NOTIFY"), "200 OK", "", "")
	a.eventually(5*time.Second, "somebody is asked", func() error {
		for _, h := range []*handset{party, target} {
			h.drain()
			if slices.ContainsFunc(h.waiting, func(m sipText) bool { return strings.HasPrefix(m.start, "INVITE") }) {
				return nil // and does not answer
			}
		}
		return fmt.Errorf("silence")
	})
	late := []func(){a.lateUnderWay(t, asks, other), a.lateUnderWay(t, a.handset(t, "8045", "127.0.0.45", "TCP"), a.handset(t, "8046", "127.0.0.46", "UDP"))}
	hunt, own := a.huntUnderWay(t, "8101"), a.ownUnderWay(t)
	a.kill9()
	a.start()
	hunt()
	own()

	for _, after := range late {
		after()
	}

	outcome := ""
	a.eventually(20*time.Second, "the transferor is told of the outcome", func() error {
		for _, h := range []*handset{by, party, target} {
			h.drain()
			for _, m := range h.waiting {
				switch {
				case !m.isRequest() || strings.HasPrefix(m.start, "ACK"):
				case strings.HasPrefix(m.start, "INVITE"):
					h.reply(m, "200 OK", "", h.sdp(4002))
				default:
					h.reply(m, "200 OK", "", "")
				}
				if strings.HasPrefix(m.start, "NOTIFY") && strings.Contains(m.header.Get("Subscription-State"), "terminated") {
					outcome = m.body
				}
			}
			h.waiting = nil
		}
		if outcome == "" {
			return fmt.Errorf("nothing")
		}
		return nil
	})
	if !strings.HasPrefix(outcome, "SIP/2.0 200") {
		t.Errorf("the transfer ended with %q", outcome)
	}
}

// storedWith looks into the database for the state of a call that is like every pattern.
func (a *appliance) storedWith(patterns ...string) error {
	a.t.Helper()
	db, err := database.Open(a.t.Context(), filepath.Join(a.data, "linehall.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	query := "SELECT count(*) FROM call_state WHERE true" + strings.Repeat(" AND CAST(state AS TEXT) LIKE ?", len(patterns))
	values := make([]any, 0, len(patterns))
	for _, p := range patterns {
		values = append(values, p)
	}
	var found int
	if err := db.QueryRowContext(a.t.Context(), query, values...).Scan(&found); err != nil {
		return err
	}
	if found == 0 {
		return fmt.Errorf("no state is like %s", patterns)
	}
	return nil
}
