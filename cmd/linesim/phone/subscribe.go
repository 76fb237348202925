package phone

import (
	"context"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
)

// Subscription is what the phone watches (RFC 6665): a busy lamp (event dialog), or any other event whose documents
// are only kept. It is refreshed at half of its time and opened anew when the server has forgotten it, as phones do.
type Subscription struct {
	p      *Phone
	event  string
	number string

	mu      sync.Mutex // guards what follows
	callID  string
	tag     string // our From tag
	remote  *sip.ToHeader
	target  sip.Uri
	seq     uint32
	cseq    uint32 // of the last NOTIFY
	seen    bool
	version int // of the last dialog-info document
	lamp    map[string]string
	body    string
	count   int
	renewed int
	faults  []string
	done    chan struct{}
	stop    context.CancelFunc
}

// Watched is what a Subscription has seen.
type Watched struct {
	Notifies int      // NOTIFYs taken
	Renewals int      // dialogs opened because the server did not know the one before
	Faults   []string // what a phone would have stumbled over
	Body     string   // the last document
}

// subscribeExpires is what phones ask for.
const subscribeExpires = 3600

// Subscribe opens a subscription; it lives until Unsubscribe or the end of ctx.
func (p *Phone) Subscribe(ctx context.Context, event, number string) (*Subscription, error) {
	s := &Subscription{p: p, event: event, number: number, lamp: map[string]string{}, version: -1, done: make(chan struct{})}
	granted, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	ctx, s.stop = context.WithCancel(ctx)
	p.group.Go(func() {
		defer close(s.done)
		s.keep(ctx, granted)
	})
	return s, nil
}

// Lamp is what the key shows: "" when dark, else the state of RFC 4235 (early, confirmed, ...) of the liveliest dialog.
func (s *Subscription) Lamp() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := ""
	for _, state := range s.lamp {
		if order := map[string]int{"trying": 1, "early": 2, "confirmed": 3}; order[state] > order[best] {
			best = state
		}
	}
	return best
}

// Watched returns the figures so far.
func (s *Subscription) Watched() Watched {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Watched{Notifies: s.count, Renewals: s.renewed, Faults: append([]string(nil), s.faults...), Body: s.body}
}

// Unsubscribe ends the subscription.
func (s *Subscription) Unsubscribe(ctx context.Context) error {
	s.stop()
	<-s.done
	_, err := s.send(ctx, 0)
	s.p.unwatch(s.id())
	return err
}

func (s *Subscription) id() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.callID
}

// open starts a dialog of its own.
func (s *Subscription) open(ctx context.Context) (time.Duration, error) {
	s.mu.Lock()
	s.callID, s.tag, s.remote, s.seq = newToken(12)+"@"+s.p.cfg.Bind.String(), newToken(6), nil, 0
	s.seen, s.version, s.cseq = false, -1, 0
	s.target = sip.Uri{Scheme: "sip", User: s.number, Host: s.p.cfg.Domain}
	s.mu.Unlock()
	s.p.watch(s)
	granted, err := s.send(ctx, subscribeExpires)
	if err != nil {
		s.p.unwatch(s.id())
	}
	return granted, err
}

func (s *Subscription) keep(ctx context.Context, granted time.Duration) {
	for {
		timer := time.NewTimer(granted / 2)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		next, err := s.send(ctx, subscribeExpires)
		if refused, ok := asRefusal(err); ok && refused.Code == sip.StatusCallTransactionDoesNotExists {
			s.p.unwatch(s.id())
			s.mu.Lock()
			s.renewed++
			s.mu.Unlock()
			next, err = s.open(ctx)
		}
		if granted = next; err != nil {
			granted = time.Minute
		}
	}
}

// send sends a SUBSCRIBE with credentials and returns the granted time.
func (s *Subscription) send(ctx context.Context, expires int) (time.Duration, error) {
	req := s.request(expires)
	for range maxRounds {
		res, err := s.p.roundTrip(ctx, req)
		if err != nil {
			return 0, err
		}
		if res.IsSuccess() {
			return s.accepted(req, res)
		}
		if !isChallenge(res) {
			return 0, refusal(res)
		}
		chal, proxy, err := challengeOf(res)
		if err != nil {
			return 0, err
		}
		req = s.p.again(req)
		if err := s.p.authorize(req, chal, proxy, 1); err != nil {
			return 0, err
		}
		s.mu.Lock()
		s.seq = req.CSeq().SeqNo
		s.mu.Unlock()
	}
	return 0, errNoChallenge
}

