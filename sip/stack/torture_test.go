package stack_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
	"linehall/sip/stack/stacktest"
)

// expectation is what a message is answered with; 0 is silence, and why says for which reason. The handlers behind the
// stack answer REGISTER, OPTIONS, MESSAGE and BYE with 200 and INVITE with 486, so those codes mean "understood and handed
// on". Over a stream some messages mean something else, because Content-Length says where they end.
type expectation struct {
	code   int
	why    string
	stream *onStream
}

type onStream struct {
	code int
	why  string
}

// tortureIPv6 is RFC 5118 §4. What it says of session descriptions is media/sdp's.
var tortureIPv6 = map[string]expectation{
	"ipv6-good":                     {200, "4.1 a reference in the Request-URI", nil},
	"ipv6-bad":                      {400, "4.2 no brackets around the address", nil},
	"port-ambiguous":                {200, "4.3 what looks like a port belongs to the address", nil},
	"port-unambiguous":              {200, "4.4 a port outside the brackets", nil},
	"via-received-param-with-delim": {200, "4.5 received with brackets", nil},
	"via-received-param-no-delim":   {200, "4.5 received without brackets", nil},
	"ipv6-in-sdp":                   {486, "4.6 IPv6 in the session description", nil},
	"mult-ip-in-header":             {200, "4.7 both families in the Vias", nil},
	"mult-ip-in-sdp":                {486, "4.8 both families in the session description", nil},
	"ipv4-mapped-ipv6":              {486, "4.9 mapped IPv4 addresses", nil},
	"ipv6-bug-abnf-3-colons":        {200, "4.10 the old grammar's three colons are tolerated", nil},
	"ipv6-correct-abnf-2-colons":    {200, "4.10 two colons", nil},
}

// torture is RFC 4475 §3.
var torture = map[string]expectation{
	// 3.1.1 valid messages
	"wsinv":      {486, "3.1.1.1 odd white space, folding and compact names", nil},
	"intmeth":    {501, "3.1.1.2 an unknown method with every token character", nil},
	"esc01":      {486, "3.1.1.3 escaped characters in URIs", nil},
	"escnull":    {200, "3.1.1.4 escaped NULs", nil},
	"esc02":      {501, "3.1.1.5 RE%47IST%45R is not REGISTER", nil},
	"lwsdisp":    {200, "3.1.1.6 no white space between display name and <", nil},
	"longreq":    {486, "3.1.1.7 long values", nil},
	"dblreq":     {200, "3.1.1.8 what follows a complete datagram is ignored", &onStream{200, "both messages are answered; the second has more body than it says, so the connection ends there"}},
	"semiuri":    {200, "3.1.1.9 semicolon in the user part", nil},
	"transports": {200, "3.1.1.10 unknown transports in lower Vias", nil},
	"mpart01":    {200, "3.1.1.11 multipart MESSAGE", nil},
	"unreason":   {0, "3.1.1.12 a response, of nobody", nil},
	"noreason":   {0, "3.1.1.13 a response, of nobody", nil},

	// 3.1.2 invalid messages
	"badinv01": {400, "3.1.2.1 extra commas and semicolons in Via", nil},
	"clerr":    {400, "3.1.2.2 Content-Length beyond the datagram", &onStream{0, "the rest never comes: the connection is closed after Limits.MessageTime"}},
	"ncl":      {400, "3.1.2.3 negative Content-Length", nil},
	"scalar02": {400, "3.1.2.4 numbers out of range", nil},
	"scalarlg": {0, "3.1.2.5 a response with numbers out of range", nil},
	"quotbal":  {400, "3.1.2.6 unterminated quote", nil},
	"ltgtruri": {400, "3.1.2.7 Request-URI in brackets", nil},
	"lwsruri":  {400, "3.1.2.8 white space in the Request-URI", nil},
	"lwsstart": {400, "3.1.2.9 too much white space in the start line", nil},
	"trws":     {400, "3.1.2.10 white space at the end of the start line", nil},
	"escruri":  {400, "3.1.2.11 headers in the Request-URI", nil},
	"baddate":  {486, "3.1.2.12 a Date that we do not read", nil},
	"regbadct": {200, "3.1.2.13 the registrar refuses it, see its test", nil},
	"badaspec": {200, "3.1.2.14 spaces inside the brackets of To, tolerated", nil},
	"baddn":    {400, "3.1.2.15 comma in an unquoted display name", &onStream{0, "the file has no empty line: the end of the headers never comes"}},
	"badvers":  {505, "3.1.2.16 SIP/7.0", nil},

	"mismatch01": {400, "3.1.2.17 CSeq names another method", nil},
	"mismatch02": {400, "3.1.2.18 CSeq names another method than an unknown one", nil},
	"bigcode":    {0, "3.1.2.19 a response code out of range", nil},

	// 3.2 transaction layer
	"badbranch": {200, "3.2.1 a branch that is only the cookie falls back to RFC 2543 matching", nil},

	// 3.3 application layer
	"insuf":    {400, "3.3.1 no Call-ID, From nor To", nil},
	"unkscm":   {416, "3.3.2 unknown scheme", nil},
	"novelsc":  {416, "3.3.3 known scheme that is not SIP's", nil},
	"unksm2":   {200, "3.3.4 other schemes in From and To; the registrar refuses it, see its test", nil},
	"bext01":   {420, "3.3.5 Require and Proxy-Require of the unknown", nil},
	"invut":    {415, "3.3.6 unknown Content-Type", nil},
	"regaut01": {200, "3.3.7 unknown authorization scheme; challenged by the registrar, see its test", nil},
	"multi01":  {400, "3.3.8 two values of single headers", nil},
	"mcl01":    {400, "3.3.9 two Content-Lengths", nil},
	"bcast":    {0, "3.3.10 a response with somebody else's Via", nil},
	"zeromf":   {483, "3.3.11 Max-Forwards 0", nil},
	"cparam01": {200, "3.3.12 unknown Contact parameter", nil},
	"cparam02": {200, "3.3.13 unknown URI parameter in a Contact", nil},
	"regescrt": {200, "3.3.14 escaped headers in a Contact URI", nil},
	"sdp01":    {406, "3.3.15 the sender cannot read SDP", nil},

	// 3.4 backward compatibility
	"inv2543": {486, "3.4.1 INVITE of RFC 2543: no branch, no tag, no Max-Forwards", &onStream{400, "without Content-Length the end of the message is unknown (RFC 3261 §20.14)"}},
	"test":    {0, "not of the RFC: a torture message of 1999 without Via; nobody to answer", nil},
}

