package stack

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"
)

// Request is a request that passed validation: the mandatory headers exist,
// compact and oddly spelled header names are canonical, the top Via carries
// received (and rport when asked for). The handler owns it.
type Request struct {
	*sip.Request
	Tx   *ServerTx // never nil; for an ACK it cannot respond
	Flow Flow

	reading *Reading
}

// Reading is the goroutine's that reads the socket, for a handler that runs on it, else nil.
func (r *Request) Reading() *Reading { return r.reading }

// Leave has another goroutine read on; a handler that runs at once (HandleAtOnce) calls it before it waits.
func (r *Request) Leave() { r.reading.Leave() }

// InDialog reports whether the request belongs to a dialog (it has a To tag).
func (r *Request) InDialog() bool { return r.To().Params.Has("tag") }

// Trust tells the stack that the sender was authenticated: its connection may
// be silent for longer (Limits.IdleTrusted).
func (r *Request) Trust() {
	if r.Tx != nil && r.Tx.out != nil && r.Tx.out.conn != nil {
		r.Tx.out.conn.trusted.Store(true)
	}
}

// NewResponse builds a response with our To tag, which is the same for all
// responses of a request (RFC 3261 §8.2.6.2), all Vias, Record-Route where
// §12.1.1 wants it, and the Server header. It is the caller's to complete.
func (s *Stack) NewResponse(req *Request, code int, reason string) *sip.Response {
	return s.newResponse(req.Request, req.Tx.tag, code, reason)
}

func (s *Stack) newResponse(req *sip.Request, tag string, code int, reason string) *sip.Response {
	res := sip.NewResponse(code, reason)
	if copiesRecordRoute(req.Method, code) {
		sip.CopyHeaders("Record-Route", req, res)
	}
	sip.CopyHeaders("Via", req, res)
	if h := req.From(); h != nil {
		res.AppendHeader(sip.HeaderClone(h))
	}
	if h := req.To(); h != nil {
		to := sip.HeaderClone(h).(*sip.ToHeader) //nolint:errcheck,forcetypeassert // a clone has its original's type
		if code != sip.StatusTrying && !to.Params.Has("tag") {
			to.Params.Add("tag", tag)
		}
		res.AppendHeader(to)
	}
	if h := req.CallID(); h != nil {
		res.AppendHeader(sip.HeaderClone(h))
	}
	if h := req.CSeq(); h != nil {
		res.AppendHeader(sip.HeaderClone(h))
	}
	if code == sip.StatusTrying {
		sip.CopyHeaders("Timestamp", req, res)
	}
	res.AppendHeader(sip.NewHeader("Server", s.opts.Server))
	res.SetBody(nil)
	res.SetTransport(req.Transport())
	return res
}

// copiesRecordRoute follows RFC 3261 §12.1.1 and table 3 of §20.
func copiesRecordRoute(m sip.RequestMethod, code int) bool {
	if m == sip.REGISTER || m == sip.ACK {
		return false
	}
	return code > 100 && code < 300
}

// ContactURI is our Contact as the peer at the end of that flow can reach it.
func (s *Stack) ContactURI(flow Flow, user string) sip.Uri {
	local := s.localOf(flow)
	uri := sip.Uri{Scheme: "sip", User: user, Host: hostText(local.Addr()), Port: int(local.Port())}
	switch {
	case flow.Web():
		uri.UriParams = sip.HeaderParams{{K: "transport", V: "ws"}} // also over TLS: RFC 7118 §5.2.4
	case flow.Transport != UDP:
		uri.UriParams = sip.HeaderParams{{K: "transport", V: strings.ToLower(flow.Transport)}}
	}
	return uri
}

// localOf is our address for Via and Contact on a flow: the advertised one, or
// the one the peer talks to, with the port of the listener.
func (s *Stack) localOf(flow Flow) netip.AddrPort {
	addr, port := flow.Local.Addr(), flow.Local.Port()
	if s.opts.Advertise.IsValid() {
		addr = s.opts.Advertise
	}
	if !addr.IsValid() || addr.IsUnspecified() {
		addr = sourceTowards(s.ctx, flow.Remote)
	}
	return netip.AddrPortFrom(addr.Unmap(), port)
}

func hostText(a netip.Addr) string {
	a = a.Unmap()
	if a.Is6() {
		return "[" + a.WithZone("").String() + "]"
	}
	return a.String()
}

// GetHeader returns the first header of that name, or nil.
func (r *Request) GetHeader(name string) sip.Header { return headerNamed(r.Request, name) }

// GetHeaders returns all headers of that name, in order. They are the request's own.
func (r *Request) GetHeaders(name string) []sip.Header { return headersNamed(r.Request, name) }

// headerNamed and headersNamed find by the canonical name, which every header has once it is normalised: the library
// folds the case of each header's name at each look, with an allocation for most. Other names are left to it.
func headerNamed(m sip.Message, name string) sip.Header {
	list, ok := headerList(m, name)
	if !ok {
		list = m.GetHeaders(name)
		if len(list) == 0 {
			return nil
		}
		return list[0]
	}
	for _, h := range list {
		if h.Name() == name {
			return h
		}
	}
	return nil
}

func headersNamed(m sip.Message, name string) []sip.Header {
	list, ok := headerList(m, name)
	if !ok {
		return m.GetHeaders(name)
	}
	var out []sip.Header
	for _, h := range list {
		if h.Name() == name {
			out = append(out, h)
		}
	}
	return out
}

func headerList(m sip.Message, name string) ([]sip.Header, bool) {
	if !isCanonical[name] {
		return nil, false
	}
	switch m := m.(type) {
	case *sip.Request:
		return m.Headers(), true
	case *sip.Response:
		return m.Headers(), true
	}
	return nil, false
}

// Tokens returns the comma separated tokens of all headers of that name, as
// Supported, Require and Allow have them.
func Tokens(msg sip.Message, name string) []string {
	var out []string
	for _, h := range headersNamed(unwrap(msg), name) {
		for part := range strings.SplitSeq(h.Value(), ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// unwrap returns the message inside of a Request.
func unwrap(msg sip.Message) sip.Message {
	if r, ok := msg.(*Request); ok {
		return r.Request
	}
	return msg
}

// HasToken reports whether Tokens contains the token, in any case.
func HasToken(msg sip.Message, name, token string) bool {
	for _, h := range headersNamed(unwrap(msg), name) {
		for part := range strings.SplitSeq(h.Value(), ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// Allow is the value of our Allow header: the methods with a handler, and CANCEL.
func (s *Stack) Allow() string {
	var out []string
	for _, m := range knownMethods {
		if m == sip.CANCEL || s.handlers[m] != nil {
			out = append(out, string(m))
		}
	}
	return strings.Join(out, ", ")
}

// SupportedTags is the value of our Supported header.
func (s *Stack) SupportedTags() string {
	out := make([]string, 0, len(s.supported))
	for t := range s.supported {
		out = append(out, t)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// refuse builds the response of a refusal.
func (s *Stack) refuse(req *sip.Request, tag string, r *refusal) *sip.Response {
	res := s.newResponse(req, tag, r.code, r.reason)
	for _, h := range r.headers {
		res.AppendHeader(sip.NewHeader(h[0], h[1]))
	}
	if r.code == sip.StatusServiceUnavailable {
		res.AppendHeader(sip.NewHeader("Retry-After", strconv.Itoa(retryAfterSeconds)))
	}
	return res
}
