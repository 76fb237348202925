package focus

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"regexp"
	"sync"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/media/served"
	"linehall/sip/dialog"
	"linehall/sip/stack"
)

// Progress is how a call into a meeting goes.
type Progress struct {
	State  State
	Code   int    // of the end
	Reason string // in words
	Name   string // of who answered, if it says so
}

// State of a call into a meeting.
type State string

// The states; the last three are the end.
const (
	Calling   State = "calling"
	Ringing   State = "ringing"
	Answered  State = "answered"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Errors of Dial.
var (
	ErrBusy = errors.New("the focus makes as many calls as it may")
	// ErrNumber means that a number cannot be dialled.
	ErrNumber = errors.New("that is no number")
)

// mostDialling bounds calls that ring at the same time.
const mostDialling = 32

// numberForm is what may be dialled.
var numberForm = regexp.MustCompile(`^[+]?[0-9*#]{1,32}$`)

// dialled is a telephone that is called into a meeting.
type dialled struct {
	s        *Service
	leg      *leg
	number   string
	invite   *sip.Request
	progress func(Progress)

	mu   sync.Mutex // guards tx and gone
	tx   *stack.ClientTx
	gone bool // cancelled
}

// Dial calls a number into a meeting, with the room's class of service; progress is told how it goes, until the end, from a
// goroutine of its own. Who answers is in the meeting: neither its PIN nor a locked door stands before it. The returned
// function gives the call up while it rings.
func (s *Service) Dial(number, phone string, progress func(Progress)) (cancel func(), err error) {
	room, ok := s.o.Rooms.Room(number)
	switch {
	case !ok:
		return nil, ErrNoRoom
	case !numberForm.MatchString(phone):
		return nil, ErrNumber
	}
	d := &dialled{s: s, number: phone, progress: progress}
	s.mu.Lock()
	ctx := s.ctx
	if ctx == nil || len(s.dialling) >= mostDialling || len(s.legs)+len(s.dialling) >= s.o.Most {
		s.mu.Unlock()
		return nil, ErrBusy
	}
	s.dialling[d] = struct{}{}
	s.work.Add(1)
	s.mu.Unlock()
	l := s.newLeg(room, Caller{Number: phone, Invited: true})
	if err := l.open(0, 0); err != nil {
		s.mu.Lock()
		delete(s.dialling, d)
		s.mu.Unlock()
		s.work.Done()
		return nil, err
	}
	d.leg = l
	go func() {
		defer s.work.Done()
		defer observe.Recover(s.o.Log, s.o.Panics, "call into a meeting")
		d.run(ctx)
	}()
	return d.Cancel, nil
}

// Cancel gives the call up while it rings.
func (d *dialled) Cancel() {
	d.mu.Lock()
	tx := d.tx
	d.gone = true
	d.mu.Unlock()
	if tx != nil {
		_ = tx.Cancel(context.Background()) // an answered call is ended by its leg
	}
}

// run calls and hands the leg over when somebody answers.
func (d *dialled) run(ctx context.Context) {
	answered := false
	defer func() {
		d.s.mu.Lock()
		delete(d.s.dialling, d)
		d.s.mu.Unlock()
		if !answered {
			d.leg.shut()
		}
	}()
	d.progress(Progress{State: Calling})
	res, err := d.call(context.WithoutCancel(ctx))
	switch {
	case err == nil && res.IsSuccess():
		answered = d.answered(res) //nolint:contextcheck // a leg lives with the service
	case d.cancelled():
		d.end(Progress{State: Cancelled, Code: 487, Reason: "given up"})
	case err != nil:
		d.end(Progress{State: Failed, Code: 408, Reason: "no answer from the exchange"})
	default:
		d.end(Progress{State: Failed, Code: res.StatusCode, Reason: inWords(res)})
	}
}

func (d *dialled) cancelled() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gone
}

func (d *dialled) end(p Progress) {
	result := "refused"
	if p.State == Cancelled {
		result = "cancelled"
	}
	d.s.metrics.dialled.WithLabelValues(result).Inc()
	d.s.o.Log.Info("telephone not in the meeting", slog.String(observe.Room, d.leg.room.Number), slog.String("to", d.number),
		slog.Int(observe.Code, p.Code), slog.String(observe.Reason, p.Reason))
	d.progress(p)
}

