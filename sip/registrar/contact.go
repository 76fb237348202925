package registrar

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
)

// contact is one value of a REGISTER's Contact headers.
type contact struct {
	uri      string // byte for byte
	parsed   sip.Uri
	params   string // header parameters but expires, ";name=value..."
	expires  time.Duration
	instance string
	regID    string
	q        int // thousandths
}

// wish is what a REGISTER asks for.
type wish struct {
	contacts []contact
	all      bool // Contact: *
	tooBrief bool // some expiry is too short: 423
}

// Errors of malformed contacts; their text is the reason phrase of the 400.
var (
	errStar    = errors.New("Contact * Needs Expires 0") //nolint:staticcheck,revive // a reason phrase
	errContact = errors.New("Bad Contact")               //nolint:staticcheck,revive // a reason phrase
	errScheme  = errors.New("Contact Is No SIP URI")     //nolint:staticcheck,revive // a reason phrase
	errFlows   = errors.New("More Than One Flow")        //nolint:staticcheck,revive // a reason phrase
	errNumber  = errors.New("Too Many Contacts At Once") //nolint:staticcheck,revive // a reason phrase
)

// mostContacts bounds the values of one request; phones send one or two.
const mostContacts = 32

// parseWish reads the contacts and their expiry: the parameter wins over the
// header, a malformed one counts as absent (RFC 3261 §10.2.1.1, §20.19).
func parseWish(req *stack.Request, opts Options) (wish, error) {
	var w wish
	general, hasGeneral := expiresHeader(req)
	for _, h := range req.GetHeaders("Contact") {
		for _, value := range splitList(h.Value()) {
			if value == "*" {
				w.all = true
				continue
			}
			if len(w.contacts) == mostContacts {
				return w, errNumber
			}
			c, own, err := parseContact(value)
			if err != nil {
				return w, err
			}
			switch {
			case own >= 0:
				c.expires = own
			case hasGeneral:
				c.expires = general
			default:
				c.expires = opts.DefaultExpires
			}
			if c.expires > 0 && c.expires < opts.MinExpires {
				w.tooBrief = true
			}
			c.expires = min(c.expires, opts.MaxExpires)
			w.contacts = append(w.contacts, c)
		}
	}
	flows := 0
	for i := range w.contacts {
		if w.contacts[i].regID != "" && w.contacts[i].expires > 0 {
			flows++
		}
	}
	if flows > 0 && w.alive() > 1 { // RFC 5626 §6
		return w, errFlows
	}
	if w.all && (len(w.contacts) > 0 || !hasGeneral || general != 0) {
		return w, errStar
	}
	return w, nil
}

// alive counts the contacts that are not removed.
func (w *wish) alive() int {
	n := 0
	for i := range w.contacts {
		if w.contacts[i].expires > 0 {
			n++
		}
	}
	return n
}

func expiresHeader(req *stack.Request) (time.Duration, bool) {
	h := req.GetHeader("Expires")
	if h == nil {
		return 0, false
	}
	return parseSeconds(h.Value())
}

// parseSeconds reads delta-seconds. What does not fit 32 bits is as long as can
// be (RFC 3261 §20.19: 2^32-1); anything else is malformed.
func parseSeconds(text string) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	n, err := strconv.ParseUint(text, 10, 32)
	if errors.Is(err, strconv.ErrRange) {
		n = 1<<32 - 1
	} else if err != nil {
		return 0, false
	}
	return time.Duration(n) * time.Second, true //nolint:gosec // below 2^32
}

