package subscribe

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// The collector of "vq-rtcpxr" (RFC 6035): what phones themselves measured of a call. It comes
// as PUBLISH and, from older firmware, as NOTIFY.

const qualityType = "application/vq-rtcpxr"

// Metrics are one direction of media as a phone saw it. Zero means that it did not say.
type Metrics struct {
	MOSListening    float64       `json:"mos_listening,omitempty"`
	MOSConversation float64       `json:"mos_conversation,omitempty"`
	LossPercent     float64       `json:"loss_percent"`
	DiscardPercent  float64       `json:"discard_percent"` // by the jitter buffer
	Jitter          time.Duration `json:"jitter_ns,omitempty"`
	RoundTrip       time.Duration `json:"round_trip_ns,omitempty"`
	EndSystem       time.Duration `json:"end_system_ns,omitempty"`
	OneWay          time.Duration `json:"one_way_ns,omitempty"` // symmetric, RFC 6035 SOWD
	Codec           string        `json:"codec,omitempty"`
	Start           time.Time     `json:"start,omitzero"`
	Stop            time.Time     `json:"stop,omitzero"`
}

// MOS is the listening quality, else the conversational one; 0 when the phone gave none.
func (m Metrics) MOS() float64 {
	if m.MOSListening > 0 {
		return m.MOSListening
	}
	return m.MOSConversation
}

// Report is one session or interval report.
type Report struct {
	Kind     string   `json:"kind"`      // session, interval, alert
	CallID   string   `json:"call_id"`   // SIP Call-ID of the phone's dialog
	LocalID  string   `json:"local_id"`  // as the phone writes it
	RemoteID string   `json:"remote_id"` //
	Local    Metrics  `json:"local"`     // what the phone received
	Remote   *Metrics `json:"remote,omitempty"`
}

var errReport = errors.New("no quality report")

// Bounds of a report.
const (
	maxReport = 8 << 10
	maxLine   = 1 << 10
)

// parseReport reads a report. Phones differ in the order of lines and in spelling, and leave
// out what they did not measure; only a report without any metric is refused.
func parseReport(body []byte) (Report, error) {
	var r Report
	if len(body) > maxReport {
		return r, errReport
	}
	var into *Metrics
	for line := range strings.Lines(string(body)) {
		name, value, ok := strings.Cut(line, ":")
		if !ok || len(line) > maxLine {
			continue
		}
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch name {
		case "vqsessionreport", "vqintervalreport", "vqalertreport":
			r.Kind = strings.TrimSuffix(strings.TrimPrefix(name, "vq"), "report")
		case "callid":
			r.CallID = clean(value)
		case "localid":
			r.LocalID = clean(value)
		case "remoteid":
			r.RemoteID = clean(value)
		case "localmetrics":
			into = &r.Local
		case "remotemetrics":
			r.Remote = &Metrics{}
			into = r.Remote
		case "timestamps", "sessiondesc", "jitterbuffer", "packetloss", "delay", "qualityest":
			if into == nil { // an old phone without the heading
				into = &r.Local
			}
			into.take(name, value)
		}
	}
	if r.Kind == "" || into == nil {
		return Report{}, errReport
	}
	return r, nil
}

// clean makes a value of a phone fit for storage and logs.
func clean(s string) string {
	return shorten(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s), 256)
}

// take reads the parameters of one line: NAME=value, separated by blanks; values may be quoted.
func (m *Metrics) take(line, params string) {
	for name, value := range parameters(params) {
		switch line + " " + strings.ToUpper(name) {
		case "timestamps START":
			m.Start = timestamp(value)
		case "timestamps STOP":
			m.Stop = timestamp(value)
		case "sessiondesc PD":
			m.Codec = clean(value)
		case "packetloss NLR":
			m.LossPercent = measure(value, 100)
		case "packetloss JDR":
			m.DiscardPercent = measure(value, 100)
		case "delay RTD":
			m.RoundTrip = milliseconds(value)
		case "delay ESD":
			m.EndSystem = milliseconds(value)
		case "delay SOWD":
			m.OneWay = milliseconds(value)
		case "delay IAJ":
			m.Jitter = milliseconds(value)
		case "qualityest MOSLQ":
			m.MOSListening = score(value)
		case "qualityest MOSCQ":
			m.MOSConversation = score(value)
		}
	}
}

// parameters yields NAME, value.
func parameters(s string) func(yield func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for {
			s = strings.TrimLeft(s, " \t;,")
			name, rest, ok := strings.Cut(s, "=")
			if !ok {
				return
			}
			if at := strings.LastIndexAny(name, " \t"); at >= 0 { // words without a value
				name = name[at+1:]
			}
			var value string
			if strings.HasPrefix(rest, `"`) {
				value, s, _ = strings.Cut(rest[1:], `"`)
			} else if at := strings.IndexAny(rest, " \t;,"); at >= 0 {
				value, s = rest[:at], rest[at:]
			} else {
				value, s = rest, ""
			}
			if !yield(strings.TrimSpace(name), strings.TrimSpace(value)) {
				return
			}
		}
	}
}

// measure reads a number in [0, most]; anything else is 0: not measured.
func measure(text string, most float64) float64 {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || v < 0 || v > most {
		return 0
	}
	return v
}

// score reads a MOS; 127 and the like mean that there is none (RFC 3611 §4.7.5).
func score(text string) float64 {
	if v := measure(text, 5); v >= 1 {
		return v
	}
	return 0
}

func milliseconds(text string) time.Duration {
	return time.Duration(measure(text, 60000) * float64(time.Millisecond))
}

func timestamp(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 2000 || t.Year() > 2200 { // a phone without a clock
		return time.Time{}
	}
	return t.UTC()
}