// call sends the INVITE and returns its final response.
func (d *dialled) call(ctx context.Context) (*sip.Response, error) {
	l, domain := d.leg, d.s.stack.Domain()
	ours := l.sound.offer()
	l.asked = ours
	session := dialog.NewSession()
	body, err := session.Send(ours, served.Host)
	if err != nil {
		return nil, err //nolint:wrapcheck // ours
	}
	inv := sip.NewRequest(sip.INVITE, sip.Uri{Scheme: "sip", User: d.number, Host: domain})
	inv.AppendHeader(&sip.FromHeader{DisplayName: display(l.room.Name), Address: sip.Uri{Scheme: "sip", User: l.room.Number, Host: domain}, Params: sip.HeaderParams{{K: "tag", V: rand.Text()[:16]}}})
	inv.AppendHeader(&sip.ToHeader{Address: sip.Uri{Scheme: "sip", User: d.number, Host: domain}})
	id := sip.CallIDHeader(rand.Text())
	inv.AppendHeader(&id)
	inv.AppendHeader(&sip.CSeqHeader{SeqNo: 1, MethodName: sip.INVITE})
	inv.AppendHeader(&sip.ContactHeader{DisplayName: display(l.room.Name), Address: l.contact()})
	inv.AppendHeader(sip.NewHeader("Allow", d.s.stack.Allow()))
	inv.AppendHeader(sip.NewHeader("Content-Type", "application/sdp"))
	inv.SetBody(body)
	d.invite = inv
	tx, err := d.s.stack.Request(ctx, inv, stack.InsideFlow().Reverse())
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what failed
	}
	d.mu.Lock()
	d.tx = tx
	gone := d.gone
	d.mu.Unlock()
	if gone {
		_ = tx.Cancel(ctx) // its final response follows
	}
	for res := range tx.Responses() {
		switch {
		case !res.IsProvisional():
			if res.IsSuccess() {
				l.dialog, err = dialog.Fork(inv, res)
				if err == nil {
					l.dialog.Session = session
				}
			}
			return res, err
		case res.StatusCode == 180 || res.StatusCode == 183:
			d.progress(Progress{State: Ringing, Name: calledName(res)})
		}
	}
	return nil, tx.Err() //nolint:wrapcheck // the stack's sentinel
}

// answered hands the leg to an owner of its own; false: it is no leg.
func (d *dialled) answered(res *sip.Response) bool {
	l := d.leg
	ack := l.dialog.Ack(1)
	_ = d.s.stack.Send(context.Background(), ack, stack.InsideFlow().Reverse()) // a repeated 2xx brings it again
	name := calledName(res)
	l.caller.Name = name
	l.acked = true
	body := res.Body()
	ok := d.s.enter(l, func() {
		if l.answered(body) {
			l.begin()
		}
	})
	if !ok {
		l.why = "meetings take no more telephones"
		l.bye(context.Background())
		d.end(Progress{State: Failed, Code: 486, Reason: l.why})
		return false
	}
	if d.cancelled() { // it was answered at the same moment
		l.end("given up")
	}
	d.s.metrics.dialled.WithLabelValues("answered").Inc()
	d.progress(Progress{State: Answered, Code: 200, Name: name})
	return true
}

// calledName is who rings or answers, by what the call core asserts.
func calledName(res *sip.Response) string {
	h := res.GetHeader("P-Asserted-Identity")
	if h == nil {
		return ""
	}
	var uri sip.Uri
	name, err := sip.ParseAddressValue(h.Value(), &uri, nil)
	if err != nil {
		return ""
	}
	return name
}

// warningText is the text of a Warning (RFC 3261 §20.43).
var warningText = regexp.MustCompile(`^\d{3} \S+ "(.*)"$`)

// inWords is why nobody came: the exchange's own words if it has some.
func inWords(res *sip.Response) string {
	if h := res.GetHeader("Warning"); h != nil {
		if m := warningText.FindStringSubmatch(h.Value()); m != nil {
			return m[1]
		}
	}
	switch res.StatusCode {
	case 486, 600:
		return "busy"
	case 603:
		return "declined"
	case 480, 430:
		return "cannot be reached"
	case 408:
		return "no answer"
	case 404, 604:
		return "no such number"
	case 403:
		return "not allowed"
	case 487:
		return "given up"
	}
	return res.Reason
}