// parseContact reads name-addr or addr-spec with parameters; expires is
// negative when it is absent or malformed.
func parseContact(text string) (c contact, expires time.Duration, err error) {
	expires = -1
	var params string
	if open := indexUnquoted(text, '<'); open >= 0 {
		end := strings.IndexByte(text[open:], '>')
		if end < 0 {
			return c, expires, errContact
		}
		c.uri, params = text[open+1:open+end], strings.TrimSpace(text[open+end+1:])
	} else {
		// RFC 3261 §20.10: without brackets all parameters are the header's, and
		// the URI must not contain what would need them.
		c.uri, params, _ = strings.Cut(text, ";")
		c.uri = strings.TrimSpace(c.uri)
		if params != "" {
			params = ";" + params
		}
		if strings.ContainsAny(c.uri, "?,") {
			return c, expires, errContact
		}
	}
	if err := c.parseURI(); err != nil {
		return c, expires, err
	}
	c.q = 1000
	for _, p := range splitUnquoted(strings.TrimPrefix(params, ";"), ';') {
		name, value, _ := strings.Cut(p, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if strings.EqualFold(name, "expires") {
			if d, ok := parseSeconds(value); ok {
				expires = d
			}
			continue
		}
		switch strings.ToLower(name) {
		case "pub-gruu", "temp-gruu": // ours to give, RFC 5627 §5.1
			continue
		}
		c.take(strings.ToLower(name), value)
		c.params += ";" + p
	}
	if n, err := strconv.ParseUint(c.regID, 10, 31); c.instance == "" || err != nil || n == 0 {
		c.regID = "" // RFC 5626 §6: without an instance it is ignored
	}
	return c, expires, nil
}

func (c *contact) parseURI() error {
	if strings.ContainsAny(c.uri, " \t\"<>") || sip.ParseUri(c.uri, &c.parsed) != nil {
		return errContact
	}
	if c.parsed.Scheme != "sip" && c.parsed.Scheme != "sips" {
		return errScheme
	}
	if c.parsed.Host == "" || c.parsed.Port < 0 || c.parsed.Port > 65535 {
		return errContact
	}
	return nil
}

func (c *contact) take(name, value string) {
	switch name {
	case "+sip.instance":
		c.instance = strings.Trim(value, `"`)
	case "reg-id":
		c.regID = value
	case "q":
		if f, err := strconv.ParseFloat(value, 64); err == nil && f >= 0 && f <= 1 {
			c.q = int(f*1000 + 0.5)
		}
	}
}

// splitList splits a header value at commas outside quotes and brackets.
func splitList(text string) []string { return splitUnquoted(text, ',') }

func splitUnquoted(text string, sep byte) []string {
	var out []string
	start, quoted, bracketed := 0, false, false
	add := func(part string) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '<':
			bracketed = true
		case c == '>':
			bracketed = false
		case c == sep && !bracketed:
			add(text[start:i])
			start = i + 1
		}
	}
	add(text[start:])
	return out
}

func indexUnquoted(text string, want byte) int {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == want:
			return i
		}
	}
	return -1
}

// sameURI compares two contacts as RFC 3261 §19.1.4 wants it: hosts and
// parameter names in any case, order of parameters of no importance; user, ttl,
// method and maddr count also when only one side has them.
func sameURI(a, b *sip.Uri) bool {
	if a.Scheme != b.Scheme || a.User != b.User || a.Password != b.Password || a.Port != b.Port ||
		!strings.EqualFold(a.Host, b.Host) || len(a.Headers) != len(b.Headers) {
		return false
	}
	for _, kv := range a.Headers {
		if v, ok := b.Headers.Get(kv.K); !ok || v != kv.V {
			return false
		}
	}
	return paramsAgree(a.UriParams, b.UriParams) && paramsAgree(b.UriParams, a.UriParams)
}

func paramsAgree(a, b sip.HeaderParams) bool {
	for _, kv := range a {
		v, ok := param(b, kv.K)
		if ok && !strings.EqualFold(v, kv.V) {
			return false
		}
		if ok {
			continue
		}
		switch strings.ToLower(kv.K) {
		case "user", "ttl", "method", "maddr", "transport":
			return false
		}
	}
	return true
}

func param(params sip.HeaderParams, name string) (string, bool) {
	for _, kv := range params {
		if strings.EqualFold(kv.K, name) {
			return kv.V, true
		}
	}
	return "", false
}
