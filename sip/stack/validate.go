package stack

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// refusal is the answer that a request deserves instead of a handler.
type refusal struct {
	code    int
	reason  string
	headers [][2]string
}

func badRequest(reason string) *refusal {
	return &refusal{code: sip.StatusBadRequest, reason: reason}
}

// singleHeaders may occur once (RFC 3261 §7.3.1, table 2 of §20).
var singleHeaders = [...]string{"From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Length", "Content-Type", "Event", "Refer-To"}

// validate names the status owed to a request that parsed (RFC 3261 §8.2,
// §16.3, RFC 4475). It is a function of the request and the options alone.
func (s *Stack) validate(req *sip.Request) *refusal {
	if r := s.checkVersion(req); r != nil {
		return r
	}
	if r := checkCSeq(req); r != nil {
		return r
	}
	if r := checkSingles(req); r != nil {
		return r
	}
	if r := s.checkURI(req); r != nil {
		return r
	}
	if r := checkHops(req); r != nil {
		return r
	}
	if r := checkNames(req); r != nil {
		return r
	}
	if r := s.checkRequire(req); r != nil {
		return r
	}
	return checkBody(req)
}

func (s *Stack) checkVersion(req *sip.Request) *refusal {
	if !strings.EqualFold(req.SipVersion, "SIP/2.0") {
		req.SipVersion = "SIP/2.0"
		return &refusal{code: sip.StatusVersionNotSupported, reason: "Version Not Supported"}
	}
	return nil
}

func checkCSeq(req *sip.Request) *refusal {
	// The parser raises the method of the request line, not that of the CSeq.
	if m := req.CSeq().MethodName; !strings.EqualFold(strings.TrimSpace(string(m)), string(req.Method)) {
		return badRequest("CSeq Method Mismatch")
	}
	req.CSeq().MethodName = req.Method
	return nil
}

func checkSingles(req *sip.Request) *refusal {
	var seen [len(singleHeaders)]bool
	for _, h := range req.Headers() {
		i := slices.Index(singleHeaders[:], h.Name())
		if i < 0 {
			continue
		}
		if seen[i] {
			return badRequest("Multiple " + singleHeaders[i])
		}
		seen[i] = true
	}
	return nil
}

func (s *Stack) checkURI(req *sip.Request) *refusal {
	uri := &req.Recipient
	text := uri.String()
	switch {
	case uri.Scheme != "sip" && uri.Scheme != "sips":
		return &refusal{code: sip.StatusRequestedRangeNotSatisfiable, reason: "Unsupported URI Scheme"}
	case len(text) > s.limits.URIBytes:
		return &refusal{code: sip.StatusRequestURITooLong, reason: "Request-URI Too Long"}
	case !hostValid(uri.Host) || uri.Port < 0 || uri.Port > 65535 || strings.ContainsAny(text, " \t<>\""):
		return badRequest("Bad Request-URI")
	case len(uri.Headers) > 0:
		return badRequest("Headers In Request-URI") // RFC 3261 §19.1.1
	}
	return nil
}

func hostValid(host string) bool {
	if strings.HasPrefix(host, "[") {
		// RFC 5118 §4.10: the grammar of RFC 3261 has three colons before an IPv4 tail; they are to be tolerated.
		_, err := netip.ParseAddr(strings.Replace(strings.Trim(host, "[]"), ":::", "::", 1))
		return err == nil
	}
	for _, c := range []byte(host) {
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' {
			continue
		}
		return false
	}
	return host != ""
}

func checkHops(req *sip.Request) *refusal {
	h := req.MaxForwards()
	switch {
	case h == nil && headerNamed(req, "Max-Forwards") != nil, h != nil && *h > 255:
		return badRequest("Bad Max-Forwards")
	case h != nil && *h == 0:
		return &refusal{code: sip.StatusTooManyHops, reason: "Too Many Hops"}
	}
	return nil
}

// checkNames wants a host in the SIP URIs of From and To; other schemes are the
// registrar's and the dial plan's business.
func checkNames(req *sip.Request) *refusal {
	for _, uri := range []*sip.Uri{&req.From().Address, &req.To().Address} {
		if (uri.Scheme == "sip" || uri.Scheme == "sips") && uri.Host == "" {
			return badRequest("Bad From Or To")
		}
	}
	return nil
}

// checkRequire follows RFC 3261 §8.2.2.3 and §16.3 no. 5.
func (s *Stack) checkRequire(req *sip.Request) *refusal {
	var unknown []string
	if headerNamed(req, "Require") == nil && headerNamed(req, "Proxy-Require") == nil {
		return nil
	}
	for _, tag := range append(Tokens(req, "Require"), Tokens(req, "Proxy-Require")...) {
		if !s.supported[strings.ToLower(tag)] {
			unknown = append(unknown, tag)
		}
	}
	if unknown == nil {
		return nil
	}
	return &refusal{code: sip.StatusBadExtension, reason: "Bad Extension", headers: [][2]string{{"Unsupported", strings.Join(unknown, ", ")}}}
}

