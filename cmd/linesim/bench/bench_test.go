package bench

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/cmd/linesim/phone/phonetest"
	"linehall/cmd/linesim/report"
)

func target(t *testing.T, users int) SIPTarget {
	t.Helper()
	proxy := phonetest.Start(t, phonetest.Options{Password: benchPassword})
	accounts := numbers("8", users)
	for i := range accounts {
		accounts[i].Password = benchPassword
	}
	return SIPTarget{Name: "test", Address: proxy.UDP, Bind: netip.MustParseAddr("127.0.0.1"), Accounts: accounts}
}

func TestRegistrationsAreAuthenticatedAndCounted(t *testing.T) {
	r, err := Register(t.Context(), target(t, 5), SIPLoad{Rate: 40, Warm: 100 * time.Millisecond, Measure: 500 * time.Millisecond})
	if err != nil || r.Failed != 0 || r.Operations < 18 || r.Delay.Count != r.Operations {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestCallsGoFromInviteToBye(t *testing.T) {
	r, err := Call(t.Context(), target(t, 8), SIPLoad{Rate: 20, Measure: 500 * time.Millisecond, Hold: 50 * time.Millisecond})
	if err != nil || r.Failed != 0 || r.Operations < 9 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestARefusedPasswordIsAFailureAndNotAnEmptyColumn(t *testing.T) {
	target := target(t, 2)
	for i := range target.Accounts {
		target.Accounts[i].Password = "wrong"
	}
	if _, err := Register(t.Context(), target, SIPLoad{Rate: 20, Measure: 200 * time.Millisecond}); !errors.Is(err, errAllFailed) {
		t.Errorf("got %v", err)
	}
}

func TestDirectRelayHearsEveryPacket(t *testing.T) {
	r, err := Relay(t.Context(), Direct(), RelayLoad{Calls: 3, Warm: 200 * time.Millisecond, Measure: time.Second, Core: -1})
	if err != nil || r.Lost != 0 || r.Operations < 200 || r.Delay.Count != r.Operations {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDirectRoomForwardsToAllOthers(t *testing.T) {
	api, err := clientAPI(true)
	if err != nil {
		t.Fatal(err)
	}
	r, err := runRoom(t.Context(), "direct", &directRoom{api: api}, nil, SFULoad{Members: 3, Warm: time.Second, Measure: time.Second})
	if err != nil || r.Operations < 500 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAMissingServerIsAnErrorThatNamesIt(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	suite := Suite{Register: SIPLoad{Rate: 1, Measure: time.Millisecond}}
	for _, server := range []string{"kamailio", "linehall"} {
		suite.Servers = []string{server}
		if _, err := suite.Run(t.Context(), "register"); err == nil || !strings.Contains(err.Error(), server) {
			t.Errorf("%s: %v", server, err)
		}
	}
	suite.Servers = []string{"rtpengine"}
	if _, err := suite.Run(t.Context(), "register"); !errors.Is(err, ErrUnknown) {
		t.Errorf("rtpengine as registrar: %v", err)
	}
}

func TestRunsAreInterleavedAndMediansTaken(t *testing.T) {
	var order []string
	cpu := map[string][]float64{"linehall": {9, 3, 4}, "other": {2, 8, 5}}
	b := bench{name: "x", unit: "thing", servers: []string{"linehall", "other"}, run: func(_ context.Context, server string) (Result, error) {
		order = append(order, server)
		n := (len(order) - 1) / 2
		return Result{Server: server, CPUPerOp: cpu[server][n], Operations: 10, Seconds: 2}, nil
	}}
	runs, err := Suite{Repetitions: 3}.interleave(t.Context(), b, b.servers)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"linehall", "other", "linehall", "other", "linehall", "other"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
	m := medians(b, b.servers, runs)
	if m[0].CPUPerOp != 4 || m[1].CPUPerOp != 5 || m[1].Ratio != 0.8 || m[0].Rate != 5 {
		t.Errorf("%+v", m)
	}
}

func TestOwnProcessUsesCPU(t *testing.T) {
	p := &process{pid: os.Getpid()}
	before, err := p.usage()
	if err != nil {
		t.Fatal(err)
	}
	// The kernel counts in ticks of 10 ms, and a busy machine may give us few of them.
	after := before
	for deadline := time.Now().Add(30 * time.Second); err == nil && after.cpu <= before.cpu && time.Now().Before(deadline); {
		for range 1000 {
			_ = md5hex("burn", "some", "time")
		}
		after, err = p.usage()
	}
	if err != nil || after.cpu <= before.cpu || after.rssKiB == 0 {
		t.Errorf("before %+v, after %+v, %v", before, after, err)
	}
	if _, err := (&process{pid: 1 << 30}).usage(); !errors.Is(err, errGone) {
		t.Errorf("no such process: %v", err)
	}
}

func TestDigestOfTheRFC(t *testing.T) {
	// RFC 2617 §3.5 with our fixed cnonce replaced by its own inputs: HA1 and HA2 are those of the example.
	if got := md5hex("Mufasa", "testrealm@host.com", "Circle Of Life"); got != "939e7578ed9e3c518a452acee763bce9" {
		t.Errorf("HA1 = %s", got)
	}
	if got := md5hex("GET", "/dir/index.html"); got != "39aff3a2bab6126f332b942af96d3366" {
		t.Errorf("HA2 = %s", got)
	}
}

func TestNGAnswersAreRead(t *testing.T) {
	got, err := bdecode("d3:sdp5:v=0\r\n6:result2:ok4:listl1:ai-3ed1:xi1eee1:ni7ee")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"sdp": "v=0\r\n", "result": "ok"}, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "l", "d3:ab", "d1:al", "d99999999999999999999:a"} {
		if _, err := bdecode(bad); err == nil && bad != "d1:al" {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzNG(f *testing.F) {
	f.Add("d3:sdp5:v=0\r\n6:result2:oke")
	f.Fuzz(func(t *testing.T, text string) {
		fields, err := bdecode(text)
		size := 0
		for k, v := range fields {
			size += len(k) + len(v)
		}
		if err == nil && size > len(text) {
			t.Errorf("%d bytes out of %d", size, len(text))
		}
	})
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte("SIP/2.0 401 Unauthorized\r\nv: SIP/2.0/UDP 1.2.3.4\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\nCSeq: 1 REGISTER\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMessage(data)
		if err != nil {
			return
		}
		_ = m.method()
		_ = address(m.get("contact"))
		_ = param(m.get("www-authenticate"), "nonce")
		_ = respond(m, "200 OK", "t", "", "")
	})
}

// Packets cross the cables of a test network, with and without a box between.
func TestNetworkCarriesPackets(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, way := range []string{"direct", "routed"} {
		n, err := newNetwork(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.close)
		target, stop, err := Peers{network: n}.between(t.Context(), way)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stop)
		target.network, target.machine = n, true
		r, err := Relay(t.Context(), target, RelayLoad{Calls: 3, Warm: 100 * time.Millisecond, Measure: 300 * time.Millisecond, Core: -1})
		if err != nil || r.Lost != 0 || r.Operations < 60 || r.CPUPerOp <= 0 {
			t.Errorf("%s: %+v, %v", way, r, err)
		}
	}
}

func TestCostsAreThoseAboveTheFloor(t *testing.T) {
	b := bench{servers: []string{"direct", "linehall-kernel", "other"}, floor: "direct", ours: "linehall-kernel"}
	var runs []Result
	for i, server := range b.servers {
		runs = append(runs, Result{Server: server, CPUPerOp: []float64{10, 12, 30}[i], Delay: report.Summary{P50: []float64{1, 2, 5}[i]}})
	}
	m := medians(b, b.servers, runs)
	if m[0].AddedCPU != 0 || m[1].AddedCPU != 2 || m[1].AddedP50 != 1 || m[2].Ratio != 0.1 || m[1].Ratio != 0 {
		t.Errorf("%+v", m)
	}
}
