package call

import (
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
	"github.com/google/go-cmp/cmp"

	"linehall/sip/route"
)

func TestForwardHeaders(t *testing.T) {
	t.Parallel()
	history := []route.Diversion{{From: "8002", Reason: route.UserBusy}, {From: "8003", Reason: route.NoReply}, {From: "8004", Reason: route.TimeOfDay}}
	name := func(number string) Identity {
		return Identity{Name: "N" + number, URI: "sip:" + number + "@linehall.test"}
	}
	last := Identity{URI: "sip:8005@linehall.test"}
	want := [][2]string{
		{"Diversion", `"N8004" <sip:8004@linehall.test>;reason=time-of-day;counter=1`},
		{"Diversion", `"N8003" <sip:8003@linehall.test>;reason=no-answer;counter=1`},
		{"Diversion", `"N8002" <sip:8002@linehall.test>;reason=user-busy;counter=1`},
		{"History-Info", `"N8002" <sip:8002@linehall.test>;index=1`},
		{"History-Info", `"N8003" <sip:8003@linehall.test;cause=486>;index=1.1;mp=1`},
		{"History-Info", `"N8004" <sip:8004@linehall.test;cause=408>;index=1.1.1;mp=1.1`},
		{"History-Info", `<sip:8005@linehall.test;cause=404>;index=1.1.1.1;mp=1.1.1`},
	}
	if diff := cmp.Diff(want, forwardHeaders(asBoth, history, name, last)); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if got := forwardHeaders(asBoth, nil, name, last); got != nil {
		t.Errorf("without a forward: %v", got)
	}
	// What we write we read, either way; reasons that History-Info has no cause for are unknown.
	for _, how := range []forwards{asDiversion, asHistory} {
		got := forwardsOf(requestWith(forwardHeaders(how, history, name, last)...))
		want := append([]route.Diversion(nil), history...)
		if how == asHistory {
			want[2].Reason = route.UnknownReason
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
	}
}

func requestWith(headers ...[2]string) *sip.Request {
	req := sip.NewRequest(sip.INVITE, sip.Uri{Scheme: "sip", User: "8001", Host: "linehall.test"})
	for _, h := range headers {
		req.AppendHeader(sip.NewHeader(h[0], h[1]))
	}
	return req
}

func TestForwardsOf(t *testing.T) {
	t.Parallel()
	div := func(values ...string) *sip.Request {
		var headers [][2]string
		for _, v := range values {
			headers = append(headers, [2]string{"Diversion", v})
		}
		return requestWith(headers...)
	}
	for _, tt := range []struct {
		name string
		req  *sip.Request
		want []route.Diversion
	}{
		{"none", requestWith(), nil},
		{
			"newest first, in one header",
			div(`<sip:2@a>;reason=no-answer, "B, \"b\" <x>" <sip:1@a;user=phone>;reason="user-busy";privacy=off`),
			[]route.Diversion{{From: "1", Reason: route.UserBusy}, {From: "2", Reason: route.NoReply}},
		},
		{"reason unknown to us", div(`<sip:1@a>;reason=hunting`), []route.Diversion{{From: "1", Reason: route.UnknownReason}}},
		{"no reason", div(`<sip:+8613800000000@a>`), []route.Diversion{{From: "+8613800000000", Reason: route.UnknownReason}}},
		{"counted", div(`<sip:1@a>;reason=deflection;counter=2`), []route.Diversion{{From: "1", Reason: route.Deflection}, {From: "1", Reason: route.Deflection}}},
		{"garbage", div(`sip:1@a`, `<>`, `<sip:a>`, `"unclosed <sip:1@a>`, `<sip:1@a`), nil},
		{
			"history",
			requestWith([2]string{"History-Info", `<sip:1@a>;index=1, <sip:2@a;cause=486?Privacy=none>;index=1.1;mp=1,<sip:2@10.0.0.1>;index=1.1.1;rc=1.1`}),
			[]route.Diversion{{From: "1", Reason: route.UserBusy}},
		},
		{"history without a forward", requestWith([2]string{"History-Info", `<sip:1@a>;index=1`}), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, forwardsOf(tt.req)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if n := len(forwardsOf(div(`<sip:1@a>;counter=4000000000`, `<sip:1@a>;counter=9`, strings.Repeat(`<sip:1@a>,`, 500)))); n != route.MaxDiversions+1 {
		t.Errorf("%d forwards are kept", n)
	}
}

func FuzzForwards(f *testing.F) {
	f.Add(`"x" <sip:1@a;cause=486>;reason=user-busy;counter=2, <sip:2@b>`)
	f.Fuzz(func(t *testing.T, value string) {
		for _, name := range []string{"Diversion", "History-Info"} {
			history := forwardsOf(requestWith([2]string{name, value}))
			if len(history) > route.MaxDiversions+1 {
				t.Fatalf("%d forwards", len(history))
			}
			plain := func(number string) Identity { return Identity{URI: "sip:" + escapeUser(number) + "@h"} }
			for _, h := range forwardHeaders(asBoth, history, plain, plain("1")) {
				if strings.ContainsAny(h[1], "\r\n") {
					t.Fatalf("%q breaks the line", h[1])
				}
			}
		}
	})
}
