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

// torture says what each message of RFC 4475 is answered with; 0 is silence.
// The handlers behind the stack answer REGISTER, OPTIONS and MESSAGE with 200
// and INVITE with 486, so those codes mean "understood and handed on".
var torture = map[string]struct {
	code int
	why  string
}{
	// 3.1.1 valid messages
	"wsinv":      {486, "3.1.1.1 odd white space, folding and compact names"},
	"intmeth":    {501, "3.1.1.2 an unknown method with every token character"},
	"esc01":      {486, "3.1.1.3 escaped characters in URIs"},
	"escnull":    {200, "3.1.1.4 escaped NULs"},
	"esc02":      {501, "3.1.1.5 RE%47IST%45R is not REGISTER"},
	"lwsdisp":    {200, "3.1.1.6 no white space between display name and <"},
	"longreq":    {486, "3.1.1.7 long values"},
	"dblreq":     {200, "3.1.1.8 what follows a complete datagram is ignored"},
	"semiuri":    {200, "3.1.1.9 semicolon in the user part"},
	"transports": {200, "3.1.1.10 unknown transports in lower Vias"},
	"mpart01":    {200, "3.1.1.11 multipart MESSAGE"},
	"unreason":   {0, "3.1.1.12 a response, of nobody"},
	"noreason":   {0, "3.1.1.13 a response, of nobody"},

	// 3.1.2 invalid messages
	"badinv01": {400, "3.1.2.1 extra commas and semicolons in Via"},
	"clerr":    {400, "3.1.2.2 Content-Length beyond the datagram"},
	"ncl":      {400, "3.1.2.3 negative Content-Length"},
	"scalar02": {400, "3.1.2.4 numbers out of range"},
	"scalarlg": {0, "3.1.2.5 a response with numbers out of range"},
	"quotbal":  {400, "3.1.2.6 unterminated quote"},
	"ltgtruri": {400, "3.1.2.7 Request-URI in brackets"},
	"lwsruri":  {400, "3.1.2.8 white space in the Request-URI"},
	"lwsstart": {400, "3.1.2.9 too much white space in the start line"},
	"trws":     {400, "3.1.2.10 white space at the end of the start line"},
	"escruri":  {400, "3.1.2.11 headers in the Request-URI"},
	"baddate":  {486, "3.1.2.12 a Date that we do not read"},
	"regbadct": {200, "3.1.2.13 the registrar refuses it, see its test"},
	"badaspec": {200, "3.1.2.14 spaces inside the brackets of To, tolerated"},
	"baddn":    {400, "3.1.2.15 comma in an unquoted display name"},
	"badvers":  {505, "3.1.2.16 SIP/7.0"},

	"mismatch01": {400, "3.1.2.17 CSeq names another method"},
	"mismatch02": {400, "3.1.2.18 CSeq names another method than an unknown one"},
	"bigcode":    {0, "3.1.2.19 a response code out of range"},

	// 3.2 transaction layer
	"badbranch": {200, "3.2.1 a branch that is only the cookie falls back to RFC 2543 matching"},

	// 3.3 application layer
	"insuf":    {400, "3.3.1 no Call-ID, From nor To"},
	"unkscm":   {416, "3.3.2 unknown scheme"},
	"novelsc":  {416, "3.3.3 known scheme that is not SIP's"},
	"unksm2":   {200, "3.3.4 other schemes in From and To; the registrar refuses it, see its test"},
	"bext01":   {420, "3.3.5 Require and Proxy-Require of the unknown"},
	"invut":    {415, "3.3.6 unknown Content-Type"},
	"regaut01": {200, "3.3.7 unknown authorization scheme; challenged by the registrar, see its test"},
	"multi01":  {400, "3.3.8 two values of single headers"},
	"mcl01":    {400, "3.3.9 two Content-Lengths"},
	"bcast":    {0, "3.3.10 a response with somebody else's Via"},
	"zeromf":   {483, "3.3.11 Max-Forwards 0"},
	"cparam01": {200, "3.3.12 unknown Contact parameter"},
	"cparam02": {200, "3.3.13 unknown URI parameter in a Contact"},
	"regescrt": {200, "3.3.14 escaped headers in a Contact URI"},
	"sdp01":    {406, "3.3.15 the sender cannot read SDP"},

	// 3.4 backward compatibility
	"inv2543": {486, "3.4.1 INVITE of RFC 2543: no branch, no tag, no Max-Forwards"},
	"test":    {0, "not of the RFC: a torture message of 1999 without Via; nobody to answer"},
}

func TestRFC4475(t *testing.T) {
	files, err := filepath.Glob("testdata/rfc4475/*.dat")
	if err != nil || len(files) != len(torture) {
		t.Fatalf("%d files, %d expectations: %v", len(files), len(torture), err)
	}
	e := start(t, stack.Options{}, func(s *stack.Stack) {
		for method, code := range map[sip.RequestMethod]int{sip.REGISTER: 200, sip.OPTIONS: 200, sip.MESSAGE: 200, sip.INVITE: 486} {
			s.Handle(method, func(_ context.Context, req *stack.Request) {
				_ = req.Tx.Respond(s.NewResponse(req, code, "Answered"))
			})
		}
	})
	for i, file := range files {
		// Many of them share a branch: each comes from an address of its own.
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 44, 75, byte(i + 1)}), 0)
		name := strings.TrimSuffix(filepath.Base(file), ".dat")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := torture[name]
			p := stacktest.DialUDPFrom(t, from, e.addr(stack.UDP))
			p.Write(string(raw))
			if want.code == 0 {
				p.Silent(300 * time.Millisecond)
				return
			}
			m := p.Final()
			if m.Code != want.code {
				t.Fatalf("%s: got %s", want.why, m.Start)
			}
			checkMatchable(t, stacktest.Parse(string(raw)), m)
			if want.code == 420 && m.Header("Unsupported") != "nothingSupportsThis, nothingSupportsThisEither, noProxiesSupportThis, norDoAnyProxiesSupportThis" {
				t.Errorf("Unsupported: %q", m.Header("Unsupported"))
			}
		})
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
