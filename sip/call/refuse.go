package call

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/site"
	"linehall/media/anchor"
	"linehall/media/line"
	"linehall/media/record"
	"linehall/media/sdp"
	"linehall/sip/stack"
)

// retryAfterSeconds is what a refused caller waits: calls end within minutes, a person tries
// again sooner.
const retryAfterSeconds = 5

// refusal is a final response of ours, in words.
type refusal struct {
	code   int
	reason string
	warn   int     // RFC 3261 §20.43 warn-code; 0: none
	text   string  // for the Warning and the call's record
	cause  string  // a Reason header (RFC 3326)
	site   site.ID // whose line is full, for the Warning
	full   bool    // a line on the way has no room
}

// phrase returns the reason phrase for a code that we send on somebody's behalf.
func phrase(code int) string {
	switch code {
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 408:
		return "Request Timeout"
	case 422:
		return "Session Interval Too Small"
	case 480:
		return "Temporarily Unavailable"
	case 481:
		return "Call/Transaction Does Not Exist"
	case 486:
		return "Busy Here"
	case 487:
		return "Request Terminated"
	case 488:
		return "Not Acceptable Here"
	case 491:
		return "Request Pending"
	case 500:
		return "Server Internal Error"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Server Time-out"
	case 600:
		return "Busy Everywhere"
	case 603:
		return "Decline"
	}
	return "Failure"
}

// respond sends a refusal.
func (s *Service) respond(req *stack.Request, r refusal) {
	if r.reason == "" {
		r.reason = phrase(r.code)
	}
	res := s.stack.NewResponse(req, r.code, r.reason)
	if r.warn != 0 {
		if place, known := s.o.Sites.Site(r.site); known {
			r.text += ": " + place.Name
		}
		agent := s.stack.ContactURI(req.Flow, "")
		res.AppendHeader(sip.NewHeader("Warning", fmt.Sprintf("%d %s %q", r.warn, agent.HostPort(), r.text)))
	}
	if r.cause != "" {
		res.AppendHeader(sip.NewHeader("Reason", r.cause))
	}
	if r.code == 417 { // RFC 4412 §4.6.2
		res.AppendHeader(sip.NewHeader("Accept-Resource-Priority", acceptedPriorities()))
	}
	if r.code == 503 || r.code == 500 {
		res.AppendHeader(sip.NewHeader("Retry-After", strconv.Itoa(retryAfterSeconds)))
	}
	_ = req.Tx.Respond(res) // cancelled or gone: the peer has its answer or needs none
}

// mediaRefusal says which response a body earned that the media plane cannot use.
func mediaRefusal(err error) refusal {
	var full *line.Refused
	var bad *sdp.ParseError
	switch {
	case insecure(err):
		return refusal{code: 488, warn: 399, text: err.Error()}
	case errors.As(err, &full):
		return refusal{code: 488, warn: 370, text: "Insufficient Bandwidth", site: full.Site, full: true}
	case errors.Is(err, line.ErrPreempted):
		return refusal{code: 488, warn: 370, text: "Insufficient Bandwidth"}
	case errors.As(err, &bad):
		return refusal{code: 400, reason: "Bad Session Description", warn: 399, text: bad.Error()}
	case errors.Is(err, record.ErrEncrypted):
		return refusal{code: 488, warn: 399, text: "Calls here are recorded, and this one could not be: " + err.Error()}
	case errors.Is(err, anchor.ErrNoSpeech), errors.Is(err, anchor.ErrNoGateway):
		return refusal{code: 488, warn: 399, text: "A phone in a browser and this phone have no way to talk: " + err.Error()}
	default:
		return refusal{code: 488, warn: 399, text: "The session description cannot be used"}
	}
}
