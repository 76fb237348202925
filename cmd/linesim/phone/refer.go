package phone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/emiago/sipgo/sip"
)

var errNoFragment = errors.New("NOTIFY of a REFER without sipfrag")

// Referral is how a transfer went, as its NOTIFYs told (RFC 3515 §2.4.5).
type Referral struct {
	Codes  []int    // status of each NOTIFY in order; the last one is final
	Faults []string // what a phone would have stumbled over
}

// Final is the last status, 0 without any.
func (r Referral) Final() int {
	if len(r.Codes) == 0 {
		return 0
	}
	return r.Codes[len(r.Codes)-1]
}

// referral is the subscription that a REFER opens. It may outlive the call (RFC 3515 §2.4.7).
type referral struct {
	since uint32        // CSeq of the REFER, or of its first attempt without credentials
	done  chan struct{} // closed by the NOTIFY that ends it

	mu   sync.Mutex // guards what follows
	cseq uint32     // of the last NOTIFY
	over bool
	told Referral
}

// Transfer asks the server to connect the peer with a number (RFC 5589 §6), and returns once the last NOTIFY has told
// the outcome. That a transfer failed is no error; a refused REFER is, a *Refusal.
func (c *Call) Transfer(ctx context.Context, number string) (Referral, error) {
	return c.refer(ctx, "<"+c.phone.numberURI(number)+">")
}

// TransferTo asks the server to connect the peer of this call with that of another one of the same phone (RFC 5589 §7).
func (c *Call) TransferTo(ctx context.Context, other *Call) (Referral, error) {
	return c.refer(ctx, "<"+c.phone.numberURI(other.peer)+"?Replaces="+escape(other.Dialog().replaces(), hvalueMarks)+">")
}

func (c *Call) refer(ctx context.Context, to string) (Referral, error) {
	c.mu.Lock()
	r := &referral{since: c.seq, done: make(chan struct{})}
	established := c.state == established
	c.mu.Unlock()
	if !established {
		return Referral{}, errEnded
	}
	c.phone.expect(c.id, r)
	defer c.phone.expect(c.id, nil)
	contact := c.phone.contact()
	res, err := c.request(ctx, sip.REFER, nil, &contact, sip.NewHeader("Refer-To", to),
		sip.NewHeader("Referred-By", "<"+c.phone.numberURI(c.phone.cfg.Extension)+">"))
	switch {
	case err != nil:
		return Referral{}, err
	case !res.IsSuccess():
		return Referral{}, fmt.Errorf("REFER: %w", refusal(res))
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		err = fmt.Errorf("no final NOTIFY: %w", context.Cause(ctx))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.told, err
}

// expect notes, or forgets, the REFER whose NOTIFYs come in a dialog.
func (p *Phone) expect(callID string, r *referral) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r == nil {
		delete(p.referrals, callID)
		return
	}
	if p.referrals == nil {
		p.referrals = map[string]*referral{}
	}
	p.referrals[callID] = r
}

// referred takes the NOTIFY of a REFER and returns the status to answer it with.
func (p *Phone) referred(req *sip.Request, event string) (int, string) {
	p.mu.Lock()
	r := p.referrals[req.CallID().Value()]
	p.mu.Unlock()
	if r == nil || !r.means(event) || !r.take(req) {
		return sip.StatusCallTransactionDoesNotExists, "Subscription Does Not Exist"
	}
	return sip.StatusOK, "OK"
}

// means reports whether an Event value is that of this REFER and not of an earlier one in the dialog (RFC 3515 §2.4.6).
func (r *referral) means(event string) bool {
	for param := range strings.SplitSeq(event, ";") {
		if id, found := strings.CutPrefix(strings.TrimSpace(param), "id="); found {
			n, err := strconv.ParseUint(id, 10, 32)
			return err == nil && uint32(n) >= r.since
		}
	}
	return true
}

func (r *referral) take(req *sip.Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return false
	}
	fault := func(format string, args ...any) {
		r.told.Faults = append(r.told.Faults, fmt.Sprintf(format, args...))
	}
	if seq := req.CSeq().SeqNo; seq <= r.cseq {
		fault("CSeq %d after %d", seq, r.cseq)
	} else {
		r.cseq = seq
	}
	code, err := fragmentCode(req)
	if err != nil {
		fault("%v", err)
	} else {
		r.told.Codes = append(r.told.Codes, code)
	}
	state := ""
	if h := req.GetHeader("Subscription-State"); h != nil {
		state, _, _ = strings.Cut(h.Value(), ";")
	}
	switch {
	case state != "active" && state != "pending" && state != "terminated":
		fault("Subscription-State %q", state)
	case code >= 200 && state != "terminated":
		fault("%s after %d", state, code)
	}
	if state == "terminated" {
		r.over = true
		close(r.done)
	}
	return true
}

// fragmentCode reads the status line of a message/sipfrag body (RFC 3420).
func fragmentCode(req *sip.Request) (int, error) {
	if h := req.ContentType(); h == nil || !strings.HasPrefix(strings.ToLower(h.Value()), "message/sipfrag") {
		return 0, errNoFragment
	}
	line, _, _ := bytes.Cut(req.Body(), []byte("\r\n"))
	fields := strings.SplitN(string(line), " ", 3)
	if len(fields) < 2 || fields[0] != "SIP/2.0" {
		return 0, fmt.Errorf("sipfrag %q", line)
	}
	code, err := strconv.Atoi(fields[1])
	if err != nil || code < 100 || code > 699 {
		return 0, fmt.Errorf("sipfrag %q", line)
	}
	return code, nil
}

// Marks that may stand unescaped besides letters, digits and the marks of "unreserved" (RFC 3261 §25.1).
const (
	userMarks   = "&=+$,;?/"
	hvalueMarks = "[]/?:+$"
)

// numberURI is the address of a number at our server.
func (p *Phone) numberURI(number string) string {
	return "sip:" + escape(number, userMarks) + "@" + p.cfg.Domain
}

// escape writes text for a part of a SIP URI.
func escape(text, marks string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9',
			strings.IndexByte("-_.!~*'()", c) >= 0, strings.IndexByte(marks, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}
