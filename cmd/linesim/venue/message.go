package venue

import "github.com/pion/webrtc/v4"

// The messages of docs/signalling.md that a native venue sends and understands.

type envelope struct {
	Type string `json:"type"`

	// to the server
	Name       string                   `json:"name,omitempty"`
	Resume     string                   `json:"resume,omitempty"`
	Client     string                   `json:"client,omitempty"`
	SDP        string                   `json:"sdp,omitempty"`
	Connection string                   `json:"connection,omitempty"`
	Candidate  *webrtc.ICECandidateInit `json:"candidate,omitempty"`
	Media      string                   `json:"media,omitempty"`
	Muted      *bool                    `json:"muted,omitempty"`
	Views      []view                   `json:"views,omitempty"`
	Publish    *figures                 `json:"publish,omitempty"`
	Subscribe  *figures                 `json:"subscribe,omitempty"`
	JPEG       []byte                   `json:"jpeg,omitempty"`
}

type view struct {
	Participant string `json:"participant"`
	Media       string `json:"media"`
	Height      int    `json:"height"`
}

type figures struct {
	RTT       float64 `json:"rtt_ms"`
	Loss      float64 `json:"loss_percent"`
	Jitter    float64 `json:"jitter_ms"`
	Bitrate   int     `json:"bitrate_bps"`
	FrameRate float64 `json:"frames_per_second"`
}

// incoming is a message from the server; unknown fields are ignored.
type incoming struct {
	Type        string        `json:"type"`
	Instance    string        `json:"instance"`
	Participant string        `json:"participant"`
	Resume      string        `json:"resume"`
	SDP         string        `json:"sdp"`
	List        []participant `json:"list"`
	Video       []slot        `json:"video"`
	Audio       []slot        `json:"audio"`
	Camera      []layerOrder  `json:"camera"`
	Layers      *layerOrders  `json:"layers"` // inside welcome
	Code        string        `json:"code"`
	Message     string        `json:"message"`
	Request     string        `json:"request"`
	Reason      string        `json:"reason"`
	Active      bool          `json:"active"`      // of stills
	IntervalMs  int64         `json:"interval_ms"` // of stills
	JPEG        []byte        `json:"jpeg"`        // of a still
}

type participant struct {
	ID       string `json:"id"`
	Venue    string `json:"venue"`
	Kind     string `json:"kind"`
	HasVideo bool   `json:"has_video"`
}

type slot struct {
	MID         string `json:"mid"`
	Participant string `json:"participant"`
	Media       string `json:"media"`
	RID         string `json:"rid"`
	Reason      string `json:"reason"`
}

type layerOrder struct {
	RID        string `json:"rid"`
	Active     bool   `json:"active"`
	MaxBitrate int    `json:"max_bitrate_bps"`
}

type layerOrders struct {
	Camera []layerOrder `json:"camera"`
}
