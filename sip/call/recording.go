package call

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/dtmf"
	"linehall/media/record"
	"linehall/sip/cdr"
	"linehall/sip/stack"
)

// Recording of a call (media/record). The rules are asked before a target is called, because the media of a call that may
// be recorded has to pass us, and if it will be, in a form that we can read; and again when somebody has answered. From
// then on a session looks on. It begins by itself or when a party asks for it: by the code as keys, by the code over a
// second call, by the key of its telephone (INFO with Record), or by an operator.

// Why a recording that somebody asked for does not begin or end; others are media/record's.
var (
	ErrNotYours    = errors.New("you have no call that can be recorded")
	ErrMustStay    = errors.New("the rules want this call to be recorded")
	errTwoCalls    = errors.New("several calls are going on")
	ErrNotAnswered = errors.New("the call is not answered yet")
)

// tape is the recording of the owner's call.
type tape struct {
	session *record.Session
	policy  record.Policy
	path    *anchor.Path // that it listens to
	heard   [2]*byte     // the descriptions that it knows
	stopped bool         // somebody wanted it to end
	keys    [2]pressed
}

// pressed are the last keys of a party.
type pressed struct {
	keys string
	at   time.Time
}

// keyPause is the longest time between two keys of a code.
const keyPause = 4 * time.Second

// savedTape is what the next process goes on with.
type savedTape struct {
	On      bool   `json:"on,omitempty"`
	By      string `json:"by,omitempty"`
	Stopped bool   `json:"stopped,omitempty"`
}

type (
	msgTape   struct{ event record.Event }
	msgRecord struct { // from an operator or another call; answer has room
		want   *bool // nil: the other of what is
		by     string
		by2    string // extension of the party that asks, "" for an operator
		answer chan error
	}
)

func (msgTape) isMessage()   {}
func (msgRecord) isMessage() {}

// party is a leg as the rules see it.
func (c *call) recordParty(l *leg) record.Party {
	p := record.Party{Extension: l.Extension, Name: l.Display, Site: l.Site, Trunk: l.Trunk}
	if t, ok := c.s.o.Directory.ByExtension(l.Extension); ok && l.Trunk == "" {
		p.Class = t.Class
	}
	return p
}

// callerParty is the caller as the rules see it while nobody has answered.
func (c *call) callerParty() record.Party {
	if o, ok := c.origin.(*connected); ok {
		return c.recordParty(o.shadow)
	}
	p := record.Party{Extension: c.rec.From, Name: c.fromName, Site: site.ID(c.rec.FromSite), Class: c.terminal.Class}
	if c.incoming != nil {
		p.Trunk = c.incoming.Trunk
	}
	return p
}

// leadRecorded has the media of a path pass us if it may be recorded, and in a form that we can read if it will be. It says
// how the callee is offered it then, see redress.
func (c *call) leadRecorded(path *anchor.Path, to *leg) (dressed int, err error) {
	if c.joinable(to) {
		path.Reroute(anchor.Relayed)
	}
	if c.s.o.Recorder == nil || c.s.o.Recorder.Idle() {
		return 0, nil
	}
	policy := c.s.o.Recorder.Policy(c.callerParty(), c.recordParty(to))
	if policy.Mode == record.Never {
		return 0, nil
	}
	path.Reroute(anchor.Relayed)
	_, plain := c.origin.(*invited)
	if policy.Mode == record.OnDemand || !plain || c.late || to.Flow.Web() || fromBrowser(c.origin.offer()) { // a browser's ends here anyhow
		return 0, nil
	}
	keyed, usable := offeredKeys(c.origin.offer())
	switch {
	case !keyed:
	case usable && private(to.Flow):
		dressed = dressedKeyed
	case usable && c.srtpOfBranch(to) != site.SRTPRequired:
		dressed = dressedClear
	case policy.Mode == record.Required && !c.emergency():
		return 0, record.ErrEncrypted
	}
	if dressed != 0 {
		c.terminate(path, callee, dressed)
	}
	return dressed, nil
}

