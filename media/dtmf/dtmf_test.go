package dtmf_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"linehall/media/codec"
	"linehall/media/codec/codectest"
	"linehall/media/dtmf"
)

const allKeys = "0123456789*#ABCD"

type event struct {
	timestamp uint32
	marker    bool
	payload   []byte
}

// events returns the packets of keys pressed one after the other, 40 ms apart.
func events(keys string, length time.Duration) (out []event) {
	now := uint32(4_294_960_000) // the timestamp wraps
	for i := range keys {
		s := dtmf.NewSender(keys[i], length, 8_000, 160)
		for more := true; more; {
			var e event
			e.timestamp = now
			e.payload, e.marker, more = s.Append(nil)
			out = append(out, e)
		}
		now += uint32(length*8/time.Millisecond) + 320
	}
	return out
}

// RFC 4733 §2.5.1: marker on the first packet, one timestamp, growing duration, the end three times.
func TestSendingAnEvent(t *testing.T) {
	sent := events("7", 100*time.Millisecond)
	if len(sent) != 7 {
		t.Fatalf("%d packets for 100 ms, want 5 and the end twice more", len(sent))
	}
	for i, e := range sent {
		duration := binary.BigEndian.Uint16(e.payload[2:])
		if want := uint16(min(160*(i+1), 800)); e.payload[0] != 7 || duration != want || e.marker != (i == 0) ||
			e.payload[1]&0x80 != 0 != (i >= 4) || e.timestamp != sent[0].timestamp {
			t.Errorf("packet %d: %+v, want a duration of %d", i, e, want)
		}
	}
}

func receive(packets []event) string {
	var r dtmf.Receiver
	var keys []byte
	for _, e := range packets {
		if key, ok := r.Packet(e.timestamp, e.payload); ok {
			keys = append(keys, key)
		}
	}
	return string(keys)
}

// Each key is heard once, whatever is lost, doubled or late, as long as one packet of it comes.
func TestReceivingEvents(t *testing.T) {
	sent := events(allKeys, 80*time.Millisecond)
	if got := receive(sent); got != allKeys {
		t.Errorf("heard %q", got)
	}
	per := len(sent) / len(allKeys)
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 2))
		var line []event
		for i := 0; i < len(sent); i += per {
			keep := random.IntN(per)
			for j, e := range sent[i : i+per] {
				if j == keep || random.IntN(2) == 0 {
					line = append(line, e)
				}
				if random.IntN(3) == 0 {
					line = append(line, sent[max(0, i-1)]) // the end of the one before, late
				}
			}
		}
		if got := receive(line[min(1, len(line)-1):]); len(got) < len(allKeys)-1 || got != allKeys && got != allKeys[1:] {
			t.Fatalf("seed %d: heard %q", seed, got)
		}
	}
}

func TestAKeyThatIsHeldIsOneKey(t *testing.T) {
	var r dtmf.Receiver
	heard := 0
	for segment := range uint32(3) {
		for duration := uint32(800); duration <= 0xffff; duration += 800 {
			if _, ok := r.Packet(1000+segment*0xffff, []byte{5, 10, byte(duration >> 8), byte(duration)}); ok {
				heard++
			}
		}
	}
	if heard != 1 {
		t.Errorf("heard %d times", heard)
	}
}

func TestEventsThatAreNoKeys(t *testing.T) {
	var r dtmf.Receiver
	for _, payload := range [][]byte{nil, {1, 2, 3}, {16, 0, 0, 0}, {255, 0x80, 1, 1}} {
		if key, ok := r.Packet(5, payload); ok {
			t.Errorf("%x is key %c", payload, key)
		}
	}
}

func TestBodiesOfINFO(t *testing.T) {
	for _, row := range []struct {
		kind, body string
		key        byte
		length     time.Duration
	}{
		{"application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", '5', 160 * time.Millisecond},
		{"application/dtmf-relay", "Signal= *\nDuration= 250", '*', 250 * time.Millisecond},
		{"Application/DTMF-Relay;x=y", "signal=11\r\n", '#', 0},
		{"application/dtmf-relay", "Signal=d", 'D', 0},
		{"application/dtmf", "7", '7', 0},
		{"application/dtmf", "#\r\n", '#', 0},
		{"application/dtmf-relay", "Signal=55\r\n", 0, 0},
		{"application/dtmf-relay", "Duration=160\r\n", 0, 0},
		{"application/dtmf-relay", "", 0, 0},
		{"application/dtmf", "", 0, 0},
		{"text/plain", "5", 0, 0},
	} {
		key, length, err := dtmf.ParseInfo(row.kind, []byte(row.body))
		if key != row.key || length != row.length || (err != nil) != (row.key == 0) || err != nil && !errors.Is(err, dtmf.ErrInfo) {
			t.Errorf("%s %q: %c for %v, %v", row.kind, row.body, key, length, err)
		}
	}
}

