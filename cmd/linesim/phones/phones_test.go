package phones_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"linehall/cmd/linesim/appliance"
	"linehall/cmd/linesim/phone/phonetest"
	"linehall/cmd/linesim/phones"
)

const password = "Kx7mPq2v"

func terminals(p *phonetest.Proxy, perSite int) []appliance.Terminal {
	var list []appliance.Terminal
	for s, site := range []string{"hq", "branch1", "branch2"} {
		for i := range perSite {
			number := fmt.Sprintf("%d%03d", []int{8, 2, 3}[s], i+1)
			list = append(list, appliance.Terminal{
				Extension: number, Site: site, AuthUser: number, Password: password, Domain: "linehall.test",
				Server: p.UDP.Addr().String(), UDPPort: int(p.UDP.Port()), TCPPort: int(p.TCP.Port()),
			})
		}
	}
	return list
}

func TestManyPhonesCallInsideAndAcrossSites(t *testing.T) {
	proxy := phonetest.Start(t, phonetest.Options{Password: password})
	report, err := phones.Run(t.Context(), phones.Plan{
		Terminals: terminals(proxy, 6), Total: 18, Calls: 8, Hold: 700 * time.Millisecond, Across: 0.5, MaxLoss: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	all := report.Calls["all"]
	if !report.OK || all.OK != 18 || report.Registered != 18 {
		t.Errorf("ok %v, %d of %d calls, %d registered: %v", report.OK, all.OK, all.Attempted, report.Registered, report.Errors)
	}
	if report.Calls["inside"].OK == 0 || report.Calls["across"].OK == 0 {
		t.Errorf("inside %d, across %d", report.Calls["inside"].OK, report.Calls["across"].OK)
	}
	if all.MOSMin < 4 || all.Delay.Count == 0 || all.Answer.Count != 18 {
		t.Errorf("MOS %.2f, delays %d, answers %d", all.MOSMin, all.Delay.Count, all.Answer.Count)
	}
}

func TestAWrongPasswordFailsTheRun(t *testing.T) {
	proxy := phonetest.Start(t, phonetest.Options{Password: "another"})
	report, err := phones.Run(t.Context(), phones.Plan{Terminals: terminals(proxy, 1), Calls: 1, Total: 1, RegisterWithin: time.Second})
	if err == nil || report == nil || report.OK {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestTheDemoGoesOnUntilStopped(t *testing.T) {
	proxy := phonetest.Start(t, phonetest.Options{Password: password})
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	report, err := phones.Run(ctx, phones.Plan{Terminals: terminals(proxy, 3), Transport: "udp", Calls: 4, Across: 0.5, Demo: true, MaxLoss: 1})
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if all := report.Calls["all"]; all.Attempted == 0 || all.Failed != 0 {
		t.Errorf("%d calls, %d failed: %v", all.Attempted, all.Failed, report.Errors)
	}
}
