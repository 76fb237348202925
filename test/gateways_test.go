package test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nameServer runs dnsmasq, which answers for the domain example only, and gives the appliance a resolv.conf that names it.
// Without the right to do so it says why and reports false.
func (a *appliance) nameServer(records ...string) bool {
	a.t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	address := fmt.Sprintf("127.53.%d.%d", 1+rand.IntN(250), 1+rand.IntN(250))
	a.dns = filepath.Join(a.dir, "resolv.conf")
	if err := os.WriteFile(a.dns, []byte("nameserver "+address+"\n"), 0o600); err != nil {
		a.t.Fatal(err)
	}
	startProcess(a.t, a.dir, "dnsmasq", append([]string{
		"--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--no-resolv", "--no-hosts", "--local=/example/",
		"--bind-interfaces", "--listen-address=" + address,
	}, records...)...)
	a.eventually(5*time.Second, "dnsmasq listens", func() error {
		conn, err := (&net.Dialer{}).DialContext(a.t.Context(), "tcp", address+":53")
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return true
}

// gateways are the trunks of TestGatewaysByHand and the numbers that lead to them.
func gateways(s settings, port int, named bool) {
	at := func(last, priority, weight int) map[string]any {
		return map[string]any{"address": fmt.Sprintf("127.0.9.%d:%d", last, port), "priority": priority, "weight": weight}
	}
	trunk := func(name string, more map[string]any, to ...any) map[string]any {
		t := map[string]any{"name": name, "probe": "0s", "timeout": "1s", "format": "national", "identity": map[string]any{"number": "04715550000"}, "gateways": to}
		maps.Copy(t, more)
		return t
	}
	did := func(number, to string) any { return map[string]any{"number": number, "to": to} }
	trunks := []any{
		trunk("gateway", map[string]any{"dids": []any{did("04715550025", "8025")}}, at(2, 1, 1)),
		trunk("written", map[string]any{"format": "e164"}, at(3, 1, 1)),
		trunk("dialled", map[string]any{"format": "as_dialled"}, at(4, 1, 1)),
		trunk("shared", nil, at(21, 1, 4), at(22, 1, 1)),
		trunk("asked", map[string]any{"probe": "5s"}, at(31, 1, 1), at(32, 2, 1)),
	}
	rules := []any{}
	for prefix, name := range map[string]string{"71": "written", "72": "dialled", "73": "shared", "74": "asked", "75": "named", "76": "located"} {
		if !named && prefix >= "75" {
			continue
		}
		rules = append(rules, map[string]any{"name": name, "match": prefix + ".", "strip": 2, "trunks": []any{name}})
	}
	if named {
		trunks = append(trunks, trunk("named", nil, map[string]any{"domain": "voip.example"}), trunk("located", nil, map[string]any{"domain": "plain.example", "transport": "udp"}))
	}
	s.set("trunks", trunks)
	s.set("dialplan.rules", append(rules,
		map[string]any{"name": "out", "match": "0.", "strip": 1, "trunks": []any{"gateway"}},
		map[string]any{"name": "plus", "match": "+.", "trunks": []any{"gateway"}}))
	s.set("dialplan.numbering.area", "471")
	for _, kind := range []string{"local", "long_distance"} { // one telephone makes all these calls
		s.set("dialplan.tolls."+kind, map[string]any{"calls_per_hour": 0, "at_once": 0, "numbers_per_hour": 0})
	}
	for _, one := range s["sites"].([]any) {
		switch place := one.(map[string]any); place["id"] {
		case "branch1":
			place["line"].(map[string]any)["calls_max"] = 1
			place["overflow"] = map[string]any{"trunk": "gateway", "prefix": "0531888"}
		case "branch2":
			place["line"].(map[string]any)["down_after"] = "10s"
			place["overflow"] = map[string]any{"trunk": "gateway", "prefix": "0531888"}
		}
	}
}

// What other networks see of us, played by the test's own hands, with names from dnsmasq: where gateways are and which one
// is taken, how numbers are written there, who calls, and the ways around a line. Two waits run beside the rest: a gateway
// that says that it can do nothing, and a branch that falls silent.
func TestGatewaysByHand(t *testing.T) {
	t.Parallel()
	port := phonePort(t)
	named := false
	a := prepareAppliance(t, func(s settings, a *appliance) {
		named = a.nameServer(
			"--naptr-record=voip.example,10,10,S,SIP+D2T,,_sip._tcp.voip.example", "--naptr-record=voip.example,20,10,S,SIP+D2U,,_sip._udp.voip.example",
			fmt.Sprintf("--srv-host=_sip._tcp.voip.example,first.voip.example,%d,1,1", port), fmt.Sprintf("--srv-host=_sip._tcp.voip.example,second.voip.example,%d,2,1", port),
			fmt.Sprintf("--srv-host=_sip._udp.voip.example,udp.voip.example,%d,1,1", port), fmt.Sprintf("--srv-host=_sip._udp.plain.example,udp.voip.example,%d,1,1", port),
			"--host-record=first.voip.example,127.0.9.11", "--host-record=second.voip.example,127.0.9.12", "--host-record=udp.voip.example,127.0.9.13")
		gateways(s, port, named)
	})
	at := map[int]*handset{}
	for _, last := range []int{2, 3, 4, 13, 21, 22, 31, 32} {
		at[last] = a.peer(t, fmt.Sprintf("127.0.9.%d:%d", last, port), "UDP")
		at[last].acc.Extension = "04719990000"
	}
	at[31].answersProbes("200 OK")
	at[32].answersProbes("200 OK")
	a.start()
	caller, other := a.handset(t, "8021", "127.0.0.21", "UDP"), a.handset(t, "8025", "127.0.0.25", "UDP")
	caller.register()
	other.register()
	silent := a.handset(t, "3001", "127.0.2.21", "UDP")
	silent.register()
	at[31].answersProbes("503 Out of Order")

	// reaches dials and returns what the gateway gets, which says that the called is busy.
	reaches := func(t *testing.T, gateway *handset, number string) sipText {
		t.Helper()
		caller.t, gateway.t = t, t
		call := caller.beginAt("INVITE", number, "sip:"+number+"@"+caller.acc.Domain, caller.sdp(4000))
		invite := gateway.request("INVITE")
		gateway.reply(invite, "486 Busy Here", "busy", "")
		gateway.request("ACK")
		call.acknowledge(caller.response("INVITE", 486), "")
		return invite
	}
	dialledAt := func(m sipText) string {
		user, _, _ := strings.Cut(strings.TrimPrefix(m.start, "INVITE sip:"), "@")
		return user
	}

	t.Run("numbers in every spelling", func(t *testing.T) {
		for dialled, written := range map[string]string{
			"013800000000":                   "13800000000",
			"0138-0000-0000":                 "13800000000",
			"0(138)%200000.0000":             "13800000000",
			"0%EF%BC%91%EF%BC%93800000000":   "13800000000", // full-width digits
			"013800000000;phone-context=+86": "13800000000",
			"+8613800000000":                 "13800000000",
			"%2B86%20138%200000%200000":      "13800000000",
			"0008613800000000":               "13800000000",
			"+86(0)1088886666":               "01088886666",
			"001088886666":                   "01088886666",
			"055501234":                      "047155501234",
			"+12025550100":                   "0012025550100",
			"00012025550100":                 "0012025550100",
			"010086":                         "10086",
		} {
			if got := dialledAt(reaches(t, at[2], dialled)); got != written {
				t.Errorf("%s becomes %s, want %s", dialled, got, written)
			}
		}
		for dialled, want := range map[string]string{"7113800000000": "+8613800000000", "7155501234": "+8647155501234", "71" + "0012025550100": "+12025550100"} {
			if got := dialledAt(reaches(t, at[3], dialled)); strings.ReplaceAll(got, "%2B", "+") != want {
				t.Errorf("%s becomes %s, want %s", dialled, got, want)
			}
		}
		if got := dialledAt(reaches(t, at[4], "7255501234")); got != "55501234" {
			t.Errorf("as dialled it becomes %s", got)
		}
	})
	t.Run("gateways by weight", func(t *testing.T) {
		const calls = 64 // with 4 to 1, less than one run in a million gives the lighter one none, or as many
		caller.t = t
		taken := map[*handset]int{}
		for range calls {
			call := caller.begin("INVITE", "7313800000000", caller.sdp(4000))
			var gateway *handset
			var invite sipText
			select {
			case invite = <-at[21].inbox:
				gateway = at[21]
			case invite = <-at[22].inbox:
				gateway = at[22]
			case <-time.After(10 * time.Second):
				t.Fatal("no gateway is asked")
			}
			gateway.t = t
			taken[gateway]++
			gateway.reply(invite, "486 Busy Here", "busy", "")
			gateway.request("ACK")
			call.acknowledge(caller.response("INVITE", 486), "")
		}
		if heavy, light := taken[at[21]], taken[at[22]]; light == 0 || heavy <= light {
			t.Errorf("4 to 1 becomes %d to %d", heavy, light)
		}
	})
	t.Run("a gateway by its name", func(t *testing.T) {
		if !named {
			t.Skip("a resolv.conf of its own needs root")
		}
		caller.t = t
		// The first place that DNS names is closed, the second one takes calls over TCP.
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.9.12:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close() //nolint:errcheck // the test has ended
		call := caller.begin("INVITE", "7513800000000", caller.sdp(4000))
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		gateway := a.talksOver(t, conn, "TCP")
		invite := gateway.request("INVITE")
		if !strings.HasPrefix(invite.start, "INVITE sip:13800000000@voip.example") || !strings.Contains(invite.header.Get("Via"), "SIP/2.0/TCP") {
			t.Errorf("the gateway gets\n%s", invite)
		}
		gateway.reply(invite, "200 OK", "answer", gateway.sdp(4002))
		call.acknowledge(caller.response("INVITE", 200), "")
		gateway.request("ACK")
		call.hangUp(gateway)
		at[13].none("UDP is the second choice", func(m sipText) bool { return m.isRequest() && strings.HasPrefix(m.start, "INVITE") })
		if got := dialledAt(reaches(t, at[13], "7613800000000")); got != "13800000000" { // no NAPTR there, SRV only
			t.Errorf("dialled as %s", got)
		}
	})
	t.Run("who calls from outside", func(t *testing.T) {
		gateway := at[2]
		gateway.t, other.t = t, t
		asserted := "P-Asserted-Identity: \"Li\" <tel:+8613800000001>"
		for _, block := range []string{"off", "on"} {
			a.run("terminal", "features", "8025", "block_anonymous="+block)
			call := gateway.begin("INVITE", "+864715550025", gateway.sdp(4000), asserted)
			_, invite := other.answers(4002)
			if from := invite.header.Get("From"); !strings.Contains(from, "13800000001@") || !strings.Contains(from, "Li") || invite.header.Get("P-Asserted-Identity") == "" {
				t.Errorf("the phone is told\n%s", invite)
			}
			call.acknowledge(gateway.response("INVITE", 200), "")
			call.hangUp(other)
			call = gateway.begin("INVITE", "04715550025", gateway.sdp(4000), asserted, "Privacy: id")
			if block == "on" {
				call.acknowledge(gateway.response("INVITE", 433), "") // RFC 5079
				continue
			}
			_, invite = other.answers(4002)
			if strings.Contains(invite.String(), "13800000001") || !strings.Contains(invite.header.Get("From"), "anonymous.invalid") {
				t.Errorf("the phone is told\n%s", invite)
			}
			call.acknowledge(gateway.response("INVITE", 200), "")
			call.hangUp(other)
		}
		a.run("terminal", "features", "8025", "block_anonymous=off")
	})
	t.Run("around a full line", func(t *testing.T) {
		caller.t, other.t, at[2].t = t, t, t
		near, full := a.handset(t, "2001", "127.0.1.21", "UDP"), a.handset(t, "2002", "127.0.1.22", "UDP")
		near.register()
		full.register()
		inside, _ := other.calls(near) // the one call that the line takes
		call := caller.begin("INVITE", "2002", caller.sdp(4000))
		_, invite := at[2].answers(4004)
		if got := dialledAt(invite); got != "05318882002" {
			t.Errorf("it goes around as %s", got)
		}
		call.acknowledge(caller.response("INVITE", 200), "")
		full.none("the line is full", func(m sipText) bool { return m.isRequest() && strings.HasPrefix(m.start, "INVITE") })
		if n := a.metric("linehall_line_overflowed_total", `site="branch1"`); n != 1 {
			t.Errorf("%v calls went around", n)
		}
		call.hangUp(at[2])
		inside.hangUp(near)
	})
	silent.reply(silent.request("OPTIONS"), "200 OK", "alive", "") // the only phone of the branch says no more from here on
	t.Run("a gateway that can do nothing", func(t *testing.T) {
		state := func(last int, want string) {
			t.Helper()
			a.eventually(30*time.Second, fmt.Sprintf("127.0.9.%d is %s", last, want), func() error {
				for _, g := range a.trunks()["asked"].Gateways {
					if strings.HasPrefix(g.Name, fmt.Sprintf("127.0.9.%d:", last)) && g.State == want {
						return nil
					}
				}
				return fmt.Errorf("%+v", a.trunks()["asked"])
			})
		}
		state(31, "down")
		state(32, "up")
		reaches(t, at[32], "7413800000000")
		at[31].none("nobody asks it", func(m sipText) bool { return m.isRequest() && strings.HasPrefix(m.start, "INVITE") })
		at[31].answersProbes("200 OK")
		state(31, "up")
		reaches(t, at[31], "7413800000000")
	})
	t.Run("a branch that falls silent", func(t *testing.T) {
		caller.t, silent.t, at[2].t = t, t, t
		state := func(want string) {
			t.Helper()
			a.eventually(30*time.Second, "the line is "+want, func() error {
				var list struct {
					Lines []struct{ Site, State string } `json:"lines"`
				}
				a.decode(&list, "line", "list")
				for _, l := range list.Lines {
					if l.Site == "branch2" && l.State != want {
						return fmt.Errorf("it is %s", l.State)
					}
				}
				return nil
			})
		}
		state("down")
		call := caller.begin("INVITE", "3001", caller.sdp(4000))
		_, invite := at[2].answers(4004)
		if got := dialledAt(invite); got != "05318883001" {
			t.Errorf("it goes around as %s", got)
		}
		call.acknowledge(caller.response("INVITE", 200), "")
		call.hangUp(at[2])
		silent.none("its line is down", func(m sipText) bool { return m.isRequest() && strings.HasPrefix(m.start, "INVITE") })
		silent.register()
		state("up")
		again, _ := caller.calls(silent)
		again.hangUp(silent)
	})
}
