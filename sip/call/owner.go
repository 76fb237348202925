package call

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/line"
	"linehall/sip/cdr"
	"linehall/sip/dialplan"
	"linehall/sip/location"
	"linehall/sip/route"
	"linehall/sip/stack"
)

// stopGrace is how long a ringing call waits at shutdown for the phones to take its CANCEL.
const stopGrace = 500 * time.Millisecond

// call is one call. Everything without a comment belongs to the owner (mailbox.go).
type call struct {
	s          *Service
	id         string // constant
	log        *slog.Logger
	class      line.Class      // constant
	precedence line.Precedence // constant
	ctx        context.Context

	box     mailbox
	done    chan struct{} // closed when the call is over
	public  atomic.Pointer[published]
	reading *stack.Reading // of the goroutine that the owner is at present, or nil
	clock   *time.Timer
	wakes   time.Time // what the clock is set to; zero: it is not

	m        *machine
	ex       exchange
	origin   origin // nil for a restored call
	decision dialplan.Decision
	alert    route.Alert  // wanted by a feature code
	stage    *route.Stage // the first one, and whom it rings; consumed when the owner starts
	targets  []target
	pinned   *location.Target  // the one phone that the caller has named by its GRUU, or nil
	history  []route.Diversion // the forwards so far, the first one first
	incoming *Incoming         // it came over a trunk
	late     bool              // the INVITE carried no offer

	media    *anchor.Call
	branches []*branchLeg
	forks    []*fork
	pair     *fork          // the fork that answered
	resume   *savedRinging  // of before the restart, until the owner takes it up
	written  []byte         // the ringing state as the store has it
	answer   *savedAnswer   // our 2xx, until its ACK
	reanswer *savedReanswer // our 2xx to a re-INVITE, until its ACK
	link     *savedLink     // its parties have not been brought together yet
	repeated bool           // it is repeated after a restart
	revived  bool           // the call was established before a restart
	because  []string       // the Reason values of the party that ended it
	waits    *heldAnswer    // the 2xx of the pair, until an early exchange is over
	current  *sip.Response  // the response that the machine is being asked about
	re       *reoffer       // under way
	deferred *stack.Request // an offer that waits for the other side's ACK, or for an exchange of our own
	own      *leg           // whom an exchange of our own makes an offer to
	transfer *transfer      // a REFER under way, or a party lent to another call
	rejoin   *transfer      // what had lent a party when the process died; it is begun anew
	lent     *borrowed      // the peer of another call that is our target; nil once it is ours
	lender   *call          // who got it back
	picker   *picker        // an INVITE that picked us up and waits for its answer
	stale    bool           // those who ring were offered what a former caller wrote

	rec         cdr.Record
	terminal    directory.Terminal // the caller's
	fromName    string
	toName      string
	recoverable bool                     // the last save worked
	refused     bool                     // it did not; that has been counted
	stored      bool                     // the store may hold us
	unsaved     bool                     // something changed since the last save
	left        bool                     // the process ends, the call goes on
	quit        bool                     // the process ends
	ways        map[*route.Stage]site.ID // around the lines, and to which site
	priorities  []string                 // Resource-Priority towards the callee
	preempted   string                   // the Reason header of a call that gave way
	rang        bool                     // the caller has heard something (call set-up time)

	timers  map[timerName]*timer
	pending int // outgoing transactions without a final response
	dials   int // connections being opened for them
	health  [2]health

	tape   *tape      // who looks on at the media; nil: not asked yet
	retape *savedTape // of before the restart, until the session is there

	captured *capturing // nil: nobody captures the media

	guests    []*guest  // who joined, those included whose ACK is missing
	mixing    *mixing   // nil: nobody takes part beside the two
	strangers []*leg    // who had joined before the restart
	parties   []string  // guarded by Service.mu: extensions counted as busy
	lines     []lineKey // guarded by Service.mu: gateways that carry it
	keys      []dialogKey
}

// message is what other goroutines send to the owner.
type message interface{ isMessage() }

type (
	msgBegin     struct{}                     // the first one
	msgClock     struct{}                     // a timer may be due
	msgStop      struct{}                     // the process ends
	msgQuit      struct{}                     // the phones have had their time to hear of it
	msgRequest   struct{ req *stack.Request } // in one of our dialogs, ACK included
	msgCancelled struct{ req *stack.Request } // the stack has answered CANCEL and 487
	msgStray     struct{ res *sip.Response }  // a repeated 2xx, or one of another fork
	msgHangup    struct{ by, reason string }
	msgPreempted struct { // by is another call, reason a Reason header, code for a caller who still waits
		by     string
		code   int
		reason string
	}
	msgDeflected struct { // where a phone's 3xx leads, see evDeflected
		branch  *branchLeg
		stage   *route.Stage
		earlier []route.Diversion // forwards on the way there
	}
	msgFound struct { // the ways outside for a stage
		stage    *route.Stage
		attempts []Attempt
	}
	msgConnected struct { // a connection was opened, or not
		flow stack.Flow
		err  error
		then func(flow stack.Flow, err error)
	}
	msgResponse struct { // res is nil when the transaction ended without a final response
		out *outgoing
		res *sip.Response
		err error
	}
)