func (s *Subscription) request(expires int) *sip.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	req := s.p.newRequest(sip.SUBSCRIBE, s.target)
	aor := sip.Uri{Scheme: "sip", User: s.p.cfg.Extension, Host: s.p.cfg.Domain}
	from := &sip.FromHeader{DisplayName: s.p.cfg.DisplayName, Address: aor}
	from.Params.Add("tag", s.tag)
	req.AppendHeader(from)
	if s.remote != nil {
		req.AppendHeader(sip.HeaderClone(s.remote))
	} else {
		req.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: s.number, Host: s.p.cfg.Domain}})
	}
	id := sip.CallIDHeader(s.callID)
	req.AppendHeader(&id)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: s.seq, MethodName: sip.SUBSCRIBE})
	contact := s.p.contact()
	req.AppendHeader(&contact)
	req.AppendHeader(sip.NewHeader("Event", s.event))
	if s.event == "dialog" {
		req.AppendHeader(sip.NewHeader("Accept", "application/dialog-info+xml"))
	}
	req.AppendHeader(sip.NewHeader("Expires", strconv.Itoa(expires)))
	req.SetBody(nil)
	return req
}

func (s *Subscription) accepted(req *sip.Request, res *sip.Response) (time.Duration, error) {
	granted := time.Duration(subscribeExpires) * time.Second
	if h := res.GetHeader("Expires"); h != nil {
		if n, err := strconv.ParseUint(h.Value(), 10, 31); err == nil {
			granted = time.Duration(n) * time.Second
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq = req.CSeq().SeqNo
	if to := res.To(); to != nil {
		s.remote, _ = sip.HeaderClone(to).(*sip.ToHeader)
	}
	if c := res.Contact(); c != nil {
		s.target = *c.Address.Clone()
	}
	return granted, nil
}

func (p *Phone) watch(s *Subscription) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched == nil {
		p.watched = map[string]*Subscription{}
	}
	p.watched[s.id()] = s
}

func (p *Phone) unwatch(callID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watched, callID)
}

// notified takes a NOTIFY and returns the status to answer it with.
func (p *Phone) notified(req *sip.Request) (int, string) {
	event := ""
	if h := req.GetHeader("Event"); h != nil {
		event = h.Value()
	}
	p.mu.Lock()
	s := p.watched[req.CallID().Value()]
	p.mu.Unlock()
	switch {
	case s != nil:
		s.take(req)
	case strings.HasPrefix(event, "refer"):
		return p.referred(req, event)
	case strings.HasPrefix(event, "dialog"): // RFC 6665 §4.1.3
		return sip.StatusCallTransactionDoesNotExists, "Subscription Does Not Exist"
	case p.cfg.OnNotify != nil:
		p.cfg.OnNotify(event)
	}
	return sip.StatusOK, "OK"
}

// dialogInfo is as much of RFC 4235 as a lamp needs.
type dialogInfo struct {
	XMLName xml.Name `xml:"urn:ietf:params:xml:ns:dialog-info dialog-info"`
	Version int      `xml:"version,attr"`
	State   string   `xml:"state,attr"`
	Entity  string   `xml:"entity,attr"`
	Dialogs []struct {
		ID        string `xml:"id,attr"`
		CallID    string `xml:"call-id,attr"`
		LocalTag  string `xml:"local-tag,attr"`
		RemoteTag string `xml:"remote-tag,attr"`
		Direction string `xml:"direction,attr"`
		State     string `xml:"state"`
		Remote    struct {
			Identity string `xml:"identity"`
			Target   struct {
				URI string `xml:"uri,attr"`
			} `xml:"target"`
		} `xml:"remote"`
	} `xml:"dialog"`
}

func (s *Subscription) take(req *sip.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	s.body = string(req.Body())
	seq := req.CSeq().SeqNo
	if s.seen && seq <= s.cseq { // sipgo absorbs retransmissions
		s.fault("CSeq %d after %d", seq, s.cseq)
	}
	s.cseq, s.seen = max(seq, s.cseq), true
	if req.GetHeader("Subscription-State") == nil {
		s.fault("no Subscription-State")
	}
	if s.event == "dialog" {
		s.read(req.Body())
	}
}

func (s *Subscription) fault(format string, args ...any) {
	const enough = 20
	if len(s.faults) < enough {
		s.faults = append(s.faults, s.p.cfg.Extension+" watching "+s.number+": "+fmt.Sprintf(format, args...))
	}
}

// read follows a dialog-info document.
func (s *Subscription) read(body []byte) {
	var d dialogInfo
	if err := xml.Unmarshal(body, &d); err != nil {
		s.fault("%v", err)
		return
	}
	switch {
	case d.Version <= s.version:
		s.fault("version %d after %d", d.Version, s.version)
		return // RFC 4235 §4.1: old news
	case d.Entity != "sip:"+s.number+"@"+s.p.cfg.Domain:
		s.fault("entity %s", d.Entity)
	}
	s.version = d.Version
	if d.State == "full" {
		clear(s.lamp)
	}
	for _, x := range d.Dialogs {
		if x.State == "terminated" {
			delete(s.lamp, x.ID)
			continue
		}
		s.lamp[x.ID] = x.State
		if x.CallID == "" || x.Direction == "" || x.Remote.Identity == "" || x.Remote.Target.URI == "" ||
			x.State != "trying" && (x.LocalTag == "" || x.RemoteTag == "") {
			s.fault("dialog %s in state %s lacks an identity", x.ID, x.State)
		}
	}
}