// dialled returns the sound of keys: each on for on, then silence for off.
func dialled(rate int, keys string, dBm0, twist float64, on, off time.Duration) (out []int16) {
	for i := range keys {
		lower, upper := dtmf.Frequencies(keys[i])
		a, b := codectest.Tone(rate, lower, dBm0, on), codectest.Tone(rate, upper, dBm0+twist, on)
		for i := range a {
			out = append(out, a[i]+b[i])
		}
		out = append(out, make([]int16, codectest.Samples(rate, off))...)
	}
	return out
}

func add(a, b []int16) []int16 {
	for i := range a {
		a[i] += b[i%len(b)]
	}
	return a
}

// ITU-T Q.24 and what codecs do to it.
func TestDetectingTones(t *testing.T) {
	for _, row := range []struct {
		name         string
		level, twist float64
		on, off      time.Duration
		noise        float64
	}{
		{name: "usual", level: -10, on: 100 * time.Millisecond, off: 100 * time.Millisecond, noise: -60},
		{name: "shortest", level: -10, on: 42 * time.Millisecond, off: 40 * time.Millisecond, noise: -60},
		{name: "loud", level: -4, on: 70 * time.Millisecond, off: 70 * time.Millisecond, noise: -60},
		{name: "faint", level: -26, on: 70 * time.Millisecond, off: 70 * time.Millisecond, noise: -60},
		{name: "upper group 4 dB louder", level: -14, twist: 4, on: 70 * time.Millisecond, off: 70 * time.Millisecond, noise: -60},
		{name: "upper group 4 dB fainter", level: -10, twist: -4, on: 70 * time.Millisecond, off: 70 * time.Millisecond, noise: -60},
		{name: "noise at 15 dB", level: -10, on: 70 * time.Millisecond, off: 70 * time.Millisecond, noise: -22},
	} {
		for _, rate := range []int{8_000, 16_000} {
			sound := add(dialled(rate, allKeys, row.level, row.twist, row.on, row.off), codectest.Noise(rate, row.noise, time.Second, 3))
			if rate == 8_000 {
				sound, _ = codec.ALaw{}.Decode(nil, codec.ALaw{}.Encode(nil, sound[:min(len(sound), codec.MaxFrame)]))
			}
			want := allKeys[:len(sound)/codectest.Samples(rate, row.on+row.off)]
			if got := string(dtmf.NewDetector(rate).Samples(nil, sound)); len(got) < len(want) || got[:len(want)] != want {
				t.Errorf("%s at %d Hz: heard %q, want %q", row.name, rate, got, want)
			}
		}
	}
}

// Talk-off: three minutes of voices and noise contain no key, though each of the frequencies is in them.
func TestTalkIsNoKey(t *testing.T) {
	heard := 0
	for seed := range uint64(6) {
		sound := codectest.Speech(8_000, 30*time.Second, 100+seed)
		keys := dtmf.NewDetector(8_000).Samples(nil, sound)
		heard += len(keys)
	}
	heard += len(dtmf.NewDetector(8_000).Samples(nil, codectest.Noise(8_000, -10, 30*time.Second, 1)))
	for _, tone := range [][]float64{{425}, {350, 440}, {440, 480}, {480, 620}, {697}, {1336}, {697, 770}, {1004}} {
		heard += len(dtmf.NewDetector(8_000).Samples(nil, codectest.Tones(8_000, tone, -10, time.Second)))
	}
	if heard > 0 {
		t.Errorf("%d keys heard where nobody pressed any", heard)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	d, r := dtmf.NewDetector(8_000), dtmf.Receiver{}
	sound, keys, payload := dialled(8_000, "5", -10, 0, 20*time.Millisecond, 0), make([]byte, 0, 8), []byte{5, 10, 0, 160}
	s := dtmf.NewSender('5', time.Second, 8_000, 160)
	packet := make([]byte, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		keys = d.Samples(keys[:0], sound)
		r.Packet(7, payload)
		packet, _, _ = s.Append(packet[:0])
	}); n != 0 {
		t.Errorf("%.1f allocations", n)
	}
}

func FuzzParseInfo(f *testing.F) {
	f.Add("application/dtmf-relay", []byte("Signal=5\r\nDuration=160\r\n"))
	f.Add("application/dtmf", []byte("#"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		key, length, err := dtmf.ParseInfo(kind, body)
		if (err == nil) != dtmf.Valid(key) || length < 0 || length > time.Minute+6*time.Second {
			t.Fatalf("%q for %v, %v", key, length, err)
		}
	})
}

func FuzzReceiver(f *testing.F) {
	f.Add(uint32(1), []byte{5, 10, 0, 160}, uint32(2), []byte{5, 0x8a, 0, 160})
	f.Fuzz(func(t *testing.T, t1 uint32, p1 []byte, t2 uint32, p2 []byte) {
		var r dtmf.Receiver
		a, okA := r.Packet(t1, p1)
		b, okB := r.Packet(t2, p2)
		if okA != dtmf.Valid(a) || okB != dtmf.Valid(b) || okA && okB && t1 == t2 {
			t.Fatalf("%q %v, %q %v", a, okA, b, okB)
		}
	})
}
