package trace

import (
	"testing"

	"linehall/sip/stack/stacktest"
)

// Found by the storm of mutated messages: lower case of what is no UTF-8 is longer than it.
func TestMaskTakesAnyBytes(t *testing.T) {
	m := stacktest.NewMutator(3, []byte("INVITE sip:8002@linehall.test SIP/2.0\r\nTo: <sip:*218001991234@linehall.test>\r\n"+
		"Authorization: Digest username=\"8001\", realm=\"x\", nonce=\"\xff\xfe\xff\", uri=\"sip:x\", response=\"0123456789abcdef\", cnonce=\"x\"\r\n"+
		"Content-Type: application/sdp\r\nContent-Length: 105\r\n\r\nv=0\r\na=crypto:1 AES inline:abc|2\r\nk=clear:x\r\n"))
	for range 20000 {
		mask(m.Next())
	}
	line := []byte("To: <sip:\xff\xff\xff\xff%2A2180019912345@x>")
	mask(line)
	digest := []byte("Authorization: Digest nonce=\"\xff\xff\xff\xff\", RESPONSE=\"0123\"")
	mask(digest)
	if got := string(digest); got != "Authorization: Digest nonce=\"\xff\xff\xff\xff\", RESPONSE=\"****\"" {
		t.Errorf("%q", got)
	}
}

func TestMaskHidesThePINOfAMeeting(t *testing.T) {
	for text, want := range map[string]string{
		"INVITE sip:9000*2468@linehall.test SIP/2.0\r\n": "INVITE sip:9000*****@linehall.test SIP/2.0\r\n",
		"To: <sip:9000%2A2468;x=y@linehall.test>\r\n":    "To: <sip:9000%2A****;x=y@linehall.test>\r\n",
		"X-Linehall-PIN: 2468\r\n":                       "X-Linehall-PIN: ****\r\n",
		"To: <sip:9000@linehall.test>\r\n":               "To: <sip:9000@linehall.test>\r\n",
	} {
		line := []byte(text)
		if mask(line); string(line) != want {
			t.Errorf("%q, want %q", line, want)
		}
	}
}
