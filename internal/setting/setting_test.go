package setting_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"linehall/internal/setting"
)

func TestRates(t *testing.T) {
	for text, want := range map[string]setting.Rate{
		"2Mbps": 2e6, "1.5 Mbps": 1.5e6, "512kbps": 512e3, "512Kbps": 512e3, "1Gbps": 1e9, "64000bps": 64e3, "0Mbps": 0,
	} {
		var got setting.Rate
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: got %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "2", "2Mb", "2MBps", "2 MB", "-1Mbps", "Mbps", "NaNMbps", "1e99Gbps", "2Mbps/s"} {
		var got setting.Rate
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %d", text, got)
		}
	}
}

func TestWrittenValuesReadBackEqual(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := setting.Rate(rapid.Int64Range(0, 1e12).Draw(t, "rate"))
		var readRate setting.Rate
		if err := readRate.UnmarshalText([]byte(rate.String())); err != nil || readRate != rate {
			t.Errorf("%s read as %s: %v", rate, readRate, err)
		}
		share := setting.Share(float64(rapid.IntRange(0, 10000).Draw(t, "share")) / 10000)
		var readShare setting.Share
		if err := readShare.UnmarshalText([]byte(share.String())); err != nil || readShare.String() != share.String() {
			t.Errorf("%s read as %s: %v", share, readShare, err)
		}
	})
}

func TestAddresses(t *testing.T) {
	for _, text := range []string{"", ":5060", "192.0.2.1:0", "[2001:db8::1]:65535"} {
		var got setting.Address
		if err := got.UnmarshalText([]byte(text)); err != nil || string(got) != text {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"5060", "host:5060", ":65536", ":-1", ":http", "192.0.2.1", "2001:db8::1:5060"} {
		var got setting.Address
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
	for _, tc := range []struct {
		a, b setting.Address
		want bool
	}{
		{":5060", ":5060", true},
		{":5060", "192.0.2.1:5060", true},
		{"0.0.0.0:1", "192.0.2.1:1", true},
		{":0", ":0", false},
		{"192.0.2.1:5060", "192.0.2.2:5060", false},
		{":5060", ":5061", false},
		{"", "", false},
		{"[::ffff:192.0.2.1]:1", "192.0.2.1:1", true},
	} {
		if tc.a.Overlaps(tc.b) != tc.want || tc.b.Overlaps(tc.a) != tc.want {
			t.Errorf("%s and %s: want overlap %v", tc.a, tc.b, tc.want)
		}
	}
}

func TestNearestFindsTypingErrors(t *testing.T) {
	keys := []string{"sip_udp", "sip_tcp", "sip_tls", "https", "metrics", "advertise"}
	for word, want := range map[string]string{
		"sip_upd": "sip_udp", "metric": "metrics", "advertize": "advertise", "HTTPS": "https", "sipudp": "sip_udp", "xyz": "", "": "",
	} {
		if got, _ := setting.Nearest(word, keys); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	if got, want := setting.Hint("xyz", keys), "; valid: advertise, https, metrics, sip_tcp, sip_tls, sip_udp"; got != want {
		t.Errorf("got %q", got)
	}
}

func TestComplaintsKeepEveryPath(t *testing.T) {
	var line, all setting.Complaints
	line.Add("up", "no rate")
	line.Between("delay", time.Hour, 0, time.Minute)
	all.Merge("sites[1].line", line.Err())
	all.Merge("sites[1].subnets", errors.New("odd"))
	all.OneOf("language", "zh", []string{"zh-CN", "en"})
	var got []string
	for _, c := range setting.Unfold(fmt.Errorf("loading: %w", all.Err())) {
		got = append(got, c.Error())
	}
	if len(got) != 1 { // a wrapped error is one complaint: nobody may lose its context
		t.Errorf("wrapped: %q", got)
	}
	got = nil
	for _, c := range setting.Unfold(all.Err()) {
		got = append(got, c.Error())
	}
	want := []string{
		"sites[1].line.up: no rate", "sites[1].line.delay: 1h is not between 0s and 1m", "sites[1].subnets: odd",
		`language: unknown value "zh"; did you mean "zh-CN"?`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("complaints (-want +got):\n%s", diff)
	}
	if new(setting.Complaints).Err() != nil {
		t.Error("no complaint is an error")
	}
}

func TestSecretsHideThemselves(t *testing.T) {
	secret := setting.Secret("4711")
	text, err := secret.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%s %v %#v %s %s", secret, secret, secret, text, secret.LogValue())
	if want := `*** *** "***" *** ***`; shown != want {
		t.Errorf("shown as %s", shown)
	}
}
