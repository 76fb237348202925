package dialog

import (
	"slices"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// maxForwards is RFC 3261 §8.1.1.6's recommended start value.
const maxForwards = 70

// Request builds the next request in the dialog (RFC 3261 §12.2.1.1). Every method but ACK
// and CANCEL takes a new CSeq. Via and Contact are left to the sender.
func (d *Dialog) Request(method sip.RequestMethod) *sip.Request {
	if method != sip.ACK && method != sip.CANCEL {
		d.LocalSeq++
	}
	return d.request(method, d.LocalSeq)
}

// Ack builds the ACK to a 2xx of the INVITE with the given CSeq number (RFC 3261 §13.2.2.4):
// a request of its own with the dialog's route set.
func (d *Dialog) Ack(seq uint32) *sip.Request { return d.request(sip.ACK, seq) }

func (d *Dialog) request(method sip.RequestMethod, seq uint32) *sip.Request {
	line, routes := d.path()
	req := sip.NewRequest(method, line)
	for _, route := range routes {
		req.AppendHeader(&sip.RouteHeader{Address: route})
	}
	req.AppendHeader(&sip.FromHeader{DisplayName: d.Local.Display, Address: parseURI(d.Local.URI), Params: tagged(d.ID.LocalTag)})
	req.AppendHeader(&sip.ToHeader{DisplayName: d.Remote.Display, Address: parseURI(d.Remote.URI), Params: tagged(d.ID.RemoteTag)})
	callID := sip.CallIDHeader(d.ID.CallID)
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: method})
	hops := sip.MaxForwardsHeader(maxForwards)
	req.AppendHeader(&hops)
	return req
}

// path is the request line and the Route headers. A first route without ";lr" is a strict
// router (RFC 2543): it gets the request line, and the target becomes the last route.
func (d *Dialog) path() (line sip.Uri, routes []sip.Uri) {
	target := parseURI(d.Target)
	for _, raw := range d.Routes {
		routes = append(routes, parseURI(raw))
	}
	if len(routes) == 0 || routes[0].UriParams.Has("lr") {
		return target, routes
	}
	line = routes[0]
	line.UriParams = slices.DeleteFunc(line.UriParams.Clone(), func(p sip.HeaderKV) bool {
		return strings.EqualFold(p.K, "method")
	})
	return line, append(routes[1:], target)
}

// recordRoutes lists the Record-Route URIs of a message; a UAC reads them backwards (§12.1.2).
func recordRoutes(msg interface{ GetHeaders(string) []sip.Header }, backwards bool) []string {
	var routes []string
	for _, h := range msg.GetHeaders("record-route") {
		if rr, ok := h.(*sip.RecordRouteHeader); ok {
			routes = append(routes, withoutHeaders(&rr.Address))
		}
	}
	if backwards {
		slices.Reverse(routes)
	}
	return routes
}

// withoutHeaders writes a URI without its header part, which no request line may carry (RFC
// 3261 §19.1.1). It works on the text, because sipgo v1.7.2 reads "?x=y" behind a parameter
// into the parameter. A "?" may also stand in the user part.
func withoutHeaders(uri *sip.Uri) string {
	text := uri.String()
	user := strings.LastIndexByte(text, '@') + 1
	if at := strings.IndexByte(text[user:], '?'); at >= 0 {
		return text[:user+at]
	}
	return text
}

func tagged(value string) sip.HeaderParams {
	if value == "" { // RFC 2543 peers have no tag (RFC 3261 §12.2.1.1)
		return nil
	}
	return sip.HeaderParams{{K: "tag", V: value}}
}

// parseURI reads back a URI that was parsed once before.
func parseURI(raw string) sip.Uri {
	var uri sip.Uri
	if err := sip.ParseUri(raw, &uri); err != nil {
		// Only a damaged store can bring us here; the request will fail at the peer, not here.
		return sip.Uri{Scheme: "sip", Host: "invalid.invalid"}
	}
	return uri
}
