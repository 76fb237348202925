package record

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"linehall/internal/observe"
	"linehall/media/dtmf"
	"linehall/media/packet"
)

// Why a recording does not begin.
var (
	ErrForbidden    = errors.New("this call may not be recorded")
	ErrEncrypted    = errors.New("the telephones encrypt from end to end")
	ErrNotHere      = errors.New("the media of the call does not pass the appliance")
	ErrNoAudio      = errors.New("the call has no sound")
	ErrUnannounced  = errors.New("an announcement cannot be heard with the codec of this call")
	ErrBlocked      = errors.New("the disk is too full to record")
	ErrRecording    = errors.New("the call is being recorded already")
	ErrNotRecording = errors.New("the call is not being recorded")
)

// Call is what a recording knows of its call.
type Call struct {
	ID       string // as in the call record
	From, To Party
	Log      *slog.Logger
}

// State of a session.
type State string

// The states.
const (
	Off        State = "off"
	Announcing State = "announcing" // begins when both parties have heard it
	On         State = "on"
	Suspended  State = "suspended" // on, but the disk takes nothing
)

// Event is what a session tells the owner of its call.
type Event struct {
	Leg   int
	Key   byte // pressed by the leg's party; 0: the state has changed
	State State
}

// Session looks on at one call. It implements relay.Tap.
type Session struct {
	r      *Recorder
	call   Call
	policy Policy
	tell   func(Event) // must not block

	formats Formats
	uses    atomic.Pointer[table]
	now     atomic.Pointer[run]

	keys [2]dtmf.Receiver // the worker's
	done []string         // ids of the recordings so far
	next int              // part
}

// run is one recording from its beginning to its end.
type run struct {
	phase atomic.Int32
	rides [2]*cue // what the packets of each leg sound like first
	waits bool    // recording begins when both have been heard
	at    [2]int  // bytes of rides that were heard; the worker's
	ring  *ring

	zero atomic.Int64 // the relay's clock when recording began, 0 before

	// the writer's; see Recorder.drain
	mu      sync.Mutex // guards what follows
	id      string
	info    Info
	file    *writer
	path    string
	pending []held
	chunk   entries
	masks   [2]*mask
	formats Formats
	fresh   bool      // formats were described since the last chunk
	retry   time.Time // a disk that took nothing is asked again then
	lost    uint64    // packets that the file says are missing
	end     time.Duration
	closing bool
	begun   bool // something was written
}

// Phases.
const (
	phaseOff int32 = iota
	phaseAnnouncing
	phaseOn
)

// Session returns one that looks on at a call and records nothing yet. parts is how many recordings it had before a restart.
func (r *Recorder) Session(c Call, p Policy, parts int, tell func(Event)) *Session {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Session{r: r, call: c, policy: p, tell: tell, next: parts}
	s.uses.Store(&table{})
	return s
}

// Policy returns what the session was made with.
func (s *Session) Policy() Policy { return s.policy }

// Describe says what the parties send now, by their session descriptions as last agreed.
func (s *Session) Describe(caller, callee []byte) {
	s.formats = read(caller, callee)
	s.uses.Store(s.formats.table())
	if r := s.now.Load(); r != nil {
		r.mu.Lock()
		r.formats, r.fresh = s.formats, true
		r.mu.Unlock()
	}
}

// Packet implements relay.Tap.
func (s *Session) Packet(leg int, now int64, b []byte) {
	h, ok := packet.Parse(b)
	if !ok {
		return
	}
	what, payload := s.uses.Load()[leg][h.Type], b[h.Payload:h.End]
	if what == useEvent {
		if key, ok := s.keys[leg].Packet(h.Timestamp, payload); ok {
			s.tell(Event{Leg: leg, Key: key})
		}
	}
	r := s.now.Load()
	if r == nil {
		return
	}
	if r.phase.Load() == phaseOn {
		var head [packet.HeaderSize]byte
		copy(head[:], b)
		head[0] = 2 << 6 // neither padding nor extension
		r.ring.push(leg, now, head[:], payload)
	}
	if c := r.rides[leg]; c != nil && r.at[leg] < len(c.aLaw) {
		if sound := c.payload(what); sound != nil {
			ride(payload, sound[r.at[leg]:], what)
			r.at[leg] += len(payload)
			s.announced(r, now)
		}
	}
}