func TestRFC4475(t *testing.T) { runTorture(t, "rfc4475", 75, torture) }

func TestRFC5118(t *testing.T) { runTorture(t, "rfc5118", 118, tortureIPv6) }

// runTorture sends every message over UDP and over TCP, each to a stack of its own: many share a branch and a Call-ID.
func runTorture(t *testing.T, folder string, net byte, table map[string]expectation) {
	t.Helper()
	files, err := filepath.Glob("testdata/" + folder + "/*.dat")
	if err != nil || len(files) != len(table) {
		t.Fatalf("%d files, %d expectations: %v", len(files), len(table), err)
	}
	setup := func(s *stack.Stack) {
		for method, code := range map[sip.RequestMethod]int{sip.REGISTER: 200, sip.OPTIONS: 200, sip.MESSAGE: 200, sip.BYE: 200, sip.INVITE: 486} {
			s.Handle(method, func(_ context.Context, req *stack.Request) {
				_ = req.Tx.Respond(s.NewResponse(req, code, "Answered"))
			})
		}
	}
	limits := stack.Limits{MessageTime: time.Second}
	for i, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".dat")
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := table[name]
		if !ok {
			t.Fatalf("%s: nothing is expected of it", name)
		}
		t.Run(name+"/udp", func(t *testing.T) {
			t.Parallel()
			e := start(t, stack.Options{Limits: limits}, setup)
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 44, net, byte(i + 1)}), 0)
			tortured(t, stacktest.DialUDPFrom(t, from, e.addr(stack.UDP)), raw, want.code, want.why)
		})
		t.Run(name+"/tcp", func(t *testing.T) {
			t.Parallel()
			e := start(t, stack.Options{Limits: limits}, setup)
			code, why := want.code, want.why
			if want.stream != nil {
				code, why = want.stream.code, want.stream.why
			}
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 45, net, byte(i + 1)}), 0)
			tortured(t, stacktest.DialTCPFrom(t, from, e.addr(stack.TCP)), raw, code, why)
		})
	}
}

func tortured(t *testing.T, p *stacktest.Peer, raw []byte, code int, why string) {
	t.Helper()
	p.Write(string(raw))
	if code == 0 {
		p.Silent(300 * time.Millisecond)
		if strings.Contains(why, "never come") {
			p.Closed()
		}
		return
	}
	m := p.Final()
	if strings.HasPrefix(why, "both") {
		if other := p.Final(); m.Code+other.Code != 200+486 {
			t.Fatalf("%s: got %s and %s", why, m.Start, other.Start)
		}
		p.Closed()
		return
	}
	if m.Code != code {
		t.Fatalf("%s: got %s", why, m.Start)
	}
	checkMatchable(t, stacktest.Parse(string(raw)), m)
	if code == 420 && m.Header("Unsupported") != "nothingSupportsThis, nothingSupportsThisEither, noProxiesSupportThis, norDoAnyProxiesSupportThis" {
		t.Errorf("Unsupported: %q", m.Header("Unsupported"))
	}
}

// checkMatchable: a client finds its transaction by the Vias and the CSeq.
func checkMatchable(t *testing.T, req, res stacktest.Message) {
	t.Helper()
	vias := 0
	for _, l := range req.Lines {
		n, _, _ := strings.Cut(l, ":")
		if n = strings.ToLower(strings.TrimSpace(n)); n == "via" || n == "v" {
			vias++
		}
	}
	if len(res.Headers("Via")) < vias {
		t.Errorf("%d Vias in the answer, %d in the request", len(res.Headers("Via")), vias)
	}
	if len(res.Headers("CSeq")) != 1 {
		t.Errorf("the answer has no CSeq:\n%s", res.Raw)
	}
	if req.Header("To") != "" && res.Tag("To") == "" {
		t.Errorf("the answer has no To tag:\n%s", res.Raw)
	}
}
