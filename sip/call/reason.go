package call

import (
	"fmt"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Why a call or a branch ends (RFC 3326) is told to phones in CANCEL and BYE: one that stops
// ringing because somebody else answered must not show a missed call, and what one side says
// about its end the other hears.

// completedElsewhere is RFC 3326 §3.1's example, which phones of every brand look for.
const completedElsewhere = `SIP;cause=200;text="Call completed elsewhere"`

// mostReasons and longestReason bound what one side can make us tell the other.
const (
	mostReasons   = 4
	longestReason = 256
)

// reasons reads the Reason values of a request that are worth passing on.
func reasons(req *sip.Request) []string {
	var out []string
	for _, h := range req.GetHeaders("Reason") {
		value := strings.TrimSpace(strings.ToValidUTF8(h.Value(), ""))
		protocol, _, _ := strings.Cut(value, ";")
		if value == "" || len(value) > longestReason || !isToken(strings.TrimSpace(protocol)) {
			continue
		}
		if out = append(out, value); len(out) == mostReasons {
			break
		}
	}
	return out
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-.!%*_+`'~", c) >= 0 {
			continue
		}
		return false
	}
	return s != ""
}

func reasonHeaders(values []string) []sip.Header {
	out := make([]sip.Header, len(values))
	for i, v := range values {
		out[i] = sip.NewHeader("Reason", v)
	}
	return out
}

// sipReason is a Reason in the words of a status code.
func sipReason(code int, text string) string {
	return fmt.Sprintf(`SIP;cause=%d;text="%s"`, code, display(text))
}

// cancelReasons is what a phone that is to stop ringing is told. One that rang too long is told
// nothing: it shows the missed call that it was.
func (c *call) cancelReasons() []string {
	switch {
	case c.preempted != "":
		return []string{c.preempted}
	case c.m.Winner >= 0:
		return []string{completedElsewhere}
	case c.current != nil && c.current.StatusCode >= 600: // declined for all phones of the extension
		return []string{sipReason(c.current.StatusCode, phrase(c.current.StatusCode))}
	default:
		return c.because
	}
}

// endReasons is what a party hears with its BYE: our own reason, or the other party's.
func (c *call) endReasons(own string) []string {
	switch {
	case c.preempted != "": // RFC 4411, on both sides
		return []string{c.preempted}
	case own == "":
		return c.because
	default:
		return []string{sipReason(200, own)}
	}
}