// checkBody follows RFC 3261 §8.2.3: what we cannot read in an INVITE or its
// relatives is refused unless the peer says that it is optional.
func checkBody(req *sip.Request) *refusal {
	if len(req.Body()) == 0 {
		return checkAccept(req)
	}
	if enc := headerNamed(req, "Content-Encoding"); enc != nil && !strings.EqualFold(strings.TrimSpace(enc.Value()), "identity") {
		return &refusal{code: sip.StatusUnsupportedMediaType, reason: "Unsupported Content-Encoding", headers: [][2]string{{"Accept-Encoding", "identity"}}}
	}
	switch req.Method {
	case sip.INVITE, sip.UPDATE, sip.PRACK:
	default:
		return nil
	}
	if disposition := headerNamed(req, "Content-Disposition"); disposition != nil && strings.Contains(strings.ToLower(disposition.Value()), "handling=optional") {
		return nil
	}
	kind := ""
	if h := req.ContentType(); h != nil {
		kind, _, _ = strings.Cut(strings.ToLower(h.Value()), ";")
		kind = strings.TrimSpace(kind)
	}
	if kind != "application/sdp" && !strings.HasPrefix(kind, "multipart/") {
		return &refusal{code: sip.StatusUnsupportedMediaType, reason: "Unsupported Media Type", headers: [][2]string{{"Accept", "application/sdp"}}}
	}
	return checkAccept(req)
}

// checkAccept refuses an INVITE whose sender cannot read an SDP answer.
func checkAccept(req *sip.Request) *refusal {
	if !req.IsInvite() || headerNamed(req, "Accept") == nil {
		return nil
	}
	for _, t := range Tokens(req, "Accept") {
		kind, _, _ := strings.Cut(strings.ToLower(t), ";")
		switch strings.TrimSpace(kind) {
		case "application/sdp", "application/*", "*/*":
			return nil
		}
	}
	return &refusal{code: sip.StatusNotAcceptable, reason: "Not Acceptable"}
}

// wellFormed is the check on raw bytes that the parser does not make: no
// control characters, no CR or LF on their own (they would turn into headers
// when a value is sent on), bounded size and number of headers.
func wellFormed(data []byte, l Limits) bool {
	lines := 0
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '\r':
			if i+1 >= len(data) || data[i+1] != '\n' {
				return false
			}
			if i+3 < len(data) && data[i+2] == '\r' && data[i+3] == '\n' {
				return i <= l.HeaderBytes && lines <= l.Headers
			}
			lines++
			i++
		case c == '\n':
			return false
		case (c < 0x20 && c != '\t' || c == 0x7f) && (i == 0 || data[i-1] != '\\'):
			return false // only a quoted-pair may hold one (RFC 3261 §25.1)
		}
	}
	return false // no end of headers
}

// salvage builds the raw answer to a request that did not parse, or nil when
// there is nothing to answer. It copies the client's own lines, nothing else.
func salvage(data []byte, l Limits, server string, _ netip.AddrPort) []byte {
	line, _, _ := bytes.Cut(data, []byte("\r\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 2 || strings.HasPrefix(strings.ToUpper(fields[0]), "SIP/") || fields[0] == "ACK" || !isToken(fields[0]) {
		return nil
	}
	parts := collectIdentity(data)
	if len(parts.via) == 0 || parts.callID == "" || parts.cseq == "" {
		return nil
	}
	code, reason := salvageCode(string(line), fields, l)
	var b bytes.Buffer
	b.WriteString("SIP/2.0 " + strconv.Itoa(code) + " " + reason + "\r\n")
	for _, v := range parts.via {
		b.WriteString("Via: " + v + "\r\n")
	}
	if parts.from != "" {
		b.WriteString("From: " + parts.from + "\r\n")
	}
	if parts.to != "" {
		b.WriteString("To: " + parts.to)
		if !strings.Contains(strings.ToLower(parts.to), "tag=") {
			b.WriteString(";tag=malformed")
		}
		b.WriteString("\r\n")
	}
	b.WriteString("Call-ID: " + parts.callID + "\r\nCSeq: " + parts.cseq + "\r\nServer: " + server + "\r\nContent-Length: 0\r\n\r\n")
	if b.Len() > len(data)+256 { // never a bigger answer than the question
		return nil
	}
	return b.Bytes()
}

func salvageCode(line string, fields []string, l Limits) (int, string) {
	version := fields[len(fields)-1]
	if strings.HasPrefix(strings.ToUpper(version), "SIP/") && !strings.EqualFold(version, "SIP/2.0") {
		return sip.StatusVersionNotSupported, "Version Not Supported"
	}
	if len(fields) != 3 || strings.Join(fields, " ") != line {
		return sip.StatusBadRequest, "Bad Request-Line"
	}
	uri := fields[1]
	if len(uri) > l.URIBytes {
		return sip.StatusRequestURITooLong, "Request-URI Too Long"
	}
	if scheme, _, ok := strings.Cut(uri, ":"); ok && isScheme(scheme) && !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips") {
		return sip.StatusRequestedRangeNotSatisfiable, "Unsupported URI Scheme"
	}
	return sip.StatusBadRequest, "Bad Request"
}

type identity struct {
	via                    []string
	from, to, callID, cseq string
}

// collectIdentity finds the lines that a client matches a response with.
func collectIdentity(data []byte) identity {
	const longest, most = 1024, 16
	var id identity
	for name, value := range headerLines(data) {
		if len(value) > longest || strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }) {
			continue
		}
		if full := fullName(name); full != "" {
			name = full
		}
		switch name {
		case "Via":
			if len(id.via) < most {
				id.via = append(id.via, value)
			}
		case "From":
			first(&id.from, value)
		case "To":
			first(&id.to, value)
		case "Call-ID":
			first(&id.callID, value)
		case "CSeq":
			first(&id.cseq, value)
		}
	}
	return id
}

func first(to *string, value string) {
	if *to == "" {
		*to = value
	}
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

// isScheme follows RFC 3986 §3.1.
func isScheme(s string) bool {
	for i, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if letter || i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.') {
			continue
		}
		return false
	}
	return s != ""
}
