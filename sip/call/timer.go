package call

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/sip/stack"
)

// Session timers (RFC 4028), the pure part: who refreshes which dialog, how often, and when it
// is overdue. Each leg has its own; a B2BUA is an end of both. The shell is session_timer.go.
//
// We refresh wherever the peer lets us choose: a phone that was to refresh and forgets would
// cost people their conversation.

// sessionTimer is the agreement of one dialog. The zero value is none.
type sessionTimer struct {
	Interval time.Duration `json:"interval,omitempty"` // 0: nothing expires
	MinSE    time.Duration `json:"min_se,omitempty"`   // the longest minimum heard in this dialog (§7.4)
	Ours     bool          `json:"ours,omitempty"`     // we refresh
	Expires  time.Time     `json:"expires,omitzero"`
}

// In seconds where RFC 4028 counts in seconds.
const (
	// defaultMinSE is what a dialog without a Min-SE has (§5); no smaller one may be asked for.
	defaultMinSE = 90 * time.Second
	// longestInterval bounds what a peer can ask for: a day. Longer ones are shortened (§9 allows
	// it), because nothing is gained and a wrong number must not overflow.
	longestInterval = 24 * time.Hour
	// longestLead is how long before the expiry the side that waits for a refresh acts (§10).
	longestLead = 32 * time.Second
	// briskest bounds how often we refresh for a peer that answers with an interval too small.
	briskest = 5 * time.Second
)

const timerTag = "timer"

var errBadInterval = errors.New("a session interval is not a number of seconds")

// timerTerms is what a message says about the session timer.
type timerTerms struct {
	Supported bool          // the sender knows the extension
	Interval  time.Duration // 0: not said
	MinSE     time.Duration // 0: not said
	Refresher string        // "uac", "uas" or "": not said
}

// readTimer reads the terms of a request or a response.
func readTimer(msg sip.Message) (timerTerms, error) {
	t := timerTerms{Supported: stack.HasToken(msg, "Supported", timerTag) || stack.HasToken(msg, "Require", timerTag)}
	if h := msg.GetHeaders("Session-Expires"); len(h) > 0 {
		value, params, _ := strings.Cut(h[0].Value(), ";")
		interval, err := readSeconds(value)
		if err != nil {
			return t, err
		}
		t.Interval = interval
		for p := range strings.SplitSeq(params, ";") {
			if k, v, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(k), "refresher") {
				t.Refresher = strings.ToLower(strings.TrimSpace(v))
			}
		}
		if t.Refresher != "uac" && t.Refresher != "uas" {
			t.Refresher = ""
		}
	}
	if h := msg.GetHeaders("Min-SE"); len(h) > 0 {
		value, _, _ := strings.Cut(h[0].Value(), ";")
		shortest, err := readSeconds(value)
		if err != nil {
			return t, err
		}
		t.MinSE = shortest
	}
	return t, nil
}

func readSeconds(text string) (time.Duration, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil || n == 0 {
		return 0, errBadInterval
	}
	return time.Duration(n) * time.Second, nil
}

// timerPolicy is what we want.
type timerPolicy struct {
	Default time.Duration // where the peer leaves it to us
	Min     time.Duration // what we accept; 422 below
}

// tooSmall reports whether a request asks for a shorter interval than we accept. Only a peer
// that knows the extension can be told so (§9).
func (p timerPolicy) tooSmall(t timerTerms) bool {
	return t.Supported && t.Interval > 0 && t.Interval < p.Min
}

// grant is the timer that our 2xx to a request brings (§9, table 2).
func (p timerPolicy) grant(t timerTerms, before sessionTimer, now time.Time) sessionTimer {
	s := sessionTimer{MinSE: max(before.MinSE, t.MinSE), Ours: true}
	switch {
	case t.Interval == 0 && !t.Supported:
		return s // neither wants one
	case t.Interval == 0:
		s.Interval = max(p.Default, s.MinSE)
	case t.Interval < p.Min:
		return s // a proxy's wish for a phone that cannot hear a 422: we may not raise it, and need not follow
	default:
		s.Interval = max(min(t.Interval, longestInterval), t.MinSE)
	}
	s.Ours = !t.Supported || t.Refresher != "uac"
	s.Expires = now.Add(s.Interval)
	return s
}

// taken is the timer that a 2xx to a request of ours brings (§7.2). A peer that says nothing
// has none.
func (p timerPolicy) taken(t timerTerms, before sessionTimer, now time.Time) sessionTimer {
	s := sessionTimer{MinSE: max(before.MinSE, t.MinSE), Interval: min(t.Interval, longestInterval), Ours: t.Refresher != "uas"}
	if s.Interval > 0 {
		s.Expires = now.Add(s.Interval)
	}
	return s
}

// raised is the timer to ask for after a 422 (§7.3); ok is false when the peer wants more than
// any session needs, or nothing that can be read.
func (s sessionTimer) raised(t timerTerms) (sessionTimer, bool) {
	if t.MinSE == 0 || t.MinSE > longestInterval || t.MinSE <= s.Interval {
		return s, false
	}
	s.MinSE, s.Interval = max(s.MinSE, t.MinSE), t.MinSE
	return s, true
}

// lead is how long before the expiry the waiting side acts (§10).
func (s sessionTimer) lead() time.Duration { return min(longestLead, s.Interval/3) }

// due is when something must be done: our refresh at half the interval (§10), or our question
// to a peer that has not refreshed.
func (s sessionTimer) due(p timerPolicy) time.Time {
	if !s.Ours {
		return s.Expires.Add(-s.lead())
	}
	half := max(s.Interval/2, min(briskest, p.Min/2))
	return s.Expires.Add(half - s.Interval)
}

// request writes the terms of a request of ours.
func (s sessionTimer) request(req *sip.Request) {
	if s.Interval == 0 {
		return
	}
	who := "uas"
	if s.Ours {
		who = "uac"
	}
	req.AppendHeader(sip.NewHeader("Session-Expires", seconds(s.Interval)+";refresher="+who))
	if s.MinSE > defaultMinSE {
		req.AppendHeader(sip.NewHeader("Min-SE", seconds(s.MinSE)))
	}
}

// response writes the terms of our 2xx: a peer that knows the extension must heed it (§9).
func (s sessionTimer) response(res *sip.Response, t timerTerms) {
	if s.Interval == 0 {
		return
	}
	who := "uac"
	if s.Ours {
		who = "uas"
	}
	res.AppendHeader(sip.NewHeader("Session-Expires", seconds(s.Interval)+";refresher="+who))
	if t.Supported {
		res.AppendHeader(sip.NewHeader("Require", timerTag))
	}
}

// seconds writes a duration as RFC 4028 does, rounded up.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
