package digest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"linehall/internal/directory"
)

// Errors of Answer.
var (
	// ErrChallenge: the challenge is no Digest challenge, is damaged or lacks what an answer needs.
	ErrChallenge = errors.New("challenge cannot be answered")
	// ErrAlgorithm: it wants an algorithm or a quality of protection that we do not have.
	ErrAlgorithm = errors.New("challenge wants an unknown algorithm")
)

// challenge is a WWW-Authenticate or Proxy-Authenticate header (RFC 7616 §3.3).
type challenge struct {
	realm, nonce, opaque, algorithm, qop, stale string
}

// Answer builds the value of the Authorization or Proxy-Authorization header that answers a
// challenge (RFC 7616 §3.4) for a request of ours: its method, its Request-URI as sent, and its
// body, which counts only where the peer wants qop=auth-int and nothing else. Each challenge is
// answered once: nc is 1 and the cnonce fresh. MD5 and SHA-256 are known, plain and -sess.
//
// With several challenges of one realm the caller answers the first one that works, which is the
// one that the server prefers (§3.7).
func Answer(header, method, uri, user, password string, body []byte) (string, error) {
	return answer(header, method, uri, user, password, body, rand.Text())
}

func answer(header, method, uri, user, password string, body []byte, cnonce string) (string, error) {
	c, err := parseChallenge(header)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(user+uri, "\r\n") || strings.Contains(uri, `"`) {
		return "", fmt.Errorf("%w: a name that cannot be quoted", ErrChallenge)
	}
	algorithm, session := strings.CutSuffix(strings.ToUpper(c.algorithm), "-SESS")
	h := hashMD5
	switch algorithm {
	case "", directory.MD5:
	case directory.SHA256:
		h = hashSHA256
	default:
		return "", fmt.Errorf("%w: %q", ErrAlgorithm, c.algorithm)
	}
	qop, err := c.protection()
	if err != nil {
		return "", err
	}
	ha1 := h(user + ":" + c.realm + ":" + password)
	if session {
		ha1 = h(ha1 + ":" + c.nonce + ":" + cnonce)
	}
	ha2 := method + ":" + uri
	if qop == "auth-int" {
		ha2 += ":" + h(string(body))
	}
	ha2 = h(ha2)
	const nc = "00000001"
	response := h(ha1 + ":" + c.nonce + ":" + ha2)
	if qop != "" {
		response = h(strings.Join([]string{ha1, c.nonce, nc, cnonce, qop, ha2}, ":"))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username=%s, realm=%s, nonce=%s, uri="%s", response="%s"`, quote(user), quote(c.realm), quote(c.nonce), uri, response)
	if c.algorithm != "" {
		b.WriteString(", algorithm=" + c.algorithm)
	}
	if qop != "" {
		fmt.Fprintf(&b, `, qop=%s, nc=%s, cnonce="%s"`, qop, nc, cnonce)
	} else if session {
		fmt.Fprintf(&b, `, cnonce="%s"`, cnonce)
	}
	if c.opaque != "" {
		b.WriteString(", opaque=" + quote(c.opaque))
	}
	return b.String(), nil
}

// Stale reports whether a challenge says that only the nonce was too old: the password was
// right, and the same request may be tried once more with the new nonce (RFC 7616 §3.3).
func Stale(header string) bool {
	c, err := parseChallenge(header)
	return err == nil && strings.EqualFold(c.stale, "true")
}

// protection chooses among the offered qualities: auth before auth-int, none for a peer of RFC
// 2069.
func (c challenge) protection() (string, error) {
	if c.qop == "" {
		return "", nil
	}
	var offered []string
	for part := range strings.SplitSeq(c.qop, ",") {
		offered = append(offered, strings.ToLower(strings.TrimSpace(part)))
	}
	for _, known := range []string{"auth", "auth-int"} {
		if slices.Contains(offered, known) {
			return known, nil
		}
	}
	return "", fmt.Errorf("%w: qop %q", ErrAlgorithm, c.qop)
}

func parseChallenge(text string) (challenge, error) {
	var c challenge
	scheme, rest, ok := strings.Cut(strings.TrimSpace(text), " ")
	if !ok || !strings.EqualFold(scheme, "Digest") || len(text) > maxCredentials {
		return c, fmt.Errorf("%w: no Digest challenge", ErrChallenge)
	}
	into := map[string]*string{
		"realm": &c.realm, "nonce": &c.nonce, "opaque": &c.opaque, "algorithm": &c.algorithm, "qop": &c.qop, "stale": &c.stale,
	}
	for rest != "" {
		name, value, more, ok := nextParam(rest)
		if !ok {
			return c, fmt.Errorf("%w: damaged parameters", ErrChallenge)
		}
		if to := into[strings.ToLower(name)]; to != nil {
			if *to != "" {
				return c, fmt.Errorf("%w: %s is there twice", ErrChallenge, name)
			}
			*to = value
		}
		rest = more
	}
	if c.nonce == "" {
		return c, fmt.Errorf("%w: no nonce", ErrChallenge)
	}
	if strings.ContainsAny(c.realm+c.nonce+c.opaque+c.algorithm, "\r\n") || strings.ContainsAny(c.algorithm, " \",") {
		return c, fmt.Errorf("%w: damaged parameters", ErrChallenge)
	}
	return c, nil
}

// quote writes a quoted-string (RFC 3261 §25.1).
func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
