package phone

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/emiago/sipgo/sip"
)

const (
	registerPatience = 8 * time.Second  // a phone gives up on one attempt long before Timer F (32 s)
	retryFirst       = 2 * time.Second  // then doubled (RFC 5626 §4.5 in spirit)
	retryMost        = 30 * time.Second //
	flowCheck        = time.Second      // how often a stream phone looks whether its connection stands
	maxRounds        = 3                // requests per registration or call attempt, challenges included
)

// Register sends one registration (two requests when challenged) and returns what was granted. Run does this by
// itself; benches and one-shot phones call it directly.
func (p *Phone) Register(ctx context.Context) (time.Duration, error) {
	started := time.Now()
	granted, err := p.register(ctx, p.cfg.Expires)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Err = err
	p.status.Took = time.Since(started)
	if err != nil {
		p.status.Failures++
		p.status.Registered = time.Now().Before(p.status.Until)
		return 0, err
	}
	if p.status.Refreshes == 0 {
		close(p.registered)
	}
	p.status.Refreshes++
	p.status.Registered = true
	p.status.Until = time.Now().Add(granted)
	return granted, nil
}

// keepRegistered refreshes at half of the granted time, retries with growing pauses, and registers anew at once when
// the stream connection is lost.
func (p *Phone) keepRegistered(ctx context.Context) {
	pause := retryFirst
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, registerPatience)
		granted, err := p.Register(attempt)
		cancel()
		wait := granted / 2
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			p.cfg.Log.Warn("registration failed", "error", err)
			wait = time.Duration(float64(pause) * (0.75 + rand.Float64()/2))
			pause = min(2*pause, retryMost)
		} else {
			pause = retryFirst
		}
		p.waitForRefresh(ctx, wait, err == nil)
	}
}

func (p *Phone) waitForRefresh(ctx context.Context, wait time.Duration, watchFlow bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var check <-chan time.Time
	if watchFlow && p.cfg.Transport != UDP {
		ticker := time.NewTicker(flowCheck)
		defer ticker.Stop()
		check = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-check:
			if !p.flowAlive() {
				return
			}
		}
	}
}

func (p *Phone) register(ctx context.Context, expires time.Duration) (time.Duration, error) {
	if err := p.connect(ctx); err != nil {
		return 0, err
	}
	req := p.registerRequest(expires)
	p.mu.Lock()
	chal, proxy := p.challenge, p.proxy
	if chal != nil {
		p.nc++
	}
	count := p.nc
	p.mu.Unlock()
	if chal != nil { // RFC 7616 §3.6: the same nonce with a rising count saves a round trip
		if err := p.authorize(req, chal, proxy, count); err != nil {
			return 0, err
		}
	}
	fresh := false        // the request answers a challenge of this very registration
	for range maxRounds { // as it is, answer to the challenge, answer to a stale nonce
		res, err := p.roundTrip(ctx, req)
		if err != nil {
			return 0, err
		}
		p.advance(req)
		if res.IsSuccess() {
			return p.granted(res, expires), nil
		}
		if !isChallenge(res) || (fresh && !stale(res)) {
			p.forgetChallenge()
			return 0, refusal(res)
		}
		req = p.again(req)
		if err := p.accept(req, res); err != nil {
			return 0, err
		}
		fresh = true
	}
	return 0, errNoChallenge
}

// accept takes a new challenge and puts its answer on the request.
func (p *Phone) accept(req *sip.Request, res *sip.Response) error {
	chal, proxy, err := challengeOf(res)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.challenge, p.proxy, p.nc = chal, proxy, 1
	p.mu.Unlock()
	return p.authorize(req, chal, proxy, 1)
}

func (p *Phone) forgetChallenge() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.challenge, p.nc = nil, 0
}

func (p *Phone) advance(req *sip.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cseq = req.CSeq().SeqNo + 1
}

func (p *Phone) registerRequest(expires time.Duration) *sip.Request {
	req := p.newRequest(sip.REGISTER, sip.Uri{Scheme: "sip", Host: p.cfg.Domain})
	aor := sip.Uri{Scheme: "sip", User: p.cfg.Extension, Host: p.cfg.Domain}
	from := &sip.FromHeader{DisplayName: p.cfg.DisplayName, Address: aor}
	from.Params.Add("tag", newToken(6))
	req.AppendHeader(from)
	req.AppendHeader(&sip.ToHeader{Address: aor})
	id := sip.CallIDHeader(p.callID)
	req.AppendHeader(&id)
	p.mu.Lock()
	seq := p.cseq
	p.mu.Unlock()
	req.AppendHeader(&sip.CSeqHeader{SeqNo: seq, MethodName: sip.REGISTER})
	contact := p.contact()
	req.AppendHeader(&contact)
	seconds := sip.ExpiresHeader(uint32(expires / time.Second))
	req.AppendHeader(&seconds)
	req.AppendHeader(sip.NewHeader("Allow", allow))
	req.SetBody(nil)
	return req
}

// granted finds our own Contact among those in the answer and reads its lifetime (RFC 3261 §10.2.4).
func (p *Phone) granted(res *sip.Response, asked time.Duration) time.Duration {
	own := p.contact()
	for _, h := range res.GetHeaders("Contact") {
		contact, ok := h.(*sip.ContactHeader)
		if !ok || contact.Address.User != own.Address.User || contact.Address.HostPort() != own.Address.HostPort() {
			continue
		}
		if value, ok := contact.Params.Get("expires"); ok {
			if n, err := strconv.ParseUint(value, 10, 31); err == nil {
				return max(time.Duration(n)*time.Second, 0)
			}
		}
	}
	if h := res.GetHeader("Expires"); h != nil {
		if n, err := strconv.ParseUint(h.Value(), 10, 31); err == nil {
			return time.Duration(n) * time.Second
		}
	}
	return asked
}