// ride replaces what a packet sounds like; behind the end of the sound it is silent.
func ride(payload, sound []byte, what use) {
	quiet := byte(0xd5) // G.711 A-law
	switch what {
	case useMuLaw:
		quiet = 0xff
	case useG722:
		quiet = 0xfa // both sub-bands at their smallest step
	default:
	}
	for i := copy(payload, sound); i < len(payload); i++ {
		payload[i] = quiet
	}
}

// announced begins to record when both parties have heard the announcement.
func (s *Session) announced(r *run, now int64) {
	for leg, c := range r.rides {
		if c != nil && r.at[leg] < len(c.aLaw) {
			return
		}
	}
	if !r.waits || r.phase.Load() != phaseAnnouncing {
		return
	}
	r.zero.Store(now)
	if r.phase.CompareAndSwap(phaseAnnouncing, phaseOn) {
		s.tell(Event{State: On})
	}
}

// Start begins a recording. by is who wants it, leg the one that hears it begin without an announcement, -1 for none;
// again goes on after a restart: nobody is told a second time. ErrBlocked and others say why not.
func (s *Session) Start(ctx context.Context, by string, leg int, again bool) error {
	if r := s.now.Load(); r != nil && r.phase.Load() != phaseOff {
		return ErrRecording
	}
	r := &run{ring: &ring{}, formats: s.formats, fresh: true}
	switch announce := s.policy.announce; {
	case len(s.formats[0]) == 0 || len(s.formats[1]) == 0:
		return ErrNoAudio
	case again:
	case announce != nil:
		if !s.formats.announceable(0) || !s.formats.announceable(1) {
			return ErrUnannounced
		}
		r.rides, r.waits = [2]*cue{announce, announce}, true
	case leg == 0 || leg == 1:
		r.rides[1-leg] = s.r.confirmation // rides on what the other one says
	}
	part := s.next + 1
	r.info = Info{
		ID: fmt.Sprintf("%s-%d", s.call.ID, part), Call: s.call.ID, Part: part, StartedAt: time.Now().UTC(), From: s.call.From, To: s.call.To,
		StartedBy: by, Rule: s.policy.Rule, Announced: r.waits, KeysOmitted: s.policy.Keys == OmitKeys, Silent: s.formats.silent(),
	}
	if err := s.r.open(ctx, r); err != nil {
		return err
	}
	s.next = part
	s.done = append(s.done, r.info.ID)
	state := On
	if r.waits {
		state = Announcing
		r.phase.Store(phaseAnnouncing)
	} else {
		r.zero.Store(s.r.o.Clock())
		r.phase.Store(phaseOn)
	}
	s.now.Store(r)
	s.call.Log.Info("recording begins", slog.String("recording", r.info.ID), slog.String("by", by), slog.String("state", string(state)))
	return nil
}

// Stop ends the recording; by and why stand with it. leg hears it, as with Start.
func (s *Session) Stop(by, why string, leg int) error {
	r := s.now.Load()
	if r == nil || r.phase.Load() == phaseOff {
		return ErrNotRecording
	}
	r.phase.Store(phaseOff)
	s.r.finish(context.Background(), r, by, why) // what is left to be written must not be cut off
	s.call.Log.Info("recording ends", slog.String("recording", r.info.ID), slog.String("by", by), slog.String(observe.Reason, why))
	if leg == 0 || leg == 1 {
		last := &run{}
		last.rides[1-leg] = s.r.confirmation
		s.now.Store(last)
		return nil
	}
	s.now.Store(nil)
	return nil
}

// Close ends the session with its call.
func (s *Session) Close(why string) {
	if err := s.Stop("", why, -1); err != nil {
		s.now.Store(nil)
	}
}

// State says how the session is; anybody may ask.
func (s *Session) State() State {
	r := s.now.Load()
	if r == nil {
		return Off
	}
	switch r.phase.Load() {
	case phaseAnnouncing:
		return Announcing
	case phaseOn:
		if s.r.Blocked() {
			return Suspended
		}
		return On
	default:
		return Off
	}
}

// Recordings returns the ids of the recordings so far.
func (s *Session) Recordings() []string { return append([]string(nil), s.done...) }

// Parts returns how many recordings the call has had, those of before a restart included.
func (s *Session) Parts() int { return s.next }
