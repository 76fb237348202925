package trace

import (
	"bytes"
	"strings"
)

// star replaces every byte of a secret: lengths stay, so Content-Length does too.
const star = '*'

// shownFeature is how much of a dialled feature code is shown: the code and an extension; what follows may be a PIN.
const shownFeature = 8

// mask overwrites the secrets of a SIP message in place. It is total: any bytes will do.
func mask(text []byte) {
	head, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
	kind := ""
	for line := range bytes.Lines(head) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok {
			switch name = bytes.TrimSpace(name); {
			case named(name, "authorization"), named(name, "proxy-authorization"):
				maskDigest(value)
			case named(name, "x-linehall-pin"):
				fill(bytes.TrimSpace(value), "\r\n")
			case named(name, "content-type"), named(name, "c"):
				kind = strings.ToLower(strings.TrimSpace(string(value)))
			}
		}
	}
	maskFeatures(head)
	maskBody(body, kind, bytes.HasPrefix(text, []byte("MESSAGE ")))
}

// maskDigest hides what would let somebody search for the password: response, and the client's part of it.
func maskDigest(value []byte) {
	for _, name := range []string{"response", "cnonce"} {
		rest := value
		for {
			at := indexFold(rest, name+"=")
			if at < 0 {
				break
			}
			rest = rest[at+len(name)+1:]
			rest = fill(rest, "\",; \t\r\n")
		}
	}
	if token := bytes.TrimSpace(value); len(token) > 6 && strings.EqualFold(string(token[:6]), "basic ") {
		fill(token[6:], "\r\n")
	}
}

// named compares a header's name with one in lower case.
func named(name []byte, wanted string) bool {
	return len(name) == len(wanted) && indexFold(name, wanted) == 0
}

// indexFold finds an ASCII word in lower case, in any case. bytes.ToLower would change the length of what is no UTF-8.
func indexFold(b []byte, word string) int {
	for i := 0; i+len(word) <= len(b); i++ {
		j := 0
		for j < len(word) && lower(b[i+j]) == word[j] {
			j++
		}
		if j == len(word) {
			return i
		}
	}
	return -1
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// fill overwrites up to one of the end bytes, behind an opening quote, and returns the rest.
func fill(b []byte, ends string) []byte {
	if len(b) > 0 && b[0] == '"' {
		b = b[1:]
	}
	for i := range b {
		if strings.IndexByte(ends, b[i]) >= 0 {
			return b[i:]
		}
		b[i] = star
	}
	return nil
}

// maskFeatures hides what is dialled behind a feature code and an extension: it may be a PIN.
func maskFeatures(head []byte) {
	for rest := head; ; {
		at := bytes.IndexByte(rest, ':')
		if at < 0 {
			return
		}
		rest = rest[at+1:]
		maskRoomPIN(rest)
		if !bytes.HasPrefix(rest, []byte("*")) && (len(rest) < 3 || indexFold(rest[:3], "%2a") != 0) {
			continue
		}
		for i := range rest {
			if strings.IndexByte("@;> \t\r\n", rest[i]) >= 0 {
				break
			}
			if i >= shownFeature {
				rest[i] = star
			}
		}
	}
}

// maskRoomPIN hides what is dialled behind a number and a star: the PIN of a meeting.
func maskRoomPIN(user []byte) {
	i := 0
	for i < len(user) && user[i] >= '0' && user[i] <= '9' {
		i++
	}
	switch rest := user[i:]; {
	case i == 0:
	case len(rest) > 0 && rest[0] == '*':
		fill(rest[1:], "@;> \t\r\n")
	case len(rest) > 3 && indexFold(rest[:3], "%2a") == 0:
		fill(rest[3:], "@;> \t\r\n")
	}
}

func maskBody(body []byte, kind string, text bool) {
	switch {
	case len(body) == 0:
	case strings.Contains(kind, "dtmf"):
		maskDigits(body)
	case text && !strings.Contains(kind, "sdp"):
		for i := range body {
			if body[i] != '\r' && body[i] != '\n' {
				body[i] = star
			}
		}
	default:
		maskKeys(body)
	}
}

// maskDigits hides the digit of application/dtmf-relay ("Signal=5") and application/dtmf ("5").
func maskDigits(body []byte) {
	for line := range bytes.Lines(body) {
		name, value, ok := bytes.Cut(line, []byte("="))
		switch {
		case !ok:
			fill(line, "\r\n")
		case strings.EqualFold(strings.TrimSpace(string(name)), "signal"):
			fill(value, "\r\n")
		}
	}
}

// maskKeys hides the keys of a session description: RFC 4568 inline keys, RFC 8839 passwords, k= lines.
func maskKeys(body []byte) {
	for line := range bytes.Lines(body) {
		switch {
		case bytes.HasPrefix(line, []byte("a=crypto:")):
			for rest := line; ; {
				at := bytes.Index(rest, []byte("inline:"))
				if at < 0 {
					break
				}
				rest = fill(rest[at+len("inline:"):], "|; \t\r\n")
			}
		case bytes.HasPrefix(line, []byte("a=ice-pwd:")):
			fill(line[len("a=ice-pwd:"):], "\r\n")
		case bytes.HasPrefix(line, []byte("a=key-mgmt:")):
			fill(line[len("a=key-mgmt:"):], "\r\n")
		case bytes.HasPrefix(line, []byte("k=")):
			fill(line[2:], "\r\n")
		}
	}
}