// srtpOfBranch is the stricter policy of both ends.
func (c *call) srtpOfBranch(to *leg) site.SRTP {
	from := &leg{Site: site.ID(c.rec.FromSite), Flow: c.origin.flow()}
	if c.incoming != nil {
		from.Trunk, from.TrunkSRTP = c.incoming.Trunk, c.incoming.SRTP
	}
	return stricter(c.s.srtpOfLeg(from), c.s.srtpOfLeg(to))
}

// record keeps the session up to date after every change of the call; it costs a comparison where nothing is recorded.
func (c *call) record() {
	if c.s.o.Recorder == nil || c.pair == nil || c.m == nil || c.m.Phase != phaseAccepted && c.m.Phase != phaseUp || c.link != nil {
		return
	}
	path := c.pair.branch.path
	heard := [2]*byte{unsafe.SliceData(c.pair.caller.Agreed), unsafe.SliceData(c.pair.callee.Agreed)} //nolint:gosec // compared only
	if c.tape != nil && c.tape.path == path && c.tape.heard == heard {
		return
	}
	if heard[0] == nil || heard[1] == nil {
		return
	}
	if c.tape == nil || c.tape.path != path {
		c.loadTape(path)
	}
	c.tape.heard = heard
	if c.tape.session == nil {
		return
	}
	c.tape.session.Describe(c.pair.caller.Agreed, c.pair.callee.Agreed)
	c.beginByRule()
}

// loadTape gives the call a session for the parties that it has now.
func (c *call) loadTape(path *anchor.Path) {
	before := c.tape
	c.tape = &tape{path: path}
	if before != nil && before.session != nil {
		before.session.Close("the parties changed")
		before.path.Tap(nil)
	}
	if c.s.o.Recorder.Idle() {
		c.tape.policy.Mode = record.Never
		return
	}
	from, to := c.recordParty(c.pair.caller), c.recordParty(c.pair.callee)
	c.tape.policy = c.s.o.Recorder.Policy(from, to)
	if c.tape.policy.Mode == record.Never {
		return
	}
	if c.rec.Recording == nil {
		c.rec.Recording = &cdr.Recording{}
	}
	c.rec.Recording.Mode, c.rec.Recording.Rule = string(c.tape.policy.Mode), c.tape.policy.Rule
	c.tape.session = c.s.o.Recorder.Session(record.Call{ID: c.id, From: from, To: to, Log: c.log}, c.tape.policy, len(c.rec.Recording.IDs),
		func(e record.Event) { c.notify(msgTape{e}) })
	path.Tap(c.tape.session)
}

// recordTimer tries again what the disk refused.
const recordAgain = 10 * time.Second

// beginByRule begins what the rules want, and what went on before a restart.
func (c *call) beginByRule() {
	t := c.tape
	by := "recording rules"
	if t.policy.Rule != "" {
		by = "recording rule " + t.policy.Rule
	}
	resumed := c.retape
	c.retape = nil
	if resumed != nil {
		t.stopped = resumed.Stopped
	}
	switch {
	case t.session.State() != record.Off || t.stopped:
		return
	case resumed != nil && resumed.On:
		by = resumed.By
	case t.policy.Mode != record.Always && t.policy.Mode != record.Required:
		return
	}
	err := c.startTape(by, nobody, resumed != nil && resumed.On)
	c.publish()
	switch {
	case err == nil:
	case t.policy.Mode == record.Required && !c.emergency() && !c.revived:
		c.step(evHangup{"system", "the call must be recorded: " + err.Error()})
	case errors.Is(err, record.ErrBlocked):
		c.arm(timerName{kind: "record"}, recordAgain, func() {
			if c.tape == t {
				c.beginByRule()
			}
		})
	}
}

