package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// Traces keeps the SIP messages of calls, secrets masked.
type Traces interface {
	// Trace returns the ladder of a call that goes on or has ended; ErrNotFound when nothing of it is kept.
	Trace(ctx context.Context, id string) (Trace, error)
	// Capture returns the messages of a call as a capture file; media adds what was captured of its media.
	Capture(ctx context.Context, id string, media bool) ([]byte, error)
	// CaptureMedia begins or ends the capture of the media of a call that goes on; ErrInvalid says why it cannot.
	CaptureMedia(ctx context.Context, id string, on bool, by string) error
}

// Trace is a call as messages between us and everybody who took part, oldest first.
type Trace struct {
	ID      string       `json:"id"`
	Parties []TraceParty `json:"parties" nullable:"false"`
	Steps   []TraceStep  `json:"steps" nullable:"false"`
}

// TraceParty is one end.
type TraceParty struct {
	Name      string `json:"name" doc:"extension or number, if the messages say it"`
	Address   string `json:"address" example:"127.0.1.11:5060"`
	Transport string `json:"transport"`
}

// TraceStep is one message.
type TraceStep struct {
	At       time.Time `json:"at"`
	Party    int       `json:"party" doc:"index into parties"`
	Received bool      `json:"received" doc:"from the party to the appliance"`
	Summary  string    `json:"summary" example:"INVITE 2001 [sdp]"`
	Repeated bool      `json:"repeated" doc:"a retransmission"`
	Text     string    `json:"text" doc:"the whole message; secrets are stars"`
}

type captureOut struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

func (a *API) registerTraces() {
	view(a, operation("get-call-trace", http.MethodGet, "/calls/{id}/trace", "records", "The SIP messages of a call as a ladder", watchers), watchers,
		func(ctx context.Context, p auth.Principal, in *callIn) (*body[Trace], error) {
			if err := a.mayTrace(ctx, p, in.ID); err != nil {
				return nil, err
			}
			t, err := a.opts.Traces.Trace(ctx, in.ID)
			return &body[Trace]{t}, err
		})
	capture := operation("get-call-capture", http.MethodGet, "/calls/{id}/pcap", "records", "The SIP messages of a call as a capture file", operators)
	capture.Responses = map[string]*huma.Response{"200": {
		Description: "a file for packet analysers",
		Content:     map[string]*huma.MediaType{captureType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}}
	change(a, capture, operators,
		func(ctx context.Context, p auth.Principal, in *callIn) (audit.Event, error) {
			e := audit.Event{Action: "call.capture", Object: in.ID}
			return e, a.mayTrace(ctx, p, in.ID)
		},
		func(ctx context.Context, p auth.Principal, in *callIn) (*captureOut, error) {
			file, err := a.opts.Traces.Capture(ctx, in.ID, p.Is(auth.Admin)) // others do not hear what was said
			return &captureOut{ContentType: captureType, Disposition: `attachment; filename="call-` + fileName(in.ID) + `.pcap"`, Body: file}, err
		})
}

func (a *API) registerMediaCapture() {
	op := operation("capture-call-media", http.MethodPut, "/calls/{id}/capture", "calls", "Begin or end the capture of a call's media, for its capture file", admins)
	op.DefaultStatus = http.StatusNoContent
	change(a, op, admins,
		func(ctx context.Context, p auth.Principal, in *captureIn) (audit.Event, error) {
			c, err := a.call(ctx, p, in.ID)
			action := "call.capture_media"
			if !in.Body.On {
				action = "call.capture_media_end"
			}
			return audit.Event{Action: action, Object: in.ID, Detail: map[string]string{"from": c.From.Extension, "to": c.To.Extension}}, err
		},
		func(ctx context.Context, p auth.Principal, in *captureIn) (*nothing, error) {
			return nil, a.opts.Traces.CaptureMedia(ctx, in.ID, in.Body.On, actor(p))
		})
}

type captureIn struct {
	ID   string `path:"id" maxLength:"256"`
	Body struct {
		On bool `json:"on"`
	}
}

const captureType = "application/vnd.tcpdump.pcap"

// mayTrace: one who is bound to a site sees the calls that touch it.
func (a *API) mayTrace(ctx context.Context, p auth.Principal, id string) error {
	if p.Site == "" {
		return nil
	}
	c, err := a.opts.Calls.Call(ctx, id)
	sites := callSites(c)
	if errors.Is(err, ErrNotFound) {
		var r CDR
		r, err = a.opts.Records.CDR(ctx, id)
		sites = recordSites(r)
	}
	if err == nil && !sees(p, sites...) {
		err = huma.Error404NotFound("no such call at your site")
	}
	return err
}

// fileName keeps of an id what may stand in a header's quotes.
func fileName(id string) string {
	out := make([]byte, 0, len(id))
	for i := range len(id) {
		if c := id[i]; c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '-' {
			out = append(out, c)
		}
	}
	return string(out)
}
