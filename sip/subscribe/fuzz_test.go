package subscribe

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzParseReport(f *testing.F) {
	f.Add([]byte(qualityReport))
	f.Add([]byte("VQSessionReport:\nLocalMetrics:\nQualityEst:MOSLQ=\"4"))
	f.Add([]byte("VQAlertReport: Type=x\nDelay:=;=,= RTD==1"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseReport(body)
		if err != nil {
			return
		}
		for _, s := range []string{r.CallID, r.LocalID, r.RemoteID, r.Local.Codec} {
			if len(s) > 256 || !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x00") {
				t.Errorf("kept %q", s)
			}
		}
		for _, m := range []*Metrics{&r.Local, r.Remote} {
			if m != nil && (m.MOS() < 0 || m.MOS() > 5 || m.LossPercent < 0 || m.LossPercent > 100 || m.Jitter < 0 || m.RoundTrip < 0) {
				t.Errorf("kept %+v", m)
			}
		}
	})
}

func FuzzParsePIDF(f *testing.F) {
	f.Add([]byte(publishedDoc))
	f.Add([]byte(`<presence><status><basic>open</basic></status><note>` + strings.Repeat("é", 300) + `</note></presence>`))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parsePIDF(body)
		if err != nil {
			return
		}
		if len(p.Note) > maxNote || !utf8.ValidString(p.Note) {
			t.Errorf("kept %q", p.Note)
		}
		var d document // what is passed on is well-formed whatever came in
		writePresence(&d, "sip:8001@x", &presenceState{Published: []pidf{p}})
		wellFormed(t, d.b)
	})
}

func FuzzParseFeatureChange(f *testing.F) {
	f.Add([]byte(`<SetDoNotDisturb><device>8001</device><doNotDisturbOn>true</doNotDisturbOn></SetDoNotDisturb>`))
	f.Add([]byte(`<SetForwarding><forwardingType>forwardBusy</forwardingType><activateForward>1</activateForward><forwardDN>tel:8002;x</forwardDN><ringCount>99</ringCount></SetForwarding>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := parseFeatureChange(body)
		if err != nil {
			return
		}
		if (c.doNotDisturb == nil) == (c.kind == "") {
			t.Errorf("neither or both: %+v", c)
		}
		if strings.Trim(c.forward.To, "0123456789*#+") != "" || c.forward.Rings < 0 || c.forward.Rings > 30 {
			t.Errorf("accepted %+v", c.forward)
		}
	})
}

// Names come from the directory and from other exchanges: whatever they are, the document can
// be read and says the same.
func FuzzDocumentText(f *testing.F) {
	f.Add(`Li <"&'> 李`)
	f.Add("\x00\x1f\x7f\xff\ufffe]]>")
	f.Fuzz(func(t *testing.T, name string) {
		var d document
		d.raw("<a")
		d.attr("b", name)
		d.raw(">")
		d.element("c", name)
		d.raw("</a>")
		var back struct {
			B string `xml:"b,attr"`
			C string `xml:"c"`
		}
		if err := xml.Unmarshal(d.b, &back); err != nil {
			t.Fatalf("%v in %q", err, d.b)
		}
		if printable(name) && (back.B != name || back.C != name) {
			t.Errorf("%q became %q and %q", name, back.B, back.C)
		}
	})
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0xFFFE || r == 0xFFFF || r == utf8.RuneError })
}

func wellFormed(t *testing.T, doc []byte) {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(string(doc)))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %q", err, doc)
		}
	}
}
