package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo"
	"github.com/emiago/sipgo/sip"
)

// Bare is the least that a registrar on sipgo does: it challenges what has no credentials and believes the rest. It keeps
// no bindings and checks no digest, so that its CPU is the library's own share of a registration: sockets, parser,
// transactions, responses.
func Bare(ctx context.Context, address string) error {
	quiet := slog.New(slog.DiscardHandler)
	ua, err := sipgo.NewUA(sipgo.WithUserAgent("bare"), sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quiet)))
	if err != nil {
		return fmt.Errorf("bare: %w", err)
	}
	defer ua.Close() //nolint:errcheck // the process ends
	server, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quiet))
	if err != nil {
		return fmt.Errorf("bare: %w", err)
	}
	var nonces atomic.Uint64
	server.OnRegister(func(req *sip.Request, tx sip.ServerTransaction) {
		if req.GetHeader("Authorization") == nil {
			res := sip.NewResponseFromRequest(req, sip.StatusUnauthorized, "Unauthorized", nil)
			res.AppendHeader(sip.NewHeader("WWW-Authenticate", `Digest realm="`+benchDomain+`", nonce="n`+strconv.FormatUint(nonces.Add(1), 16)+`", algorithm=MD5, qop="auth"`))
			_ = tx.Respond(res) // the load counts what is missing
			return
		}
		res := sip.NewResponseFromRequest(req, sip.StatusOK, "OK", nil)
		if contact := req.Contact(); contact != nil {
			res.AppendHeader(sip.HeaderClone(contact))
		}
		_ = tx.Respond(res) // as above
	})
	if err := server.ListenAndServe(ctx, "udp", address); err != nil && ctx.Err() == nil {
		return fmt.Errorf("bare: %w", err)
	}
	return nil
}

// bare starts this program as a server on sipgo alone.
func (p Peers) bare(ctx context.Context) (r *running, target SIPTarget, err error) {
	dir, port, err := p.scratch("bare")
	if err != nil {
		return nil, SIPTarget{}, err
	}
	defer func() { discard(dir, err) }()
	self, err := os.Executable()
	if err != nil {
		return nil, SIPTarget{}, fmt.Errorf("bare: %w", err)
	}
	proc, err := start(dir, "", nil, self, "bare", loopback(port).String())
	if err != nil {
		return nil, SIPTarget{}, err
	}
	r = &running{process: proc, dir: dir}
	target = SIPTarget{Name: "sipgo", Address: loopback(port), Bind: netip.MustParseAddr("127.0.0.1"), process: proc, Accounts: numbers("8", p.Accounts)}
	for i := range target.Accounts {
		target.Accounts[i].Password = benchPassword
	}
	if err := proc.await(ctx, 15*time.Second, answersSIP(target)); err != nil {
		r.stop()
		return nil, SIPTarget{}, err
	}
	return r, target, nil
}
