package signal

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Subprotocol of the WebSocket.
const Subprotocol = "linehall.room.v1"

// Limits of what a client may send.
const (
	MaxMessage = 256 << 10
	maxViews   = 64
	maxText    = 256 // of a name, a token, a user agent
)

// Codes of an error message.
const (
	BadMessage = "bad_message"
	BadState   = "bad_state"
	Forbidden  = "forbidden"
	RoomFull   = "room_full"
	NotFound   = "not_found"
	Internal   = "internal"
	TooOften   = "too_often"
	PINNeeded  = "pin_required"
	PINWrong   = "pin_wrong"
	PINLocked  = "pin_locked" // wrong too often
)

// Reasons of the end of a participation.
const (
	Replaced   = "replaced"
	Removed    = "removed"
	RoomClosed = "room_closed"
	Shutdown   = "shutdown"
	Dropped    = "dropped"       // by the chair
	TurnedAway = "turned_away"   // while waiting to be let in
	Over       = "meeting_ended" // the chair ended it, or its time was up
)

// Media of a view.
const (
	MediaCamera  = "camera"
	MediaContent = "content"
)

// Request is any message of a client; Type says which fields mean something.
type Request struct {
	Type       string          `json:"type"`
	Name       string          `json:"name"`
	Resume     string          `json:"resume"`
	Client     string          `json:"client"`
	SDP        string          `json:"sdp"`
	Connection string          `json:"connection"`
	Candidate  json.RawMessage `json:"candidate"`
	Media      string          `json:"media"`
	Muted      bool            `json:"muted"`
	Active     bool            `json:"active"`
	Views      []View          `json:"views"`
	Publish    *Figures        `json:"publish"`
	Subscribe  *Figures        `json:"subscribe"`
	ID         json.RawMessage `json:"id"`
	JPEG       []byte          `json:"jpeg"`    // of a still picture, base64
	Control    bool            `json:"control"` // a join of a chair page: sees and leads, is not seen
	Standby    bool            `json:"standby"` // a join of a page that only waits to be called

	ActArguments
}

// View is a picture that a client shows.
type View struct {
	Participant string `json:"participant"`
	Media       string `json:"media"`
	Height      int    `json:"height"`
}

// Figures are a client's own measurements of one connection.
type Figures struct {
	RTTMs           float64 `json:"rtt_ms"`
	LossPercent     float64 `json:"loss_percent"`
	JitterMs        float64 `json:"jitter_ms"`
	BitrateBps      float64 `json:"bitrate_bps"`
	FramesPerSecond float64 `json:"frames_per_second"`
}

var errMessage = errors.New("not a message of this protocol")

