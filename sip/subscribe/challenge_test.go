package subscribe

import (
	"crypto/md5" //nolint:gosec // RFC 7616: what most desk phones speak
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"linehall/sip/stack/stacktest"
)

// challenge answers a NOTIFY by asking who tells the phone to fetch.
func (h *handset) challenge(m stacktest.Message, nonce string, algorithms ...string) {
	lines := []string{
		"SIP/2.0 401 Unauthorized", "Via: " + m.Header("Via"), "From: " + m.Header("From"), "To: " + m.Header("To"),
		"Call-ID: " + m.Header("Call-ID"), "CSeq: " + m.Header("CSeq"),
	}
	for _, a := range algorithms {
		lines = append(lines, fmt.Sprintf(`WWW-Authenticate: Digest realm="phone", nonce="%s", algorithm=%s, qop="auth"`, nonce, a))
	}
	h.sock.Send(here, lines...)
}

var param = regexp.MustCompile(`(\w+)="?([^",]+)"?`)

// knows reports whether the credentials are of this password (RFC 7616 section 3.4.1), as the phone works it out.
func knows(t *testing.T, m stacktest.Message, password, nonce string) bool {
	t.Helper()
	got := map[string]string{}
	for _, p := range param.FindAllStringSubmatch(m.Header("Authorization"), -1) {
		got[p[1]] = p[2]
	}
	h := func(s string) string {
		if got["algorithm"] == "SHA-256" {
			sum := sha256.Sum256([]byte(s))
			return hex.EncodeToString(sum[:])
		}
		sum := md5.Sum([]byte(s)) //nolint:gosec // as above
		return hex.EncodeToString(sum[:])
	}
	uri := strings.Fields(m.Start)[1]
	if got["username"] != "8003" || got["realm"] != "phone" || got["nonce"] != nonce || got["uri"] != uri {
		t.Errorf("credentials %v for %s", got, uri)
	}
	return got["response"] == h(strings.Join([]string{
		h("8003:phone:" + password), nonce, got["nc"], got["cnonce"], got["qop"], h("NOTIFY:" + uri),
	}, ":"))
}

// Phones of some brands ask who tells them to fetch their configuration (RFC 3261 section 22.2).
func TestAChallengedResyncIsAnswered(t *testing.T) {
	for name, algorithms := range map[string][]string{"MD5": {"MD5"}, "SHA-256": {"SHA-256"}, "the better of two": {"SHA-512-256", "SHA-256", "MD5"}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(b *bubble) {
				h := b.phone("8003", 3)
				told := make(chan error, 1)
				go func() { told <- b.s.Resync(b.Context(), "8003", "check-sync;reboot=false") }()
				m := h.sock.Recv()
				if m.Header("Event") != "check-sync;reboot=false" || m.Header("Authorization") != "" {
					t.Errorf("told by %s", m.Raw)
				}
				h.challenge(m, "one", algorithms...)
				again := h.sock.Recv()
				if !knows(t, again, "secret8003", "one") || again.Header("CSeq") != "2 NOTIFY" || again.Header("Call-ID") != m.Header("Call-ID") || again.Header("Event") != m.Header("Event") {
					t.Errorf("answered by %s", again.Raw)
				}
				h.sock.Answer(here, again, "200 OK")
				if err := <-told; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// While a password is rotated the phone may have either; one that takes neither is a failure that says so, and is not
// asked again and again.
func TestAChallengedResyncTriesBothPasswords(t *testing.T) {
	inBubble(t, func(o *Options) { o.Next = func(string) (string, bool) { return "the next one", true } }, func(b *bubble) {
		h := b.phone("8003", 3)
		told := make(chan error, 1)
		go func() { told <- b.s.Resync(b.Context(), "8003", "resync") }()
		h.challenge(h.sock.Recv(), "one", "MD5")
		m := h.sock.Recv()
		if !knows(t, m, "secret8003", "one") {
			t.Errorf("first answer %s", m.Raw)
		}
		h.challenge(m, "two", "MD5")
		m = h.sock.Recv()
		if !knows(t, m, "the next one", "two") || m.Header("CSeq") != "3 NOTIFY" {
			t.Errorf("second answer %s", m.Raw)
		}
		h.sock.Answer(here, m, "200 OK")
		if err := <-told; err != nil {
			t.Error(err)
		}
		go func() { told <- b.s.Resync(b.Context(), "8003", "resync") }()
		for i := range 3 {
			h.challenge(h.sock.Recv(), fmt.Sprint(i), "MD5")
		}
		if err := <-told; err == nil || !strings.Contains(err.Error(), "does not take the line's password") {
			t.Errorf("refused three times: %v", err)
		}
		go func() { told <- b.s.Resync(b.Context(), "8003", "resync") }()
		h.challenge(h.sock.Recv(), "one", "SHA-512-256") // that we do not have
		if err := <-told; err == nil {
			t.Error("an algorithm that nobody knows was answered")
		}
		synctest.Wait()
	})
}
