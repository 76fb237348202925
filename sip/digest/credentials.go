package digest

import (
	"strconv"
	"strings"

	"linehall/internal/directory"
	"linehall/sip/stack"
)

// credentials are the parameters of one Authorization header (RFC 7616 §3.4).
type credentials struct {
	username, realm, nonce, uri, response string
	algorithm, cnonce, qop, ncText        string
	nc                                    uint32 // 0 without qop
}

// maxCredentials bounds what is parsed; real headers stay under 600 bytes.
const maxCredentials = 4096

// credentials finds the Digest credentials for our realm. Phones that think of
// us as a proxy may use the other header.
func (a *Authenticator) credentials(req *stack.Request) (credentials, bool) {
	for _, name := range []string{"Authorization", "Proxy-Authorization"} {
		for _, h := range req.GetHeaders(name) {
			if c, ok := parseCredentials(h.Value()); ok && c.realm == a.opts.Realm {
				return c, true
			}
		}
	}
	return credentials{}, false
}

// parseCredentials reads `Digest name=value, name="value"`. Unknown parameters
// are skipped, one that is there twice makes the header useless.
func parseCredentials(text string) (credentials, bool) {
	var c credentials
	scheme, rest, ok := strings.Cut(strings.TrimSpace(text), " ")
	if !ok || !strings.EqualFold(scheme, "Digest") || len(text) > maxCredentials {
		return c, false
	}
	into := map[string]*string{
		"username": &c.username, "realm": &c.realm, "nonce": &c.nonce, "uri": &c.uri, "response": &c.response,
		"algorithm": &c.algorithm, "cnonce": &c.cnonce, "qop": &c.qop, "nc": &c.ncText,
	}
	for {
		name, value, more, ok := nextParam(rest)
		if !ok {
			return c, false
		}
		if to := into[strings.ToLower(name)]; to != nil {
			if *to != "" {
				return c, false
			}
			*to = value
		}
		if more == "" {
			break
		}
		rest = more
	}
	if c.username == "" || c.nonce == "" || c.uri == "" || c.response == "" {
		return c, false
	}
	return c.withCount()
}

// withCount reads nc: eight hexadecimal digits, from 1.
func (c credentials) withCount() (credentials, bool) {
	if c.qop == "" {
		return c, true
	}
	n, err := strconv.ParseUint(c.ncText, 16, 32)
	if err != nil || n == 0 || len(c.ncText) > 8 {
		return c, false
	}
	c.nc = uint32(n)
	return c, true
}

// fits reports whether the credentials answer the challenge we make.
func (c credentials) fits(realm, algorithm string) bool {
	named := c.algorithm
	if named == "" {
		named = directory.MD5
	}
	return c.realm == realm && strings.EqualFold(named, algorithm) && (c.qop == "" || strings.EqualFold(c.qop, "auth"))
}

// nextParam cuts one auth-param; more is what follows the comma.
func nextParam(s string) (name, value, more string, ok bool) {
	s = strings.TrimLeft(s, " \t,")
	name, s, ok = strings.Cut(s, "=")
	name, s = strings.TrimSpace(name), strings.TrimLeft(s, " \t")
	if !ok || name == "" {
		return "", "", "", false
	}
	if !strings.HasPrefix(s, `"`) {
		value, more, _ = strings.Cut(s, ",")
		return name, strings.TrimSpace(value), strings.TrimSpace(more), true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		case '"':
			_, more, _ = strings.Cut(s[i+1:], ",")
			return name, b.String(), strings.TrimSpace(more), true
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", "", false
}
