package phone

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/emiago/sipgo/sip"

	"linehall/cmd/linesim/voice"
)

// branchCookie marks a transaction identifier of RFC 3261 (§8.1.1.7).
const branchCookie = "z9hG4bK"

// newKey is a master key with its salt (RFC 4568 §6.1).
func newKey() string {
	b := make([]byte, voice.KeyLength)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return string(b)
}

// newToken returns n random bytes in hex: tags, branches, call identifiers.
func newToken(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return hex.EncodeToString(b)
}

// newRequest builds what every request of this phone carries. Callers add To, From, Call-ID and CSeq of their own.
func (p *Phone) newRequest(method sip.RequestMethod, target sip.Uri) *sip.Request {
	req := sip.NewRequest(method, target)
	p.addVia(req)
	hops := sip.MaxForwardsHeader(70)
	req.AppendHeader(&hops)
	req.AppendHeader(sip.NewHeader("User-Agent", p.cfg.UserAgent))
	p.route(req)
	return req
}

// route fixes transport, next hop and own address. The server is every request's next hop, as for a phone behind an
// outbound proxy. For streams the local port stays open, so that sipgo reuses the one connection (with a port it
// would look for a listener).
func (p *Phone) route(req *sip.Request) {
	req.SetTransport(p.network())
	req.SetDestination(p.cfg.Server.String())
	req.Laddr = sip.Addr{IP: net.IP(p.cfg.Bind.AsSlice())}
	if p.cfg.Transport == UDP {
		req.Laddr.Port = int(p.local.Port())
	}
}

// addVia puts a new transaction's Via on top. For streams sipgo fills in the connection's address.
func (p *Phone) addVia(req *sip.Request) {
	via := &sip.ViaHeader{ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: p.network()}
	if p.cfg.Transport == UDP {
		via.Host, via.Port = p.local.Addr().String(), int(p.local.Port())
	}
	via.Params.Add("branch", branchCookie+newToken(8))
	via.Params.Add("rport", "")
	req.PrependHeader(via)
}

// connect makes sure that the stream connection exists and notes our end of it: the Contact needs its port.
func (p *Phone) connect(ctx context.Context) error {
	if p.cfg.Transport == UDP {
		return nil
	}
	probe := p.newRequest(sip.OPTIONS, sip.Uri{Scheme: "sip", Host: p.cfg.Domain})
	conn, err := p.tp.ClientRequestConnection(ctx, probe)
	if err != nil {
		return fmt.Errorf("connecting to %s: %w", p.cfg.Server, err)
	}
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if _, closeErr := conn.TryClose(); closeErr != nil && err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("connection to %s: %w", p.cfg.Server, err)
	}
	p.mu.Lock()
	p.local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	p.mu.Unlock()
	return nil
}

// flowAlive reports whether the stream connection still stands; UDP has none to lose.
func (p *Phone) flowAlive() bool {
	if p.cfg.Transport == UDP {
		return true
	}
	conn, err := p.tp.GetConnection(string(p.cfg.Transport), p.cfg.Server.String())
	if err != nil || conn == nil {
		return false
	}
	_, _ = conn.TryClose() // give back the reference the look-up took
	return true
}

// roundTrip sends a non-INVITE request and returns its final answer.
func (p *Phone) roundTrip(ctx context.Context, req *sip.Request) (*sip.Response, error) {
	tx, err := p.tx.Request(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", req.Method, err)
	}
	defer tx.Terminate()
	for {
		select {
		case res := <-tx.Responses():
			if !res.IsProvisional() {
				return res, nil
			}
		case <-tx.Done():
			return nil, fmt.Errorf("%s: %w", req.Method, tx.Err())
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", req.Method, context.Cause(ctx))
		}
	}
}

// refusal turns a final answer other than 2xx into an error.
func refusal(res *sip.Response) error {
	r := &Refusal{Code: res.StatusCode, Reason: res.Reason}
	if h := res.GetHeader("Warning"); h != nil {
		r.Warning = h.Value()
	}
	return r
}

// asRefusal takes a Refusal out of an error.
func asRefusal(err error) (*Refusal, bool) {
	var r *Refusal
	ok := errors.As(err, &r)
	return r, ok
}
