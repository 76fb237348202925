package signal

import (
	"bytes"
	"fmt"
	"image/jpeg"
)

const (
	// MaxStill bounds a still picture, in octets; 8 KB are 320x180 at a quality that shows who is there.
	MaxStill = 8 << 10
	// The largest still picture, in pixels.
	stillWidth, stillHeight = 640, 480
)

// StillOrder asks a publisher for still pictures of its camera, because somebody's line does not carry its lowest layer, or
// ends that.
type StillOrder struct {
	Type       string `json:"type"` // stills
	Active     bool   `json:"active"`
	IntervalMs int64  `json:"interval_ms"`
	MaxOctets  int    `json:"max_octets"`
}

// Still is the newest picture of somebody whose camera the line does not carry.
type Still struct {
	Type        string `json:"type"`
	Participant string `json:"participant"`
	JPEG        []byte `json:"jpeg"`
}

// checkStill says whether a still picture is one: a whole JPEG (ISO 10918-1: SOI to EOI) of a size that was asked for.
func checkStill(picture []byte) error {
	switch {
	case len(picture) > MaxStill:
		return fmt.Errorf("%w: a still picture of %d octets, %d are allowed", errMessage, len(picture), MaxStill)
	case !bytes.HasPrefix(picture, []byte{0xff, 0xd8, 0xff}) || !bytes.HasSuffix(picture, []byte{0xff, 0xd9}):
		return fmt.Errorf("%w: the still picture is no JPEG", errMessage)
	}
	config, err := jpeg.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		return fmt.Errorf("%w: the still picture is no JPEG: %w", errMessage, err)
	}
	if config.Width > stillWidth || config.Height > stillHeight {
		return fmt.Errorf("%w: a still picture of %dx%d", errMessage, config.Width, config.Height)
	}
	return nil
}
