package stack

import (
	"maps"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// compactNames are the compact forms that the parser does not know (RFC 3261
// §7.3.3 and the registry of header field names).
var compactNames = map[string]string{
	"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition",
	"e": "Content-Encoding", "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported",
	"l": "Content-Length", "m": "Contact", "n": "Identity-Info", "o": "Event", "r": "Refer-To",
	"s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
}

// canonicalNames maps the lower-case names of headers that we and our peers
// look at to their one spelling: the library finds and removes by exact name.
var canonicalNames = lowered(
	"Accept", "Accept-Contact", "Accept-Encoding", "Accept-Language", "Alert-Info", "Allow",
	"Allow-Events", "Authentication-Info", "Authorization", "Call-Info", "Contact", "Content-Disposition",
	"Content-Encoding", "Content-Language", "Content-Length", "Content-Type", "CSeq", "Date", "Diversion",
	"Error-Info", "Event", "Expires", "Flow-Timer", "From", "History-Info", "Identity", "Identity-Info",
	"In-Reply-To", "Join", "Max-Forwards", "MIME-Version", "Min-Expires", "Min-SE", "Organization",
	"P-Asserted-Identity", "P-Preferred-Identity", "Path", "Priority", "Privacy", "Proxy-Authenticate",
	"Proxy-Authorization", "Proxy-Require", "RAck", "Reason", "Record-Route", "Refer-Sub", "Refer-To",
	"Referred-By", "Reject-Contact", "Remote-Party-ID", "Replaces", "Reply-To", "Request-Disposition",
	"Require", "Resource-Priority", "Retry-After", "Route", "RSeq", "Server", "Service-Route",
	"Session-Expires", "SIP-ETag", "SIP-If-Match", "Subject", "Subscription-State", "Supported",
	"Target-Dialog", "Timestamp", "To", "Unsupported", "User-Agent", "Via", "Warning", "WWW-Authenticate",
	"Call-ID",
)

// isCanonical are the values of canonicalNames: most names come spelled like that.
var isCanonical = spelled(canonicalNames)

func spelled(names map[string]string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

func lowered(names ...string) map[string]string {
	m := make(map[string]string, len(names))
	for _, n := range names {
		m[strings.ToLower(n)] = n
	}
	return m
}

// normalise gives every header its full, canonical name. Values are untouched.
func normalise(m interface{ Headers() []sip.Header }) {
	headers := m.Headers()
	for i, h := range headers {
		name := h.Name()
		if full := fullName(name); full != name {
			headers[i] = sip.NewHeader(full, h.Value())
		}
	}
}

func fullName(name string) string {
	if isCanonical[name] {
		return name
	}
	if len(name) == 1 {
		if full, ok := compactNames[strings.ToLower(name)]; ok {
			return full
		}
		return name
	}
	if full, ok := canonicalNames[strings.ToLower(name)]; ok {
		return full
	}
	return name
}

// newParser returns a parser that leaves Contact as it is: a registrar has to
// repeat it byte for byte, and one that cannot be read must not cost the answer.
// The library reads a single Contact on demand. In From and To it forgives white
// space inside the brackets (RFC 4475 §3.1.2.14).
func newParser() *sip.Parser {
	parsers := maps.Clone(sip.DefaultHeadersParser())
	delete(parsers, "contact")
	delete(parsers, "m")
	for _, name := range []string{"from", "f", "to", "t"} {
		strict := parsers[name]
		parsers[name] = func(name []byte, value string) (sip.Header, error) {
			return strict(name, tidyBrackets(value))
		}
	}
	return sip.NewParser(sip.WithHeadersParsers(parsers))
}

func tidyBrackets(value string) string {
	open, end := strings.LastIndexByte(value, '<'), strings.LastIndexByte(value, '>')
	if open < 0 || end < open {
		return value
	}
	inner := value[open+1 : end]
	if trimmed := strings.Trim(inner, " \t"); trimmed != inner {
		return value[:open+1] + trimmed + value[end:]
	}
	return value
}
