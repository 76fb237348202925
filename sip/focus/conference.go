package focus

import (
	"context"

	"linehall/internal/observe"
	"linehall/media/codec"
	"linehall/media/mix"
)

// conference is the sound of one room for its telephones. It is there while there is one.
type conference struct {
	number string
	mixer  *mix.Mixer
	legs   int // guarded by Service.mu
	stop   func()
}

// opusType is the payload type of what venues say.
const opusType = 111

// join returns the conference of a room, which leave gives back.
func (s *Service) join(room Room) *conference {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conferences[room.Number]; c != nil {
		c.legs++
		return c
	}
	c := &conference{number: room.Number, mixer: mix.NewMixer(), legs: 1}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.ctx))
	opus, _ := codec.Find("opus", 48000) // it is known
	takes := make([]func([]byte), max(room.Voices, 1))
	for i := range takes {
		takes[i] = c.mixer.Speak(mix.Line{Format: opus, Type: opusType}).Put
	}
	s.work.Go(func() {
		defer observe.Recover(s.o.Log, s.o.Panics, "mixer of a meeting")
		stop := s.o.Rooms.Listen(room.Number, takes) // may wait for the room
		defer stop()
		_ = c.mixer.Run(ctx) // it ends with ctx, and never otherwise
	})
	c.stop = cancel
	s.conferences[room.Number] = c
	return c
}

// leave is the other end of join.
func (s *Service) leave(c *conference) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.legs--; c.legs == 0 {
		c.stop()
		delete(s.conferences, c.number)
	}
}
