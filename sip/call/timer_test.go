package call

import (
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"

	"linehall/sip/dialog"
)

func withHeaders(headers ...string) *sip.Request {
	req := sip.NewRequest(sip.INVITE, sip.Uri{Scheme: "sip", Host: "example.org"})
	for i := 0; i < len(headers); i += 2 {
		req.AppendHeader(sip.NewHeader(headers[i], headers[i+1]))
	}
	return req
}

func TestReadTimer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		headers []string
		want    timerTerms
		bad     bool
	}{
		{"nothing", nil, timerTerms{}, false},
		{"supported", []string{"Supported", "replaces, Timer"}, timerTerms{Supported: true}, false},
		{"required", []string{"Require", "timer"}, timerTerms{Supported: true}, false},
		{
			"all",
			[]string{"Supported", "timer", "Session-Expires", "1800;refresher=UAC", "Min-SE", "120"},
			timerTerms{Supported: true, Interval: 1800 * time.Second, MinSE: 120 * time.Second, Refresher: "uac"},
			false,
		},
		{"unknown parameters", []string{"Session-Expires", " 90 ; x=y ; refresher = uas"}, timerTerms{Interval: 90 * time.Second, Refresher: "uas"}, false},
		{"unknown refresher", []string{"Session-Expires", "90;refresher=proxy"}, timerTerms{Interval: 90 * time.Second}, false},
		{"largest", []string{"Session-Expires", "4294967295"}, timerTerms{Interval: 4294967295 * time.Second}, false},
		{"too large", []string{"Session-Expires", "4294967296"}, timerTerms{}, true},
		{"zero", []string{"Session-Expires", "0"}, timerTerms{}, true},
		{"negative", []string{"Session-Expires", "-1"}, timerTerms{}, true},
		{"words", []string{"Min-SE", "soon"}, timerTerms{}, true},
	} {
		got, err := readTimer(withHeaders(tt.headers...))
		if (err != nil) != tt.bad || !tt.bad && got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

// RFC 4028 §9, table 2, and what surrounds it.
func TestTimerGrant(t *testing.T) {
	p, now := timerPolicy{Default: 1800 * time.Second, Min: 90 * time.Second}, time.Unix(1_000_000, 0)
	const s = time.Second
	for _, tt := range []struct {
		name     string
		terms    timerTerms
		interval time.Duration
		ours     bool
		header   string
		require  bool
	}{
		{"nobody wants one", timerTerms{}, 0, true, "", false},
		{"left to us", timerTerms{Supported: true}, 1800 * s, true, "1800;refresher=uas", true},
		{"their Min-SE", timerTerms{Supported: true, MinSE: 3600 * s}, 3600 * s, true, "3600;refresher=uas", true},
		{"N, none", timerTerms{Interval: 600 * s}, 600 * s, true, "600;refresher=uas", false},
		{"N, uas", timerTerms{Interval: 600 * s, Refresher: "uas"}, 600 * s, true, "600;refresher=uas", false},
		{"N, uac cannot be", timerTerms{Interval: 600 * s, Refresher: "uac"}, 600 * s, true, "600;refresher=uas", false},
		{"N, too small", timerTerms{Interval: 10 * s}, 0, true, "", false},
		{"Y, none", timerTerms{Supported: true, Interval: 600 * s}, 600 * s, true, "600;refresher=uas", true},
		{"Y, uac", timerTerms{Supported: true, Interval: 600 * s, Refresher: "uac"}, 600 * s, false, "600;refresher=uac", true},
		{"Y, uas", timerTerms{Supported: true, Interval: 600 * s, Refresher: "uas"}, 600 * s, true, "600;refresher=uas", true},
		{"shortened to a day", timerTerms{Supported: true, Interval: 4294967295 * s}, 86400 * s, true, "86400;refresher=uas", true},
	} {
		got := p.grant(tt.terms, sessionTimer{}, now)
		want := sessionTimer{Interval: tt.interval, MinSE: tt.terms.MinSE, Ours: tt.ours}
		if tt.interval > 0 {
			want.Expires = now.Add(tt.interval)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		res := sip.NewResponse(200, "OK")
		got.response(res, tt.terms)
		header := ""
		if h := res.GetHeader("Session-Expires"); h != nil {
			header = h.Value()
		}
		if header != tt.header || (res.GetHeader("Require") != nil) != tt.require {
			t.Errorf("%s: Session-Expires %q, Require %v", tt.name, header, res.GetHeader("Require"))
		}
	}
	if !p.tooSmall(timerTerms{Supported: true, Interval: 89 * s}) || p.tooSmall(timerTerms{Supported: true, Interval: 90 * s}) || p.tooSmall(timerTerms{Interval: 1 * s}) {
		t.Error("422 for the wrong ones")
	}
}

func TestTimerTakenAndDue(t *testing.T) {
	p, now := timerPolicy{Default: 1800 * time.Second, Min: 90 * time.Second}, time.Unix(1_000_000, 0)
	const s = time.Second
	for _, tt := range []struct {
		name  string
		terms timerTerms
		ours  bool
		due   time.Duration // after now; 0: never
	}{
		{"the phone has none", timerTerms{}, true, 0},
		{"we refresh at half the interval", timerTerms{Interval: 1800 * s, Refresher: "uac"}, true, 900 * s},
		{"the phone refreshes, we ask 32 s before the end", timerTerms{Interval: 1800 * s, Refresher: "uas"}, false, 1768 * s},
		{"or a third before", timerTerms{Interval: 90 * s, Refresher: "uas"}, false, 60 * s},
		{"a phone that asks for storms", timerTerms{Interval: 2 * s, Refresher: "uac"}, true, 5 * s},
	} {
		got := p.taken(tt.terms, sessionTimer{}, now)
		if got.Ours != tt.ours || got.Interval != tt.terms.Interval {
			t.Errorf("%s: %+v", tt.name, got)
		}
		if tt.due > 0 && got.due(p).Sub(now) != tt.due {
			t.Errorf("%s: due after %v, want %v", tt.name, got.due(p).Sub(now), tt.due)
		}
	}
}

func TestTimerRaised(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name string
		min  time.Duration
		ok   bool
	}{
		{"longer", 3600 * s, true}, {"nothing said", 0, false}, {"shorter than we asked for", 600 * s, false}, {"beyond reason", 30 * 24 * time.Hour, false},
	} {
		got, ok := sessionTimer{Interval: 1800 * s, Ours: true}.raised(timerTerms{MinSE: tt.min})
		if ok != tt.ok || ok && (got.Interval != tt.min || got.MinSE != tt.min) {
			t.Errorf("%s: %+v, %v", tt.name, got, ok)
		}
	}
	req := withHeaders()
	raised, _ := sessionTimer{Interval: 1800 * s, Ours: true}.raised(timerTerms{MinSE: 3600 * s})
	raised.request(req)
	if got := req.GetHeader("Session-Expires").Value() + " " + req.GetHeader("Min-SE").Value(); got != "3600;refresher=uac 3600" {
		t.Error(got)
	}
}

func TestGlareDelay(t *testing.T) {
	for range 1000 {
		if d := glareDelay(&leg{Dialog: &dialog.Dialog{Initiator: true}}); d < 2100*time.Millisecond || d > 4*time.Second || d%(10*time.Millisecond) != 0 {
			t.Fatalf("owner of the Call-ID: %v", d)
		}
		if d := glareDelay(&leg{Dialog: &dialog.Dialog{}}); d < 0 || d > 2*time.Second || d%(10*time.Millisecond) != 0 {
			t.Fatalf("the other: %v", d)
		}
	}
}
