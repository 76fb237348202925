package test

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"net"
	"regexp"
	"slices"
	"testing"
	"time"
)

// guesser tries passwords over one UDP port with nothing of ours: RFC 2617 by hand.
type guesser struct {
	t    *testing.T
	conn net.Conn
	sent int
}

func (a *appliance) guesser(host string) *guesser {
	a.t.Helper()
	conn := dialFrom(a.t.Context(), "udp", host+":0", a.ports.sip)
	if conn == nil {
		a.t.Fatalf("no socket at %s", host)
	}
	a.t.Cleanup(func() { conn.Close() })
	return &guesser{t: a.t, conn: conn}
}

var nonceOf = regexp.MustCompile(`nonce="([^"]+)"`)

// ask sends a request and returns the code and the text of the answer, 0 when there is none.
func (g *guesser) ask(method, user, headers string) (int, string) {
	g.t.Helper()
	g.sent++
	local := g.conn.LocalAddr().String()
	message := fmt.Sprintf("%s sip:linehall.test SIP/2.0\r\nVia: SIP/2.0/UDP %s;rport;branch=z9hG4bKd%d\r\nMax-Forwards: 70\r\n"+
		"From: <sip:%s@linehall.test>;tag=a\r\nTo: <sip:%s@linehall.test>\r\nCall-ID: %s-%d\r\nCSeq: %d %s\r\n%sContent-Length: 0\r\n\r\n",
		method, local, g.sent, user, user, local, g.sent, g.sent, method, headers)
	if _, err := g.conn.Write([]byte(message)); err != nil {
		g.t.Fatal(err)
	}
	if err := g.conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		g.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := g.conn.Read(buf)
	if err != nil {
		return 0, ""
	}
	var code int
	if _, err := fmt.Sscanf(string(buf[:n]), "SIP/2.0 %d", &code); err != nil {
		g.t.Fatalf("answered with %q", buf[:n])
	}
	return code, string(buf[:n])
}

// register tries one password.
func (g *guesser) register(user, password string) int {
	g.t.Helper()
	code, text := g.ask("REGISTER", user, "")
	nonce := nonceOf.FindStringSubmatch(text)
	if code != 401 || nonce == nil {
		return code
	}
	hash := func(s string) string {
		sum := md5.Sum([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	response := hash(hash(user+":linehall.test:"+password) + ":" + nonce[1] + ":" + hash("REGISTER:sip:linehall.test"))
	code, _ = g.ask("REGISTER", user, fmt.Sprintf("Authorization: Digest username=%q, realm=\"linehall.test\", nonce=%q, uri=\"sip:linehall.test\", response=%q\r\n", user, nonce[1], response))
	return code
}

// guess tries passwords until nobody answers, and wants that within twenty tries.
func (g *guesser) guess(user func(i int) string) {
	g.t.Helper()
	for i := range 21 {
		switch code := g.register(user(i), fmt.Sprint("guess", i)); code {
		case 401:
		case 0:
			return
		default:
			g.t.Fatalf("guess %d was answered with %d", i, code)
		}
	}
	g.t.Fatal("not banned within 20 tries")
}

const phoneHeaders = "User-Agent: Yealink SIP-T46U 108.86.0.20\r\nEvent: dialog\r\nContact: <sip:x@127.0.0.74:5060>\r\n"

// scan asks as fast as it is answered, answers no challenge, and wants to be shut out within 20 answers.
func (a *appliance) scan(host string, ask func(g *guesser, i int) int) {
	a.t.Helper()
	g := a.guesser(host)
	for i := range 21 {
		if ask(g, i) == 0 {
			a.eventually(10*time.Second, "the scanner is shut out", func() error {
				ask(g, 100+i)
				if !slices.ContainsFunc(a.bans(), func(b banned) bool { return b.Address == host && b.Kind != "account" }) {
					return fmt.Errorf("bans: %v", a.bans())
				}
				return nil
			})
			return
		}
	}
	a.t.Errorf("%s is not kept out after 20 answers", host)
}

type banned struct{ Kind, Address, Flow, Account, Reason string }

func (a *appliance) bans() []banned {
	a.t.Helper()
	var list struct{ Bans []banned }
	a.decode(&list, "ban", "list")
	return list.Bans
}

// Guesses and scans are banned within twenty tries, a restart later still; an address with a phone never is as a whole.
func TestDefence(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	const home = "127.0.0.77"
	port := phonePort(t)
	a.registerAll([]account{a.account("8002")}, home, port, "u1")

	a.guesser("127.0.0.71").guess(func(int) string { return "8001" })
	a.guesser("127.0.0.72").guess(func(i int) string { return fmt.Sprint(100 + i) })
	scanner := a.guesser("127.0.0.73")
	for i := range 20 {
		code, _ := scanner.ask("OPTIONS", fmt.Sprint(100+i), "User-Agent: friendly-scanner\r\n")
		if code == 0 {
			break
		}
		if i > 2 {
			t.Fatal("a scanner was not known")
		}
	}
	// One that says it is a phone, and goes through numbers that there are; and one that asks how we are, too often.
	a.scan("127.0.0.74", func(g *guesser, i int) int {
		code, _ := g.ask("SUBSCRIBE", fmt.Sprint(8001+i), phoneHeaders)
		return code
	})
	a.scan("127.0.0.75", func(g *guesser, _ int) int { code, _ := g.ask("OPTIONS", "8001", phoneHeaders); return code })
	a.scan(home, func(g *guesser, i int) int {
		code, _ := g.ask("REGISTER", fmt.Sprint(8001+i), phoneHeaders)
		return code
	})
	a.guesser(home).guess(func(int) string { return "8001" })
	a.guesser(home).guess(func(i int) string { return fmt.Sprint(8003 + i) })
	a.registerAll([]account{a.account("8002")}, home, port, "u1") // the phone goes on
	a.registerAll([]account{a.account("8030")}, home, phonePort(t), "u1")

	kinds := map[string]string{}
	for _, b := range a.bans() {
		if b.Kind == "address" {
			kinds[b.Address] = b.Reason
		}
	}
	if kinds["127.0.0.74"] != "scan" || kinds["127.0.0.75"] != "flood" {
		t.Errorf("scans: %v", kinds)
	}
	if len(kinds) != 5 || kinds["127.0.0.71"] != "passwords" || kinds["127.0.0.72"] == "" || kinds["127.0.0.73"] != "scanner" {
		t.Errorf("banned addresses: %v", kinds)
	}
	if a.metric("linehall_dropped_total", `reason="banned"`, `listener="sip_udp"`) == 0 {
		t.Error("no drop is counted")
	}

	a.kill9()
	a.start()
	if code := a.guesser("127.0.0.71").register("8001", "x"); code != 0 {
		t.Errorf("after a restart: %d", code)
	}
	a.run("ban", "lift", "127.0.0.71")
	if code := a.guesser("127.0.0.71").register("8001", "x"); code != 401 {
		t.Errorf("after it was lifted: %d", code)
	}
	if _, _, code := a.try("ban", "lift", "127.0.0.71"); code == 0 {
		t.Error("a ban that is not there was lifted")
	}
}
