package phone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emiago/sipgo/sip"
)

// cancelPatience is how long an INVITE may still be answered after our CANCEL (RFC 3261 §9.1: 64*T1).
const cancelPatience = 32 * time.Second

// ErrCancelled says that the caller gave up before an answer.
var ErrCancelled = errors.New("cancelled by the caller")

// Call dials a number and returns once it is answered (the dialog is acknowledged and sound flows), refused
// (*Refusal), or ctx has ended: then the attempt is cancelled and the error is ErrCancelled.
func (p *Phone) Call(ctx context.Context, number string, sound Sound) (*Call, error) {
	return p.dial(ctx, number, sound)
}

// dial is Call with more headers in the INVITE.
func (p *Phone) dial(ctx context.Context, number string, sound Sound, extra ...sip.Header) (*Call, error) {
	call, err := p.newCall(newToken(12)+"@"+p.cfg.Bind.String(), number, true, sound)
	if err != nil {
		return nil, err
	}
	call.extra = extra
	p.remember(call)
	res, invite, err := p.invite(ctx, call)
	if err != nil {
		call.finish(ByUs)
		return nil, err
	}
	call.Answered = time.Now()
	call.establish(invite, res)
	if err := call.adopt(res.Body()); err != nil {
		return nil, errors.Join(err, call.Hangup(context.WithoutCancel(ctx)))
	}
	return call, nil
}

// invite sends INVITEs until one has a final answer other than a challenge.
func (p *Phone) invite(ctx context.Context, call *Call) (*sip.Response, *sip.Request, error) {
	req := p.inviteRequest(call)
	call.Dialled = time.Now()
	fresh := false
	for range maxRounds {
		call.Requests++
		res, err := p.inviteOnce(ctx, call, req)
		if err != nil {
			return nil, nil, err
		}
		if res.IsSuccess() {
			return res, req, nil
		}
		if !isChallenge(res) || (fresh && !stale(res)) {
			return nil, nil, refusal(res)
		}
		chal, proxy, err := challengeOf(res)
		if err != nil {
			return nil, nil, err
		}
		req = p.again(req)
		if err := p.authorize(req, chal, proxy, 1); err != nil {
			return nil, nil, err
		}
		fresh = true
	}
	return nil, nil, errNoChallenge
}

// inviteOnce runs one INVITE transaction to its final answer, cancelling it when ctx ends.
func (p *Phone) inviteOnce(ctx context.Context, call *Call, req *sip.Request) (*sip.Response, error) {
	tx, err := p.tx.Request(context.WithoutCancel(ctx), req)
	if err != nil {
		return nil, fmt.Errorf("INVITE: %w", err)
	}
	provisional, cancelled := false, false
	giveUp := ctx.Done()
	var limit <-chan time.Time
	for {
		select {
		case res := <-tx.Responses():
			if res.IsProvisional() {
				provisional = true
				if res.StatusCode > 100 && call.Alerted.IsZero() {
					call.Alerted = time.Now()
					call.alerted(res)
				}
				if giveUp == nil && !cancelled { // the wish to cancel came before the first answer (§9.1)
					cancelled = true
					p.cancel(ctx, req)
				}
				continue
			}
			if res.IsSuccess() {
				tx.Terminate() // a repeated 2xx comes back as a stray answer and is acknowledged there
			}
			if giveUp == nil {
				return nil, p.lostRace(ctx, call, req, res)
			}
			return res, nil
		case <-giveUp:
			giveUp = nil
			timer := time.NewTimer(cancelPatience)
			defer timer.Stop()
			limit = timer.C
			if provisional {
				cancelled = true
				p.cancel(ctx, req)
			}
		case <-limit:
			tx.Terminate()
			return nil, ErrCancelled
		case <-tx.Done():
			return nil, fmt.Errorf("INVITE: %w", tx.Err())
		}
	}
}

