package bridge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linehall/media/anchor"
	"linehall/media/bridge"
	"linehall/media/codec"
	"linehall/media/codec/codectest"
	"linehall/media/dtmf"
	"linehall/media/mix"
	"linehall/media/packet"
	"linehall/media/relay"
)

// path is a relayed path in memory: what its parties hear of us is kept.
type path struct {
	mu     sync.Mutex
	detour relay.Detour
	said   [2][][]byte
}

func (p *path) Divert(d relay.Detour) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detour = d
}

func (p *path) Say(side anchor.Side, b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.detour != nil {
		p.said[side] = append(p.said[side], append([]byte(nil), b...))
	}
}

func (p *path) arrive(side int, b []byte) {
	p.mu.Lock()
	d := p.detour
	p.mu.Unlock()
	if d != nil {
		d.Take(side, 0, b)
	}
}

// last are the samples of the packets of that long, of one payload type, and the keys of another one.
func (p *path) last(f codec.Format, t, event packet.PayloadType, side int, long time.Duration) (samples []int16, keys string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.said[side]
	decoder, receiver := f.NewDecoder(), dtmf.Receiver{}
	for _, b := range all[max(0, len(all)-int(long/codec.Frame)):] {
		h, _ := packet.Parse(b)
		switch h.Type {
		case t:
			samples, _ = decoder.Decode(samples, b[h.Payload:h.End])
		case event:
			if key, ok := receiver.Packet(h.Timestamp, b[h.Payload:h.End]); ok {
				keys += string(key)
			}
		}
	}
	return samples, keys
}