// startTape begins a recording, or says why not; the record of the call knows both.
func (c *call) startTape(by string, hears side, again bool) error {
	leg := int(hears)
	err := c.audible()
	c.aside()
	if err == nil {
		err = c.tape.session.Start(c.ctx, by, leg, again)
	}
	if errors.Is(err, record.ErrRecording) {
		return err
	}
	if err != nil {
		c.rec.Recording.Reason = err.Error()
		c.log.Warn("call not recorded", slog.String("by", by), slog.Any(observe.Err, err))
		return err
	}
	c.rec.Recording.Reason = ""
	c.tape.stopped = false
	c.rec.Recording.IDs = append(c.rec.Recording.IDs, c.tape.session.Recordings()[len(c.tape.session.Recordings())-1])
	c.rec.Recording.By = by
	c.dirty()
	return nil
}

// audible says why nothing would be heard.
func (c *call) audible() error {
	here, clear := c.tape.path.Audible()
	switch {
	case !here:
		return record.ErrNotHere
	case !clear, c.secured() && !c.tape.path.Ends() && c.tape.path.Kind() != anchor.Gateway:
		return record.ErrEncrypted
	}
	return nil
}

// stopTape ends a recording before its call.
func (c *call) stopTape(by, why string, hears side) error {
	if err := c.tape.session.Stop(by, why, int(hears)); err != nil {
		return err
	}
	c.tape.stopped = true
	c.disarm(timerName{kind: "record"})
	c.dirty()
	return nil
}

// closeTape ends it with the call, or with the process.
func (c *call) closeTape(why string) {
	if c.tape != nil && c.tape.session != nil {
		c.aside()
		c.tape.session.Close(why)
		c.tape.path.Tap(nil)
	}
}

// savedTape is what the state says of the recording.
func (c *call) savedTape() *savedTape {
	if c.tape == nil || c.tape.session == nil {
		return c.retape
	}
	on := c.tape.session.State() != record.Off
	if !on && !c.tape.stopped {
		return nil
	}
	return &savedTape{On: on, By: c.rec.Recording.By, Stopped: c.tape.stopped}
}

// onTape takes what the session tells.
func (c *call) onTape(e record.Event) {
	switch {
	case c.tape == nil || c.tape.session == nil || c.pair == nil:
	case e.Key != 0:
		c.press(side(e.Leg), e.Key)
	default:
		c.publish()
	}
}

// press takes a key of a party; the code begins and ends a recording on demand.
func (c *call) press(from side, key byte) {
	code := c.s.o.RecordCode
	if c.tape == nil || c.tape.session == nil || code == nil || c.pair.leg(from).Trunk != "" {
		return
	}
	p, now := &c.tape.keys[from&1], time.Now()
	if now.Sub(p.at) > keyPause {
		p.keys = ""
	}
	p.keys, p.at = p.keys+string(key), now
	want := code()
	if len(p.keys) > len(want) {
		p.keys = p.keys[len(p.keys)-len(want):]
	}
	if want == "" || p.keys != want {
		return
	}
	p.keys = ""
	l := c.pair.leg(from)
	if err := c.recordOnDemand(nil, "phone "+l.Extension, from, false); err != nil {
		c.log.Info("recording on demand refused", slog.String(observe.Extension, l.Extension), slog.Any(observe.Err, err))
	}
}

// infoKey takes a key that came by INFO; the request goes on to the other side as it is.
func (c *call) infoKey(l *leg, req *stack.Request) {
	if c.tape == nil || req.Method != sip.INFO || req.ContentType() == nil {
		return
	}
	if key, _, err := dtmf.ParseInfo(req.ContentType().Value(), req.Body()); err == nil {
		c.press(l.Side, key)
	}
}