// lostRace handles a final answer after CANCEL: an answered call is taken and ended at once (RFC 3261 §9.1).
func (p *Phone) lostRace(ctx context.Context, call *Call, req *sip.Request, res *sip.Response) error {
	if res.IsSuccess() {
		call.establish(req, res)
		return errors.Join(ErrCancelled, call.Hangup(context.WithoutCancel(ctx)))
	}
	if res.StatusCode == sip.StatusRequestTerminated || isChallenge(res) {
		return ErrCancelled
	}
	return errors.Join(ErrCancelled, refusal(res))
}

// cancel sends the CANCEL of an INVITE (RFC 3261 §9.1): same branch, same CSeq number.
func (p *Phone) cancel(ctx context.Context, invite *sip.Request) {
	req := sip.NewRequest(sip.CANCEL, *invite.Recipient.Clone())
	req.AppendHeader(invite.Via().Clone())
	sip.CopyHeaders("Route", invite, req)
	sip.CopyHeaders("From", invite, req)
	sip.CopyHeaders("To", invite, req)
	sip.CopyHeaders("Call-ID", invite, req)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: invite.CSeq().SeqNo, MethodName: sip.CANCEL})
	hops := sip.MaxForwardsHeader(70)
	req.AppendHeader(&hops)
	req.SetBody(nil)
	p.route(req)
	p.group.Go(func() {
		ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
		defer stop()
		if _, err := p.roundTrip(ctx, req); err != nil {
			p.cfg.Log.Debug("cancelling", "error", err)
		}
	})
}

func (p *Phone) inviteRequest(call *Call) *sip.Request {
	target := sip.Uri{Scheme: "sip", User: call.peer, Host: p.cfg.Domain}
	req := p.newRequest(sip.INVITE, target)
	call.mu.Lock()
	call.local = sip.FromHeader{DisplayName: p.cfg.DisplayName, Address: sip.Uri{Scheme: "sip", User: p.cfg.Extension, Host: p.cfg.Domain}}
	call.local.Params.Add("tag", newToken(6))
	call.remote = sip.ToHeader{Address: target}
	call.identify(req, call.seq, sip.INVITE)
	call.mu.Unlock()
	contact := p.contact()
	req.AppendHeader(&contact)
	req.AppendHeader(sip.NewHeader("Allow", allow))
	for _, h := range call.extra {
		req.AppendHeader(sip.HeaderClone(h))
	}
	req.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	req.SetBody(call.session.marshal())
	return req
}

// alerted takes the early dialog that a provisional response opens.
func (c *Call) alerted(res *sip.Response) {
	to := res.To()
	if to == nil || !to.Params.Has("tag") {
		return
	}
	c.mu.Lock()
	c.remote = sip.ToHeader{DisplayName: to.DisplayName, Address: *to.Address.Clone(), Params: to.Params.Clone()}
	c.mu.Unlock()
	if c.phone.cfg.OnAlert != nil {
		c.phone.cfg.OnAlert(c)
	}
}

// establish takes the dialog state from the 2xx and acknowledges it.
func (c *Call) establish(invite *sip.Request, res *sip.Response) {
	c.mu.Lock()
	if c.state == setUp { // a BYE may have overtaken the 200
		c.state = established
	}
	c.seq = invite.CSeq().SeqNo + 1
	if to := res.To(); to != nil {
		c.remote = sip.ToHeader{DisplayName: to.DisplayName, Address: *to.Address.Clone(), Params: to.Params.Clone()}
	}
	c.routes = routeSet(res.GetHeaders("Record-Route"), true)
	c.mu.Unlock()
	c.learnPeer(res)
	c.acknowledge(invite, res)
}

// strayResponse answers a repeated 2xx, whose transaction is over, with the same ACK again.
func (p *Phone) strayResponse(res *sip.Response) {
	if res.CSeq() == nil || res.CSeq().MethodName != sip.INVITE || !res.IsSuccess() || res.CallID() == nil {
		return
	}
	if call := p.dialog(res.CallID().Value()); call != nil {
		call.sendACK()
	}
}