// Decode reads one frame of a client.
func Decode(frame []byte) (Request, error) {
	var r Request
	if err := json.Unmarshal(frame, &r); err != nil {
		return Request{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	switch {
	case r.Type == "":
		return Request{}, fmt.Errorf("%w: no type", errMessage)
	case len(r.Views) > maxViews:
		return Request{}, fmt.Errorf("%w: more than %d views", errMessage, maxViews)
	case len(r.Name) > maxText || len(r.Resume) > maxText || len(r.ID) > maxText:
		return Request{}, fmt.Errorf("%w: text too long", errMessage)
	}
	if err := r.check(); err != nil {
		return Request{}, err
	}
	if r.Type == "still" {
		if err := checkStill(r.JPEG); err != nil {
			return Request{}, err
		}
	}
	if len(r.Client) > maxText {
		r.Client = r.Client[:maxText]
	}
	return r, nil
}

// Text is a name in both languages.
type Text struct {
	Zh string `json:"zh"`
	En string `json:"en"`
}

// RoomRef names a room.
type RoomRef struct {
	Number string `json:"number"`
	Name   string `json:"name"`
}

// VenueRef names a venue.
type VenueRef struct {
	ID   string `json:"id"`
	Name Text   `json:"name"`
}

// Welcome answers a join.
type Welcome struct {
	Type        string    `json:"type"`
	Instance    string    `json:"instance"`
	Participant string    `json:"participant"`
	Resume      string    `json:"resume"`
	Room        RoomRef   `json:"room"`
	Venue       *VenueRef `json:"venue"`
	Layers      Commands  `json:"layers"`
}

// Description carries an SDP: publish_answer or subscribe_offer.
type Description struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

// Participants is the list of who is there.
type Participants struct {
	Type string        `json:"type"`
	List []Participant `json:"list"`
}

// Participant is one entry of the list.
type Participant struct {
	ID         string    `json:"id"`
	Venue      string    `json:"venue"`
	Name       Text      `json:"name"`
	Site       string    `json:"site"`
	Kind       string    `json:"kind"`
	AudioMuted bool      `json:"audio_muted"`
	VideoMuted bool      `json:"video_muted"`
	HasAudio   bool      `json:"has_audio"`
	HasVideo   bool      `json:"has_video"`
	HasContent bool      `json:"has_content"`
	JoinedAt   time.Time `json:"joined_at"`
	Member     string    `json:"member"`      // outlives connections and restarts: the venue, or the user
	ChairMuted bool      `json:"chair_muted"` // AudioMuted is true too
	CameraOff  bool      `json:"camera_off"`  // by the chair; VideoMuted is true too
}

// Slots says who is in which m-line of the subscribe connection.
type Slots struct {
	Type  string      `json:"type"`
	Video []VideoSlot `json:"video"`
	Audio []AudioSlot `json:"audio"`
}

// Reasons why a picture is small or absent.
const (
	ReasonLine  = "line"
	ReasonMuted = "muted"
	ReasonCodec = "codec" // sent in a format that this participant cannot show
)

// VideoSlot is one picture's m-line.
type VideoSlot struct {
	MID         string `json:"mid"`
	Participant string `json:"participant"`
	Media       string `json:"media"`
	RID         string `json:"rid"`
	Reason      string `json:"reason"`
}

// AudioSlot is one voice's m-line.
type AudioSlot struct {
	MID         string `json:"mid"`
	Participant string `json:"participant"`
}

// Speaking lists the active speakers, loudest first.
type Speaking struct {
	Type         string   `json:"type"`
	Participants []string `json:"participants"`
}

// Layers commands a publisher.
type Layers struct {
	Type string `json:"type"`
	Commands
}

// Commands are what a publisher shall send.
type Commands struct {
	// Codec is the name in SDP. Who cannot send it goes on with what it has.
	Codec   string         `json:"codec"`
	Camera  []LayerCommand `json:"camera"`
	Content ContentCommand `json:"content"`
}

// LayerCommand is one resolution of the camera.
type LayerCommand struct {
	RID           string `json:"rid"`
	Active        bool   `json:"active"`
	MaxBitrateBps int64  `json:"max_bitrate_bps"`
}

// ContentCommand is the shared screen.
type ContentCommand struct {
	Active        bool  `json:"active"`
	MaxBitrateBps int64 `json:"max_bitrate_bps"`
}

// Line is the state of the venue's own leased line.
type Line struct {
	Type  string   `json:"type"`
	Site  string   `json:"site"`
	State string   `json:"state"`
	Up    LineRate `json:"up"`
	Down  LineRate `json:"down"`
}

// LineRate is one direction of it.
type LineRate struct {
	CapacityBps int64 `json:"capacity_bps"`
	VideoBps    int64 `json:"video_bps"`
}

// Error refuses a request.
type Error struct {
	Type    string `json:"type"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Request string `json:"request"`
	Act     string `json:"act,omitempty"` // of a request "act"
}

// Ended is the last message.
type Ended struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

// Pong answers a ping.
type Pong struct {
	Type string          `json:"type"`
	ID   json.RawMessage `json:"id"`
}