// recordKey serves the record key of a telephone (Yealink, Snom): INFO with "Record: on" or "off". It reports whether the
// request was that.
func (c *call) recordKey(l *leg, req *stack.Request) bool {
	h := req.GetHeader("Record")
	if req.Method != sip.INFO || h == nil || l.Trunk != "" {
		return false
	}
	want := strings.EqualFold(strings.TrimSpace(h.Value()), "on")
	err := ErrNotAnswered
	if c.pair != nil && c.pair.leg(l.Side) == l {
		err = c.recordOnDemand(&want, "phone "+l.Extension, l.Side, false)
	}
	if err != nil && !errors.Is(err, record.ErrRecording) && !errors.Is(err, record.ErrNotRecording) {
		c.s.respond(req, refusal{code: 403, reason: "Forbidden", warn: 399, text: err.Error()})
		return true
	}
	_ = req.Tx.Respond(c.s.stack.NewResponse(req, 200, "OK")) // the peer repeats a request whose response is lost
	return true
}

// nobody hears a recording begin when no party asked for it.
const nobody side = 0xff

// recordOnDemand begins or ends a recording on somebody's word; want nil is the other of what is. An operator may end what
// the rules began, unless they require it; a party may not.
func (c *call) recordOnDemand(want *bool, by string, hears side, operator bool) error {
	if c.tape == nil || c.tape.session == nil || c.tape.policy.Mode == record.Never {
		return record.ErrForbidden
	}
	on := c.tape.session.State() != record.Off
	if want == nil {
		flip := !on
		want = &flip
	}
	mode, err := c.tape.policy.Mode, ErrMustStay
	switch {
	case *want:
		err = c.startTape(by, hears, false)
	case on && (mode == record.Required || mode == record.Always && !operator):
	default:
		err = c.stopTape(by, "asked for", hears)
	}
	c.flush() // who is told that it is recorded must be able to rely on it after a crash
	c.publish()
	return err
}

// onRecord takes the word of an operator or of a party over another call.
func (c *call) onRecord(m msgRecord) {
	hears := nobody
	if c.pair == nil {
		m.answer <- ErrNotAnswered
		return
	}
	for _, l := range []*leg{c.pair.caller, c.pair.callee} {
		if m.by2 != "" && l.Extension == m.by2 && l.Trunk == "" {
			hears = l.Side
		}
	}
	m.answer <- c.recordOnDemand(m.want, m.by, hears, m.by2 == "")
}

// Record begins or ends the recording of a call on an operator's word.
func (s *Service) Record(ctx context.Context, id string, on bool, by string) error {
	s.mu.Lock()
	c := s.calls[id]
	s.mu.Unlock()
	if c == nil {
		return fmt.Errorf("call %s: %w", id, ErrUnknownCall)
	}
	answer := make(chan error, 1)
	return c.ask(ctx, msgRecord{want: &on, by: by, answer: answer}, answer)
}

// ToggleRecording begins or ends the recording of the one call that an extension has, and says how it is then.
func (s *Service) ToggleRecording(ctx context.Context, extension string) (on bool, err error) {
	s.mu.Lock()
	var mine []*call
	for _, c := range s.calls {
		if p := c.public.Load(); p != nil && !p.info.AnsweredAt.IsZero() && p.info.State != StateEnded && slices.Contains(c.parties, extension) {
			mine = append(mine, c)
		}
	}
	s.mu.Unlock()
	if len(mine) == 0 {
		return false, ErrNotYours
	}
	if len(mine) > 1 {
		return false, errTwoCalls
	}
	answer := make(chan error, 1)
	err = mine[0].ask(ctx, msgRecord{by: "phone " + extension, by2: extension, answer: answer}, answer)
	if p := mine[0].public.Load(); err == nil && p != nil && p.tape != nil {
		on = p.tape.State() != record.Off
	}
	return on, err
}

// askPatience is how long whoever wishes something waits for the owner.
const askPatience = 2 * time.Second

// ask brings a wish to the owner and waits for its answer.
func (c *call) ask(ctx context.Context, m message, answer <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	if !c.offer(m) {
		if c.box.over() {
			return ErrUnknownCall
		}
		return ErrBusy
	}
	select {
	case err := <-answer:
		return err
	case <-c.done:
		return ErrUnknownCall
	case <-ctx.Done():
		return ErrBusy
	}
}
