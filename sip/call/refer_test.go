package call

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseReferTo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want referTo
		err  error
	}{
		{"<sip:8003@linehall.test>", referTo{User: "8003", Host: "linehall.test"}, nil},
		{"sip:8003@linehall.test", referTo{User: "8003", Host: "linehall.test"}, nil},
		{`"Wang" <sips:%2A8@[2001:db8::1]:5061;transport=tcp>;x=y`, referTo{User: "*8", Host: "2001:db8::1"}, nil},
		{"<sip:8003:secret@192.0.2.1:5060;user=phone>", referTo{User: "8003", Host: "192.0.2.1"}, nil},
		{"<tel:8003;phone-context=+86>", referTo{User: "8003"}, nil},
		{"<sip:linehall.test>", referTo{Host: "linehall.test"}, nil},
		{
			"<sip:8003@linehall.test;transport=udp?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2%3Bearly-only&Require=replaces>",
			referTo{User: "8003", Host: "linehall.test", Replaces: &replaces{CallID: "a@b", ToTag: "1", FromTag: "2", EarlyOnly: true}},
			nil,
		},
		{"<sip:8003@linehall.test?replaces=x%3Bfrom-tag%3D2%3Bto-tag%3D1>", referTo{User: "8003", Host: "linehall.test", Replaces: &replaces{CallID: "x", ToTag: "1", FromTag: "2"}}, nil},
		{"<sip:8003@linehall.test?Replaces=x%3Bfrom-tag%3D2>", referTo{}, errReplaces},
		{"<sip:8003@linehall.test?Replaces=%zz>", referTo{}, errReplaces},
		{"<sip:8003@linehall.test;method=REGISTER>", referTo{}, errMethod},
		{"<mailto:a@b>", referTo{}, errScheme},
		{"<sip:>", referTo{}, errReferTo},
		{"<sip:8003@>", referTo{}, errReferTo},
		{"", referTo{}, errReferTo},
		{"<sip:8003@linehall.test", referTo{}, errReferTo},
	} {
		got, err := parseReferTo(tt.in)
		if err != tt.err { //nolint:errorlint // a pure function's own sentinels
			t.Errorf("%s: %v, want %v", tt.in, err, tt.err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.in, diff)
		}
	}
}

func FuzzReferTo(f *testing.F) {
	f.Add("<sip:8003@linehall.test?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>")
	f.Add("tel:+86;x")
	f.Fuzz(func(t *testing.T, value string) {
		to, err := parseReferTo(value)
		if err != nil && (to != referTo{}) {
			t.Errorf("%q: an error and %+v", value, to)
		}
		if r := to.Replaces; r != nil && (r.CallID == "" || r.ToTag == "" || r.FromTag == "") {
			t.Errorf("%q: %+v", value, r)
		}
	})
}