func (msgBegin) isMessage()     {}
func (msgClock) isMessage()     {}
func (msgStop) isMessage()      {}
func (msgQuit) isMessage()      {}
func (msgRequest) isMessage()   {}
func (msgCancelled) isMessage() {}
func (msgStray) isMessage()     {}
func (msgHangup) isMessage()    {}
func (msgPreempted) isMessage() {}
func (msgDeflected) isMessage() {}
func (msgFound) isMessage()     {}
func (msgConnected) isMessage() {}
func (msgResponse) isMessage()  {}

// timerName names a timer of a call; arming a name again replaces it.
type timerName struct {
	kind  string
	index int
}

type timer struct {
	at   time.Time
	fire func()
}

func (c *call) emergency() bool { return c.class == line.Emergency }

// begin starts a new call's branches; a restored call only wants its probes.
func (c *call) begin() {
	if c.resume != nil {
		c.takeUp()
		return
	}
	if c.m != nil {
		// Its phones may have hung up while we were away, and their BYE got no answer.
		c.armProbes(c.s.limits.Probe)
		c.armSessions()
		if c.answer != nil {
			c.repeatStoredAnswer()
		}
		if c.reanswer != nil {
			c.repeatReanswer()
		}
		c.goOn()
		c.endRestored()
		c.publish()
		c.record()
		return
	}
	if c.lent != nil {
		c.fetchPeer()
		return
	}
	c.start()
	c.touch()
}

// settled: the call has ended and no transaction of it can bring anything.
func (c *call) settled() bool {
	return c.m.quiet() && c.pending == 0 && c.dials == 0 && !c.awaitingAck()
}

func (c *call) handle(m message) {
	defer c.touch()
	switch m := m.(type) {
	case msgClock:
		c.wakes = time.Time{}
	case msgStop:
		c.stop()
	case msgQuit:
		c.quit = true
	case msgResponse:
		c.onResponse(m)
	case msgFound:
		c.onFound(m)
	case msgConnected:
		c.onConnected(m)
	case msgRequest:
		c.onRequest(m.req)
	case msgCancelled:
		c.onCancelled(m.req)
	case msgStray:
		c.onStray(m.res)
	case msgPreempted:
		c.onPreempted(m)
	case msgDeflected:
		c.history = append(c.history, m.earlier...)
		c.step(evDeflected{m.branch.index, m.stage})
	case msgHangup:
		c.step(evHangup{m.by, m.reason})
	case msgProgress:
		c.onProgress(m)
	case msgTake:
		c.onTake(m)
	case msgHanded:
		c.onHanded(m)
	case msgTaken:
		c.onTaken(m)
	case msgJoin:
		c.onJoin(m)
	case msgNext:
		c.onNext(m)
	case msgReplace:
		c.onReplace(m)
	case msgPickup:
		c.onPickup(m)
	case msgBarge:
		c.onBarge(m)
	case msgGuestOff:
		c.onGuestOff(m)
	case msgRelink:
		c.relink(m)
	case msgGone:
		c.step(evCallerGone{m.reason})
	case msgTape:
		c.onTape(m.event)
	case msgRecord:
		c.onRecord(m)
	case msgCapture:
		c.onCapture(m)
	}
	c.record()
	c.remix()
	c.recapture()
}

// step feeds the machine and does what it says. Actions that bring about another event (the
// answer's fate) feed it in turn.
func (c *call) step(ev event) {
	for _, a := range c.m.step(ev) {
		c.do(a)
	}
}

func (c *call) do(a action) {
	switch a := a.(type) {
	case acRelay:
		c.relayProvisional(a)
	case acOpen:
		c.open(a)
	case acDeflect:
		c.deflect(c.branches[a.Branch])
	case acCall:
		c.callBranch(c.branches[a.Branch])
	case acCancel:
		c.cancelBranch(c.branches[a.Branch])
	case acAnswer:
		c.takeAnswer(a)
	case acDrop:
		c.dropAnswer(a)
	case acReject:
		c.reject(a)
	case acBye:
		c.byeLeg(a.To, a.Reason)
	case acEnd:
		c.finish(a.Cause)
	default:
		panic(fmt.Sprintf("action %T", a))
	}
}

// stop is the end of the process, not of the call: what rings is given up, what is established
// stays in the store.
func (c *call) stop() {
	switch c.m.Phase {
	case phaseRinging, phaseAnswering:
		c.step(evHangup{"system", "shutdown"})
		time.AfterFunc(stopGrace, func() { c.post(msgQuit{}) }) // until then the CANCELs' answers may come
	case phaseAccepted, phaseUp:
		c.save()
		c.dismissGuests("the appliance stopped") // and by the next process, if the BYE is lost
		c.closeTape("the appliance stopped")
		c.media.Close()
		c.left, c.quit = true, true
	case phaseEnded:
		c.quit = true
	}
}

func (c *call) arm(name timerName, after time.Duration, fire func()) {
	c.timers[name] = &timer{time.Now().Add(after), fire}
}

func (c *call) disarm(name timerName) { delete(c.timers, name) }

// firstTimer is when the next timer is due; zero: none is armed.
func (c *call) firstTimer() (at time.Time) {
	for _, t := range c.timers {
		if at.IsZero() || t.at.Before(at) {
			at = t.at
		}
	}
	return at
}

func (c *call) fireTimers() {
	now := time.Now()
	for name, t := range c.timers {
		if !t.at.After(now) && c.timers[name] == t {
			delete(c.timers, name)
			t.fire()
		}
	}
}
