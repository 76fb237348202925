package bench

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// The load generator writes and reads SIP as text: a stack of its own would cost more CPU than the servers under test
// leave on a small machine.

var errMessage = errors.New("not a SIP message")

type header struct{ name, value string }

// message is a parsed request or response; strings share the datagram's copy.
type message struct {
	request string // method, empty for a response
	uri     string
	status  int
	headers []header
	body    string
}

func parseMessage(datagram []byte) (*message, error) {
	text := string(datagram)
	head, body, ok := strings.Cut(text, "\r\n\r\n")
	if !ok {
		return nil, errMessage
	}
	lines := strings.Split(head, "\r\n")
	m := &message{body: body, headers: make([]header, 0, len(lines))}
	first := strings.SplitN(lines[0], " ", 3)
	if len(first) < 3 {
		return nil, errMessage
	}
	if first[0] == "SIP/2.0" {
		var err error
		if m.status, err = strconv.Atoi(first[1]); err != nil {
			return nil, errMessage
		}
	} else {
		m.request, m.uri = first[0], first[1]
	}
	for _, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, errMessage
		}
		m.headers = append(m.headers, header{long(strings.ToLower(strings.TrimSpace(name))), strings.TrimSpace(value)})
	}
	return m, nil
}

// long undoes the compact form (RFC 3261 §7.3.3).
func long(name string) string {
	switch name {
	case "v":
		return "via"
	case "f":
		return "from"
	case "t":
		return "to"
	case "i":
		return "call-id"
	case "m":
		return "contact"
	}
	return name
}

func (m *message) get(name string) string {
	for _, h := range m.headers {
		if h.name == name {
			return h.value
		}
	}
	return ""
}

func (m *message) all(name string) []string {
	var values []string
	for _, h := range m.headers {
		if h.name == name {
			values = append(values, h.value)
		}
	}
	return values
}

// method is that of a request, or the one a response answers.
func (m *message) method() string {
	if m.request != "" {
		return m.request
	}
	_, method, _ := strings.Cut(m.get("cseq"), " ")
	return strings.TrimSpace(method)
}

// param finds name="value" or name=value in a header.
func param(value, name string) string {
	for rest := value; ; {
		i := strings.Index(rest, name+"=")
		if i < 0 {
			return ""
		}
		if i > 0 && rest[i-1] != ' ' && rest[i-1] != ',' && rest[i-1] != ';' {
			rest = rest[i+len(name):]
			continue
		}
		v := rest[i+len(name)+1:]
		if strings.HasPrefix(v, `"`) {
			v, _, _ = strings.Cut(v[1:], `"`)
			return v
		}
		if j := strings.IndexAny(v, ",; >"); j >= 0 {
			v = v[:j]
		}
		return v
	}
}

// address is the URI between angle brackets, or the whole value.
func address(value string) string {
	if _, rest, ok := strings.Cut(value, "<"); ok {
		uri, _, _ := strings.Cut(rest, ">")
		return uri
	}
	uri, _, _ := strings.Cut(value, ";")
	return uri
}

// authorization answers a challenge (RFC 7616 with MD5 and qop=auth, or RFC 2069 without qop).
func authorization(challenge, method, uri, user, password string) string {
	realm, nonce := param(challenge, "realm"), param(challenge, "nonce")
	ha1 := md5hex(user, realm, password)
	ha2 := md5hex(method, uri)
	var b strings.Builder
	b.WriteString(`Digest username="` + user + `", realm="` + realm + `", nonce="` + nonce + `", uri="` + uri + `", algorithm=MD5`)
	if strings.Contains(param(challenge, "qop"), "auth") {
		const cnonce, nc = "6c696e6573696d", "00000001"
		b.WriteString(`, qop=auth, nc=` + nc + `, cnonce="` + cnonce + `", response="` + md5hex(ha1, nonce, nc, cnonce, "auth", ha2) + `"`)
	} else {
		b.WriteString(`, response="` + md5hex(ha1, nonce, ha2) + `"`)
	}
	if opaque := param(challenge, "opaque"); opaque != "" {
		b.WriteString(`, opaque="` + opaque + `"`)
	}
	return b.String()
}

func md5hex(parts ...string) string {
	h := md5.New()
	for i, p := range parts {
		if i > 0 {
			h.Write([]byte{':'})
		}
		h.Write([]byte(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// respond builds a response with the headers RFC 3261 §8.2.6.2 copies.
func respond(req *message, status, tag, extra, body string) []byte {
	var b bytes.Buffer
	b.WriteString("SIP/2.0 " + status + "\r\n")
	for _, h := range req.headers {
		switch h.name {
		case "via":
			b.WriteString("Via: " + h.value + "\r\n")
		case "record-route":
			b.WriteString("Record-Route: " + h.value + "\r\n")
		case "from":
			b.WriteString("From: " + h.value + "\r\n")
		case "call-id":
			b.WriteString("Call-ID: " + h.value + "\r\n")
		case "cseq":
			b.WriteString("CSeq: " + h.value + "\r\n")
		case "to":
			b.WriteString("To: " + h.value)
			if tag != "" && !strings.Contains(h.value, "tag=") {
				b.WriteString(";tag=" + tag)
			}
			b.WriteString("\r\n")
		}
	}
	b.WriteString(extra)
	b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body)
	return b.Bytes()
}