func description(port int, direction string, formats ...string) []byte {
	types, maps := "", ""
	for _, f := range formats {
		t, name, _ := strings.Cut(f, " ")
		types += " " + t
		maps += "a=rtpmap:" + t + " " + name + "\r\n"
	}
	return []byte(fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP%s\r\n%sa=%s\r\n", port, types, maps, direction))
}

// talk has everybody say their tone for that long.
type speaker struct {
	path  *path
	side  int
	mouth *mix.Mouth
	tone  []int16
	at    int
}

func newSpeaker(p *path, side int, l mix.Line, hz float64) *speaker {
	return &speaker{path: p, side: side, mouth: mix.NewMouth(l), tone: codectest.Tone(mix.Rate, hz, -20, time.Second)}
}

func talk(long time.Duration, all ...*speaker) {
	for range int(long / codec.Frame) {
		for _, s := range all {
			s.path.arrive(s.side, s.mouth.Say(s.tone[s.at*mix.FrameSamples:][:mix.FrameSamples]))
			s.at = (s.at + 1) % 50
		}
		time.Sleep(codec.Frame)
	}
	synctest.Wait()
}

// Two who talk, in different formats and with different numbers for them, are joined by a third. By what it speaks, all hear
// all others, one hears it, or nobody does; a key of one of the two reaches the other one; who is on hold is told nothing;
// when it has left, nothing comes from us.
func TestAThirdJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bridge.New()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		two, other := &path{}, &path{}
		caller := description(4000, "sendrecv", "8 PCMA/8000", "0 PCMU/8000", "101 telephone-event/8000")
		callee := description(4002, "sendrecv", "8 PCMA/8000", "96 telephone-event/8000")
		between, err := b.Lead(two, bridge.Both, caller, callee)
		if err != nil {
			t.Fatal(err)
		}
		theirs, ours := description(4004, "sendrecv", "9 G722/8000", "101 telephone-event/8000"), description(9, "sendrecv", "9 G722/8000", "101 telephone-event/8000")
		joined, err := b.Lead(other, bridge.One, theirs, ours)
		if err != nil {
			t.Fatal(err)
		}
		hz := []float64{400, 700, 1100}
		// The caller sends by the callee's numbers.
		all := []*speaker{
			newSpeaker(two, 0, mix.Line{Format: codec.PCMA, Type: 8, Event: 96}, hz[0]),
			newSpeaker(two, 1, mix.Line{Format: codec.PCMA, Type: 8, Event: 101}, hz[1]),
			newSpeaker(other, 0, mix.Line{Format: codec.G722, Type: 9, Event: 101}, hz[2]),
		}
		hears := func(who int) (shares [3]float64) {
			p, f, typ, side := two, codec.PCMA, packet.PayloadType(8), who
			if who == 2 {
				p, f, typ, side = other, codec.G722, 9, 0
			}
			samples, _ := p.last(f, typ, 0, side, 500*time.Millisecond)
			for i := range hz {
				shares[i] = codectest.Tonality(samples, f.Rate, hz[i])
			}
			return shares
		}
		want := func(how string, who int, loud ...int) {
			t.Helper()
			got := hears(who)
			for i := range got {
				is := false
				for _, l := range loud {
					is = is || l == i
				}
				if is != (got[i] > 0.3) || !is && got[i] > 0.01 {
					t.Errorf("%s: %d hears %.3f", how, who, got)
					return
				}
			}
		}
		talk(3*time.Second, all...)
		want("full", 0, 1, 2)
		want("full", 1, 0, 2)
		want("full", 2, 0, 1)
		joined.Speak(bridge.ToOne, between, anchor.Callee)
		talk(time.Second, all...)
		want("whispering", 0, 1)
		want("whispering", 1, 0, 2)
		want("whispering", 2, 0, 1)
		joined.Speak(bridge.ToNobody, nil, 0)
		talk(time.Second, all...)
		want("listening", 0, 1)
		want("listening", 1, 0)
		want("listening", 2, 0, 1)
		joined.Speak(bridge.ToAll, nil, 0)

		all[0].mouth.Press('7', 100*time.Millisecond)
		all[2].mouth.Press('5', 100*time.Millisecond)
		talk(time.Second, all...)
		if _, keys := two.last(codec.PCMA, 8, 96, 1, time.Second); keys != "7" {
			t.Errorf("keys %q reach the callee", keys)
		}
		if _, keys := other.last(codec.G722, 9, 101, 0, time.Second); keys != "" {
			t.Errorf("keys %q reach who joined", keys)
		}

		b.Beep()
		talk(200 * time.Millisecond)
		if heard, _ := two.last(codec.PCMA, 8, 0, 0, 100*time.Millisecond); codectest.Tonality(heard, 8000, 1400) < 0.8 {
			t.Error("no beep")
		}

		if err = between.Describe(description(4000, "sendonly", "8 PCMA/8000"), callee); err != nil {
			t.Fatal(err)
		}
		before := len(two.said[0])
		talk(time.Second, all...)
		if len(two.said[0]) != before {
			t.Error("who holds is spoken to")
		}
		want("on hold", 1, 0, 2)
		if err = between.Describe(description(4000, "sendrecv", "18 G729/8000"), description(4002, "sendrecv", "18 G729/8000")); !errors.Is(err, bridge.ErrNoFormat) {
			t.Errorf("no format: %v", err)
		}

		joined.Close()
		between.Close()
		before = len(two.said[1])
		talk(time.Second, all...)
		if len(two.said[1]) != before {
			t.Error("spoken to after the end")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestFormats(t *testing.T) {
	for _, row := range []struct {
		name           string
		caller, callee []byte
		want           string // of the caller: sends, others, gets, silent
	}{
		{
			"the first in common", description(1, "sendrecv", "9 G722/8000", "8 PCMA/8000"), description(1, "sendrecv", "8 PCMA/8000", "9 G722/8000"),
			"PCMA/8 [{G722 9}] G722/9 false",
		},
		{
			"Opus is heard and never spoken", description(1, "sendrecv", "111 opus/48000/2", "0 PCMU/8000"), description(1, "sendrecv", "111 opus/48000/2", "0 PCMU/8000"),
			"opus/111 [{PCMU 0}] PCMU/0 false",
		},
		{
			"each by the numbers of the other one", description(1, "inactive", "97 G722/8000"), description(1, "sendrecv", "98 G722/8000"),
			"G722/98 [{G722 97}] G722/97 true",
		},
		{"nothing that we can speak", description(1, "sendrecv", "18 G729/8000"), description(1, "sendrecv", "18 G729/8000"), "/0 [] /0 false"},
		{"no audio", description(0, "sendrecv", "8 PCMA/8000"), description(1, "sendrecv", "8 PCMA/8000"), "/0 [] /0 false"},
	} {
		l := bridge.Agreed(row.caller, row.callee)[0]
		others := []string{}
		for _, v := range l.Sends.Others {
			others = append(others, fmt.Sprintf("{%s %d}", v.Format.Name, v.Type))
		}
		got := fmt.Sprintf("%s/%d %v %s/%d %v", l.Sends.Format.Name, l.Sends.Type, others, l.Gets.Format.Name, l.Gets.Type, l.Silent)
		if got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}
