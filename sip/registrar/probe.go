package registrar

import (
	"context"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// probeTime covers five retransmissions of an OPTIONS over UDP.
const probeTime = 4 * time.Second

// sweep asks the contacts that a fresh one seems to have replaced. A phone that
// restarts without +sip.instance comes back with a new Call-ID and often a new
// port, and leaves a dead contact behind that every call would ring in vain;
// two phones on one address look just the same. A living one answers OPTIONS
// (RFC 3261 §11.2) and stays. The asking waits for nobody who registers.
func (r *Registrar) sweep(added, after []location.Binding) {
	var suspects []location.Binding
	for _, fresh := range added {
		for _, b := range after {
			if suspect(fresh, b) {
				suspects = append(suspects, b)
			}
		}
	}
	if suspects == nil {
		return
	}
	r.opts.Stack.Later(func(ctx context.Context) {
		for _, b := range suspects {
			if !r.answers(ctx, b) && ctx.Err() == nil {
				r.drop(b)
			}
		}
	})
}

// suspect: the same user agent at the same address, with another Call-ID and
// another contact.
func suspect(fresh, b location.Binding) bool {
	return b.CallID != fresh.CallID && b.Contact != fresh.Contact && b.Instance == "" && fresh.Instance == "" &&
		b.UserAgent != "" && strings.EqualFold(b.UserAgent, fresh.UserAgent) &&
		b.Flow.Remote.Addr() == fresh.Flow.Remote.Addr()
}

func (r *Registrar) answers(ctx context.Context, b location.Binding) bool {
	req, err := r.options(b)
	if err != nil {
		return true // nothing learnt
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	flow := b.Flow
	if remote, ok := b.DialBack(); ok && !r.opts.Stack.Alive(flow) {
		if flow, err = r.opts.Stack.Dial(ctx, flow.Transport, remote); err != nil {
			return false
		}
	}
	tx, err := r.opts.Stack.Request(ctx, req, flow)
	if err != nil {
		return false
	}
	defer tx.Terminate()
	_, heard := <-tx.Responses() // whatever it says, it is there
	return heard
}

func (r *Registrar) options(b location.Binding) (*sip.Request, error) {
	uri, err := b.RequestURI()
	if err != nil {
		return nil, err //nolint:wrapcheck // names contact and AOR
	}
	req := sip.NewRequest(sip.OPTIONS, uri)
	for _, p := range b.Routes() {
		var next sip.Uri
		if sip.ParseUri(p, &next) == nil {
			req.AppendHeader(&sip.RouteHeader{Address: next})
		}
	}
	req.AppendHeader(&sip.FromHeader{
		Address: sip.Uri{Scheme: "sip", Host: r.opts.Domain},
		Params:  sip.HeaderParams{{K: "tag", V: stack.NewTag()}},
	})
	req.AppendHeader(&sip.ToHeader{Address: *uri.Clone()})
	id := sip.CallIDHeader(stack.NewTag() + "@" + r.opts.Domain)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.OPTIONS})
	req.AppendHeader(&sip.ContactHeader{Address: r.opts.Stack.ContactURI(b.Flow, "")})
	req.AppendHeader(sip.NewHeader("Accept", "application/sdp"))
	return req, nil
}

// drop removes the binding unless it was refreshed in the meantime.
func (r *Registrar) drop(b location.Binding) {
	_, err := r.opts.Location.Update(b.AOR, func(now []location.Binding) ([]location.Binding, error) {
		var kept []location.Binding
		for _, x := range now {
			if x.Contact != b.Contact || x.CSeq != b.CSeq || x.CallID != b.CallID {
				kept = append(kept, x)
			}
		}
		return kept, nil
	})
	if err != nil {
		r.log.Error("dead binding not dropped", observe.AOR, b.AOR, observe.Err, err)
		return
	}
	r.log.Info("binding of a restarted phone dropped", observe.AOR, b.AOR, observe.Contact, b.Contact)
}
