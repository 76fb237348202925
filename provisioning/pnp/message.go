package pnp

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// question is what matters of a SUBSCRIBE. Every text is a part of one line
// and has no control character in it.
type question struct {
	via                             []string
	from, to, callID, cseq, contact string
	event                           string

	mac, vendor, model, version string
}

// forms are the names that a header may have (RFC 3261 section 7.3.3).
var forms = map[string]string{"v": "via", "f": "from", "t": "to", "i": "call-id", "m": "contact", "o": "event"}

// parse reads a SUBSCRIBE for ua-profile as leniently as old phones need it;
// false says that it is none.
func parse(text string) (question, bool) {
	head, _, _ := strings.Cut(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n")
	lines := strings.Split(head, "\n")
	var q question
	for _, line := range unfold(lines[1:]) {
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), clean(value)
		if full, short := forms[name]; short {
			name = full
		}
		switch name {
		case "via":
			q.via = append(q.via, value)
		case "from":
			q.from = value
		case "to":
			q.to = value
		case "call-id":
			q.callID = value
		case "cseq":
			q.cseq = value
		case "contact":
			q.contact = value
		case "event":
			q.event = value
		}
	}
	kind, parameters, _ := strings.Cut(q.event, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "ua-profile") {
		return q, false
	}
	p := parametersOf(parameters)
	q.vendor, q.model, q.version = p["vendor"], p["model"], p["version"]
	if len(q.via) > 0 && q.from != "" && q.to != "" && q.callID != "" && strings.HasSuffix(q.cseq, "SUBSCRIBE") {
		q.mac = macIn(lines[0], q.to, q.from)
	}
	return q, true
}

// unfold joins continuation lines (RFC 3261 section 7.3.1).
func unfold(lines []string) []string {
	var joined []string
	for _, line := range lines {
		if len(joined) > 0 && line != "" && (line[0] == ' ' || line[0] == '\t') {
			joined[len(joined)-1] += " " + strings.TrimSpace(line)
			continue
		}
		joined = append(joined, line)
	}
	return joined
}

// clean keeps a foreign text within its line.
func clean(text string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, text))
}

// parametersOf reads ;-separated parameters with or without quotes.
func parametersOf(text string) map[string]string {
	found := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		name, value, _ := strings.Cut(part, "=")
		found[strings.ToLower(strings.TrimSpace(name))] = strings.Trim(strings.TrimSpace(value), `"`)
	}
	return found
}

// device is a phone's name in its URI: MAC%3a0004130A0B0C, MAC=0004130A0B0C.
var device = regexp.MustCompile(`(?i)sips?:MAC(?:%3a|%3d|[:=])([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})@`)

func macIn(texts ...string) string {
	for _, text := range texts {
		if groups := device.FindStringSubmatch(text); groups != nil {
			return strings.ToLower(strings.Join(groups[1:], ":"))
		}
	}
	return ""
}

// ourBranch finds the branch of one of our NOTIFYs in its answer.
var ourBranch = regexp.MustCompile(branchPrefix + `[a-z0-9]{26}`)

func branchIn(text string) string { return ourBranch.FindString(text) }

// response is the 200. Where the phone asked for rport it is told what we saw
// (RFC 3581).
func (q question) response(own, remote netip.AddrPort, tag string) []byte {
	var b strings.Builder
	b.WriteString("SIP/2.0 200 OK\r\n")
	for i, via := range q.via {
		if i == 0 {
			via = seen(via, remote)
		}
		fmt.Fprintf(&b, "Via: %s\r\n", via)
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s;tag=%s\r\nCall-ID: %s\r\nCSeq: %s\r\nContact: <sip:%s>\r\nExpires: 0\r\nContent-Length: 0\r\n\r\n",
		q.from, q.to, tag, q.callID, q.cseq, own)
	return []byte(b.String())
}

// seen fills in rport and received.
func seen(via string, remote netip.AddrPort) string {
	parts := strings.Split(via, ";")
	for i, p := range parts {
		if strings.EqualFold(strings.TrimSpace(p), "rport") {
			parts[i] = fmt.Sprintf("rport=%d;received=%s", remote.Port(), remote.Addr())
		}
	}
	return strings.Join(parts, ";")
}

// notify carries the address; the parties change sides.
func (q question) notify(own netip.AddrPort, branch, tag, url string) []byte {
	return fmt.Appendf(nil, "NOTIFY %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 20\r\n"+
		"From: %s;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 NOTIFY\r\nContact: <sip:%s>\r\nEvent: %s\r\n"+
		"Subscription-State: terminated;reason=timeout\r\nContent-Type: application/url\r\nContent-Length: %d\r\n\r\n%s",
		q.target(), own, branch, q.to, tag, q.from, q.callID, own, q.event, len(url), url)
}

// target is the URI of the phone's Contact.
func (q question) target() string {
	uri := q.contact
	if _, rest, ok := strings.Cut(uri, "<"); ok {
		uri, _, _ = strings.Cut(rest, ">")
	} else {
		uri, _, _ = strings.Cut(uri, ";")
	}
	if !strings.HasPrefix(strings.ToLower(uri), "sip:") || strings.ContainsAny(uri, " <>\"") {
		return "sip:phone.invalid" // nobody looks at it: it goes to where the question came from
	}
	return uri
}
