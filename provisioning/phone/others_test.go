package phone_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/provisioning/phone"
)

// A digit map of complete numbers and of Others must never hold two patterns
// of which one goes on where the other ends: the phone would wait.
func TestOthersLeaveNoNumberOutAndNoneInDoubt(t *testing.T) {
	for _, tc := range []struct{ patterns, want []string }{
		{[]string{"110", "119", "120", "2xxx", "8xxx"}, []string{"[03-79]", "1[03-9]", "11[1-8]", "12[1-9]"}},
		{[]string{"110"}, []string{"[02-9]", "1[02-9]", "11[1-9]"}},
		{[]string{"112", "911", "0xx"}, []string{"[2-8]", "1[02-9]", "11[013-9]", "9[02-9]", "91[02-9]"}},
		{[]string{"1x0"}, []string{"[02-9]", "1x[1-9]"}},
		{nil, []string{"[0-9]"}},
	} {
		if diff := cmp.Diff(tc.want, phone.Others(tc.patterns)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.patterns, diff)
		}
	}
}

func TestLinesAreCheckedAndLaidOverOthers(t *testing.T) {
	for _, text := range []string{"a\n", "a b = 1\n", "= 1\n", "x = 1\nx = 2\n", "\xff = 1\n", "x = a\x01b\n"} {
		if lines, err := phone.ParseLines([]byte(text)); err == nil {
			t.Errorf("%q was taken as %v", text, lines)
		}
	}
	lines, err := phone.ParseLines([]byte("\xef\xbb\xbf# a note\r\nsip/line[1]/Transport = 0\r\n\r\nP2 =\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := phone.Override(lines, []phone.Line{{Key: "P2", Value: "x"}, {Key: "P3", Value: "y=z"}})
	want := []phone.Line{{Key: "sip/line[1]/Transport", Value: "0"}, {Key: "P2", Value: "x"}, {Key: "P3", Value: "y=z"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestFindTakesAModelHoweverItIsWritten(t *testing.T) {
	models := []phone.Model{{Name: "VVX_450"}, {Name: "T54W"}, {Name: "8841"}, {Name: "X6U Pro"}}
	for name, want := range map[string]string{
		"VVX 450": "VVX_450", "Polycom VVX450": "VVX_450", "sip-t54w": "T54W", "Yealink T54W": "T54W", "CP-8841-3PCC": "8841", "Fanvil X6U-Pro": "X6U Pro", "T54": "", "": "",
	} {
		if got, ok := phone.Find(models, name); got.Name != want || ok != (want != "") {
			t.Errorf("%q is %q", name, got.Name)
		}
	}
}
