package venue

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"time"
)

// Still pictures (docs/signalling.md): where a line does not carry a venue's lowest layer, the server asks for a small JPEG
// every few seconds and hands it to those who look.

// orderStills begins to send stills, or ends that.
func (v *Venue) orderStills(ctx context.Context, s *session, m incoming) {
	if s.stopStills != nil {
		s.stopStills()
		s.stopStills = nil
	}
	if !m.Active || m.IntervalMs <= 0 {
		return
	}
	sending, stop := context.WithCancel(ctx)
	s.stopStills = stop
	s.group.Go(func() error {
		v.sendStills(sending, s, time.Duration(m.IntervalMs)*time.Millisecond)
		return nil
	})
}

func (v *Venue) sendStills(ctx context.Context, s *session, every time.Duration) {
	picture, err := stillOf(v.number)
	if err != nil {
		v.complain(err)
		return
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if ctx.Err() != nil || v.send(ctx, s, envelope{Type: "still", JPEG: picture}) != nil {
			return // the session ends; converse says why
		}
		v.mu.Lock()
		v.sent.Stills++
		v.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// stillOf draws what a camera might show: bars and a shade of the venue's own, so that the size is that of a picture.
func stillOf(number int) ([]byte, error) {
	const width, height, quality = 320, 180, 50
	picture := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	for y := range height {
		for x := range width {
			picture.Y[picture.YOffset(x, y)] = uint8(x/20*16 + y/3 + (x*y)%7)
		}
	}
	shade := color.YCbCr{Cb: uint8(40 * number), Cr: uint8(255 - 40*number)} //nolint:gosec // any shade will do
	for i := range picture.Cb {
		picture.Cb[i], picture.Cr[i] = shade.Cb, shade.Cr
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, picture, &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("still: %w", err)
	}
	return out.Bytes(), nil
}

// takeStill counts a still of another venue that is a picture.
func (v *Venue) takeStill(s *session, m incoming) {
	if _, err := jpeg.Decode(bytes.NewReader(m.JPEG)); err != nil {
		v.complain(fmt.Errorf("still of %s: %w", m.Participant, err))
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	owner := s.people[m.Participant].Venue
	stats := v.tiles[owner]
	if stats == nil {
		stats = &TileStats{}
		v.tiles[owner] = stats
	}
	stats.Stills++
}
