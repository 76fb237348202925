package record

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"linehall/internal/audit"
	"linehall/internal/database"
	"linehall/internal/secret"
	"linehall/media/codec"
	"linehall/media/codec/codectest"
	"linehall/media/dtmf"
	"linehall/media/prompt"
)

// studio is a recorder whose clock and disk are the test's; Run is not running: it drains when the test says so.
type studio struct {
	*Recorder

	t    *testing.T
	db   *sql.DB
	box  *secret.Box
	dir  string
	now  time.Duration
	size int64
	free int64

	mu     sync.Mutex
	events []audit.Event
}

func (s *studio) Append(_ context.Context, e audit.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	return nil
}

func (s *studio) recorded(action string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Action == action {
			n++
		}
	}
	return n
}

func newStudio(t *testing.T, change func(*Config)) *studio {
	t.Helper()
	s := &studio{t: t, dir: t.TempDir(), size: 100 << 30, free: 50 << 30, now: time.Hour}
	var err error
	if s.db, err = database.Open(t.Context(), filepath.Join(s.dir, "test.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.db.Close() })
	if err := database.Migrate(t.Context(), s.db, Schema()); err != nil {
		t.Fatal(err)
	}
	if s.box, err = secret.Open(s.dir); err != nil {
		t.Fatal(err)
	}
	c := DefaultConfig()
	c.Announce = NoAnnouncement
	c.Default = OnDemand
	if change != nil {
		change(&c)
	}
	s.open(c)
	return s
}

// open is what a start of the process does.
func (s *studio) open(c Config) {
	s.t.Helper()
	var err error
	s.Recorder, err = Open(s.t.Context(), Options{
		DB: s.db, Folder: filepath.Join(s.dir, "recordings"), Secrets: s.box, Audit: s, Config: c,
		Clock: func() int64 { return int64(s.now) }, Space: func() (int64, int64, error) { return s.size, s.free, nil },
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *studio) drainAll() {
	for _, n := range s.all() {
		s.drain(s.t.Context(), n)
	}
}

// talk is a recorded call between two telephones whose packets the test makes.
type talk struct {
	*Session

	s      *studio
	told   []Event
	phones [2]*telephone
}

type telephone struct {
	format    codec.Format
	encoder   codec.Encoder
	pt        byte
	sequence  uint16
	timestamp uint32
	ssrc      uint32
	sound     []int16
	sender    *dtmf.Sender
	muted     bool // sends nothing
	lost      bool // sends, and it does not come
}

func description(lines ...string) []byte {
	return []byte("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" + strings.Join(lines, "\r\n") + "\r\n")
}

var (
	aLawOnly = description("m=audio 4000 RTP/AVP 8 101", "a=rtpmap:101 telephone-event/8000")
	wideBand = description("m=audio 4000 RTP/AVP 9 8 101", "a=rtpmap:101 telephone-event/8000")
)

func (s *studio) call(id string, caller, callee codec.Format) *talk {
	s.t.Helper()
	k := &talk{s: s}
	k.Session = s.Session(Call{ID: id, From: Party{Extension: "8001", Site: "hq"}, To: Party{Extension: "2001", Site: "branch1"}},
		s.Policy(Party{Extension: "8001", Site: "hq"}, Party{Extension: "2001", Site: "branch1"}), 0, func(e Event) { k.told = append(k.told, e) })
	for i, f := range []codec.Format{caller, callee} {
		p := &telephone{format: f, encoder: f.NewEncoder(), pt: 8, sequence: 65500, timestamp: 4_000_000_000, ssrc: uint32(i + 1)}
		if f == codec.G722 {
			p.pt = 9
		}
		k.phones[i] = p
	}
	both := aLawOnly
	if caller == codec.G722 || callee == codec.G722 {
		both = wideBand
	}
	k.Describe(both, both)
	return k
}

// say lets time go by; both phones send what they have, or silence. It returns what goes on of the last packets.
func (k *talk) say(long time.Duration) (out [2][]byte) {
	for range int(long / codec.Frame) {
		k.s.now += codec.Frame
		for leg, p := range k.phones {
			if b := p.packet(); b != nil {
				k.Packet(leg, int64(k.s.now), b)
				out[leg] = b
			}
		}
	}
	k.s.drainAll()
	return out
}

func (p *telephone) packet() []byte {
	n := p.format.Samples(codec.Frame)
	frame := make([]int16, n)
	p.sound = p.sound[copy(frame, p.sound):]
	b := make([]byte, 12)
	b[0], b[1] = 0x80, p.pt
	binary.BigEndian.PutUint32(b[4:], p.timestamp)
	binary.BigEndian.PutUint32(b[8:], p.ssrc)
	p.timestamp += p.format.Ticks(n)
	if p.muted {
		return nil
	}
	p.sequence++
	binary.BigEndian.PutUint16(b[2:], p.sequence)
	if p.lost {
		return nil
	}
	if p.sender != nil {
		more := false
		b[1] = 101
		if b, _, more = p.sender.Append(b); !more {
			p.sender = nil
		}
		return b
	}
	return p.encoder.Encode(b, frame)
}

// heard returns what both parties said, by its WAV file.
func (s *studio) heard(id string) (rate int, caller, callee []int16) {
	s.t.Helper()
	sound, err := s.Sound(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	defer sound.Close()
	wav := sound.WAV()
	file, err := io.ReadAll(wav)
	if err != nil {
		s.t.Fatal(err)
	}
	if int64(len(file)) != wav.Size() {
		s.t.Errorf("the file has %d bytes, and says %d", len(file), wav.Size())
	}
	return unwav(s.t, file)
}

func unwav(t *testing.T, file []byte) (rate int, left, right []int16) {
	t.Helper()
	if len(file) < 44 || string(file[:4]) != "RIFF" || binary.LittleEndian.Uint32(file[40:]) != uint32(len(file)-44) {
		t.Fatalf("no WAV file: %q", file[:min(44, len(file))])
	}
	for b := file[44:]; len(b) >= 4; b = b[4:] {
		left = append(left, int16(binary.LittleEndian.Uint16(b)))
		right = append(right, int16(binary.LittleEndian.Uint16(b[2:])))
	}
	return int(binary.LittleEndian.Uint32(file[24:])), left, right
}

func part(samples []int16, rate int, from, to time.Duration) []int16 {
	return samples[codectest.Samples(rate, from):codectest.Samples(rate, to)]
}

// Both parties are heard, each on its side, at the right time, in the width of the better codec; silence where nothing came.
func TestBothPartiesAreHeard(t *testing.T) {
	s := newStudio(t, nil)
	k := s.call("A", codec.PCMA, codec.G722)
	if err := k.Start(t.Context(), "phone 8001", -1, false); err != nil {
		t.Fatal(err)
	}
	caller, callee := k.phones[0], k.phones[1]
	caller.sound = codectest.Tone(8_000, 440, -10, 4*time.Second)
	k.say(time.Second)
	callee.sound = codectest.Tone(16_000, 1030, -10, time.Second)
	k.say(time.Second)
	caller.muted = true
	k.say(time.Second)
	caller.muted = false
	k.say(500 * time.Millisecond)
	caller.lost = true
	k.say(100 * time.Millisecond)
	caller.lost = false
	k.say(400 * time.Millisecond)
	k.Close("hung up")
	k.s.drainAll()

	rate, a, b := s.heard("A-1")
	if rate != 16_000 || len(a) != 4*rate {
		t.Fatalf("%d samples at %d Hz", len(a), rate)
	}
	for _, row := range []struct {
		what     string
		samples  []int16
		from, to time.Duration
		hz       float64 // 0: silence
	}{
		{"caller at first", a, 50 * time.Millisecond, time.Second, 440},
		{"callee before it speaks", b, 0, 980 * time.Millisecond, 0},
		{"callee", b, 1100 * time.Millisecond, 1950 * time.Millisecond, 1030},
		{"caller beside it", a, 1100 * time.Millisecond, 1950 * time.Millisecond, 440},
		{"caller muted", a, 2060 * time.Millisecond, 2980 * time.Millisecond, 0},
		{"caller again", a, 3060 * time.Millisecond, 3480 * time.Millisecond, 440},
		{"lost packets", a, 3560 * time.Millisecond, 3580 * time.Millisecond, 0},
		{"caller at last", a, 3660 * time.Millisecond, 3950 * time.Millisecond, 440},
		{"callee after it spoke", b, 2100 * time.Millisecond, 3900 * time.Millisecond, 0},
	} {
		samples := part(row.samples, rate, row.from, row.to)
		level := codectest.Level(samples)
		if row.hz == 0 {
			if level > -45 {
				t.Errorf("%s: %.0f dBm0", row.what, level)
			}
			continue
		}
		if p := codectest.Tonality(samples, rate, row.hz); p < 0.97 {
			t.Errorf("%s: %.3f of it is %v Hz, at %.0f dBm0", row.what, p, row.hz, level)
		}
	}
	i, err := s.Get(t.Context(), "A-1")
	if err != nil || i.Seconds != 4 || i.Packets[0] != 145 || i.Packets[1] != 200 || i.StartedBy != "phone 8001" || i.Why != "hung up" || i.Missing != 0 {
		t.Errorf("%+v, %v", i, err)
	}
	if s.recorded("recording.start") != 1 || s.recorded("recording.stop") != 1 {
		t.Errorf("on record: %+v", s.events)
	}
	if n := len(k.Recordings()); n != 1 {
		t.Errorf("%d recordings", n)
	}
}

// Any part of a file is what it is in the whole, in any order.
func TestAnyPlaceCanBeRead(t *testing.T) {
	s := newStudio(t, nil)
	k := s.call("A", codec.PCMA, codec.PCMA)
	if err := k.Start(t.Context(), "x", -1, false); err != nil {
		t.Fatal(err)
	}
	k.phones[0].sound, k.phones[1].sound = codectest.Speech(8_000, 3*time.Second, 1), codectest.Speech(8_000, 3*time.Second, 2)
	k.say(3 * time.Second)
	k.Close("")
	s.drainAll()
	sound, err := s.Sound(t.Context(), "A-1")
	if err != nil {
		t.Fatal(err)
	}
	defer sound.Close()
	wav := sound.WAV()
	whole, err := io.ReadAll(wav)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 43, 44, 45, 47, 50_001, 20_003, 20_002, 20_005, wav.Size() - 3} {
		if _, err := wav.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1001)
		n, err := io.ReadFull(wav, b)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
		if want := whole[at:min(at+1001, int64(len(whole)))]; !bytes.Equal(b[:n], want) {
			t.Errorf("at %d: %d bytes, not those of the whole", at, n)
		}
	}
}

// After a crash the recording is there up to the last drain, closed; the same call goes on in another part.
func TestCrash(t *testing.T) {
	s := newStudio(t, nil)
	k := s.call("A", codec.PCMA, codec.PCMA)
	if err := k.Start(t.Context(), "policy all", -1, false); err != nil {
		t.Fatal(err)
	}
	k.phones[0].sound = codectest.Tone(8_000, 440, -10, 10*time.Second)
	k.say(2 * time.Second)
	// The process dies in the middle of a write.
	path, err := filepath.Glob(filepath.Join(s.dir, "recordings", "*", "A-1.rec"))
	if err != nil || len(path) != 1 {
		t.Fatalf("files: %v, %v", path, err)
	}
	f, err := os.OpenFile(path[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write([]byte{200, 1, 0, 0, 99, 0, 0, 0, 1, 2, 3})
	f.Close()

	s.open(DefaultConfig())
	i, err := s.Get(t.Context(), "A-1")
	if err != nil || i.EndedAt == nil || i.Seconds < 1.9 || i.Packets[0] != 100 || !strings.Contains(i.Why, "interrupted") {
		t.Fatalf("%+v, %v", i, err)
	}
	rate, a, _ := s.heard("A-1")
	if p := codectest.Tonality(part(a, rate, 100*time.Millisecond, 1900*time.Millisecond), rate, 440); p < 0.97 {
		t.Errorf("%.3f of it is the tone", p)
	}

	again := s.Session(Call{ID: "A"}, Policy{Mode: Always}, 1, func(Event) {})
	again.Describe(aLawOnly, aLawOnly)
	if err := again.Start(t.Context(), "policy all", -1, true); err != nil {
		t.Fatal(err)
	}
	if ids := again.Recordings(); len(ids) != 1 || ids[0] != "A-2" {
		t.Errorf("goes on as %v", ids)
	}
	again.Close("")
	s.drainAll()
}

// Encrypted: nothing of what was said or of who said it is on the disk; an altered file is found; in clear it is as it was.
func TestEncryption(t *testing.T) {
	for _, encrypt := range []bool{true, false} {
		t.Run(fmt.Sprint(encrypt), func(t *testing.T) {
			s := newStudio(t, func(c *Config) { c.Encrypt = encrypt })
			k := s.call("A", codec.PCMA, codec.PCMA)
			if err := k.Start(t.Context(), "secretary", -1, false); err != nil {
				t.Fatal(err)
			}
			k.phones[0].sound = codectest.Tone(8_000, 440, -10, 2*time.Second)
			var said []byte
			for range 5 {
				out := k.say(200 * time.Millisecond)
				said = out[0][12:]
			}
			k.Close("")
			s.drainAll()
			path := s.find(&Info{ID: "A-1"})
			file, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if found := bytes.Contains(file, said[:20]) || bytes.Contains(file, []byte("8001")); found == encrypt {
				t.Errorf("encrypted %v, and readable %v", encrypt, found)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			file[len(file)/2] ^= 1
			if err := os.WriteFile(path, file, 0o600); err != nil {
				t.Fatal(err)
			}
			sound, err := s.Sound(t.Context(), "A-1")
			if err != nil || !sound.Damaged() || sound.Length() == 0 {
				t.Errorf("an altered file: %v", err)
			}
			if err == nil {
				sound.Close()
			}
			if !encrypt {
				return
			}
			if s.o.Secrets, err = secret.Open(t.TempDir()); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Sound(t.Context(), "A-1"); !errors.Is(err, ErrDamaged) {
				t.Errorf("with another key: %v", err)
			}
		})
	}
}

// Keys are heard as tones where they are kept; where they are omitted neither events nor tones are on the disk, and the
// voice around them is.
func TestKeys(t *testing.T) {
	for _, keys := range []Keys{KeepKeys, OmitKeys} {
		t.Run(string(keys), func(t *testing.T) {
			s := newStudio(t, func(c *Config) { c.Keys, c.Encrypt = keys, false })
			k := s.call("A", codec.PCMA, codec.PCMA)
			if err := k.Start(t.Context(), "x", -1, false); err != nil {
				t.Fatal(err)
			}
			caller, callee := k.phones[0], k.phones[1]
			caller.sound = codectest.Tone(8_000, 440, -10, time.Second)
			k.say(time.Second)
			caller.sender = dtmf.NewSender('5', 200*time.Millisecond, 8_000, 160)
			tones, narrow := prompt.NewKey('7', 200*time.Millisecond), codec.NewResampler(16_000, 8_000)
			for frame := make([]int16, 320); tones.Frame(nil, frame, nil); {
				callee.sound = append(callee.sound, narrow.Resample(nil, frame)...)
			}
			k.say(time.Second)
			caller.sound = codectest.Tone(8_000, 440, -10, time.Second)
			k.say(time.Second)
			k.Close("")
			s.drainAll()
			if !slices.ContainsFunc(k.told, func(e Event) bool { return e.Key == '5' && e.Leg == 0 }) {
				t.Errorf("told %+v", k.told)
			}
			rate, a, b := s.heard("A-1")
			detected := string(dtmf.NewDetector(rate).Samples(nil, a)) + string(dtmf.NewDetector(rate).Samples(nil, b))
			if want := map[Keys]string{KeepKeys: "57", OmitKeys: ""}[keys]; detected != want {
				t.Errorf("keys %q are heard, want %q", detected, want)
			}
			for _, at := range []time.Duration{100 * time.Millisecond, 2100 * time.Millisecond} {
				if p := codectest.Tonality(part(a, rate, at, at+800*time.Millisecond), rate, 440); p < 0.95 {
					t.Errorf("%v: %.3f of it is the voice", at, p)
				}
			}
		})
	}
}

// Both parties hear the announcement, in the other one's packets, and what they said meanwhile is not recorded.
func TestAnnouncement(t *testing.T) {
	s := newStudio(t, func(c *Config) { c.Announce = ToneAnnouncement })
	k := s.call("A", codec.PCMA, codec.G722)
	if err := k.Start(t.Context(), "x", -1, false); err != nil {
		t.Fatal(err)
	}
	k.phones[0].sound = codectest.Tone(8_000, 440, -10, 10*time.Second)
	k.phones[1].muted = true
	decoders := [2]codec.Decoder{codec.PCMA.NewDecoder(), codec.G722.NewDecoder()}
	var heard [2][]int16
	listen := func(frames int) {
		for range frames {
			out := k.say(codec.Frame)
			for leg, b := range out {
				if b != nil {
					heard[leg], _ = decoders[leg].Decode(heard[leg], b[12:])
				}
			}
		}
	}
	listen(100)
	if k.State() != Announcing {
		t.Errorf("state %s while one party has heard nothing", k.State())
	}
	k.phones[1].muted = false
	listen(100)
	if k.State() != On || !slices.Contains(k.told, Event{State: On}) {
		t.Errorf("state %s, told %+v", k.State(), k.told)
	}
	for leg, rate := range []int{8_000, 16_000} {
		if p := codectest.Tonality(part(heard[leg], rate, 50*time.Millisecond, 350*time.Millisecond), rate, 1400); p < 0.95 {
			t.Errorf("packets of leg %d: %.3f is the announcement", leg, p)
		}
	}
	if p := codectest.Tonality(part(heard[0], 8_000, 2*time.Second, 3*time.Second), 8_000, 440); p < 0.97 {
		t.Errorf("afterwards %.3f of it is the voice", p)
	}
	k.Close("")
	s.drainAll()
	rate, a, _ := s.heard("A-1")
	if len(a) < rate/2 || len(a) > rate {
		t.Errorf("%d samples at %d recorded", len(a), rate)
	}
	if p := codectest.Tonality(part(a, rate, 50*time.Millisecond, 450*time.Millisecond), rate, 440); p < 0.97 {
		t.Errorf("recorded: %.3f is the voice", p)
	}
	if i, _ := s.Get(t.Context(), "A-1"); !i.Announced {
		t.Errorf("%+v", i)
	}
}

// What cannot be announced is not recorded; nor is what has no sound.
func TestRefusals(t *testing.T) {
	s := newStudio(t, func(c *Config) { c.Announce = ToneAnnouncement })
	k := s.call("A", codec.PCMA, codec.PCMA)
	opus := description("m=audio 4000 RTP/AVP 111", "a=rtpmap:111 opus/48000/2")
	k.Describe(opus, opus)
	if err := k.Start(t.Context(), "x", -1, false); !errors.Is(err, ErrUnannounced) {
		t.Errorf("Opus: %v", err)
	}
	k.Describe(description("m=image 4000 udptl t38"), opus)
	if err := k.Start(t.Context(), "x", -1, false); !errors.Is(err, ErrNoAudio) {
		t.Errorf("a fax: %v", err)
	}
	if err := k.Stop("x", "", -1); !errors.Is(err, ErrNotRecording) {
		t.Errorf("stop: %v", err)
	}
	if list, err := s.List(t.Context(), Filter{}); err != nil || len(list) > 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// Packets of a codec that cannot be decoded are kept and can be had; it is said that nothing is heard.
func TestUnknownCodec(t *testing.T) {
	s := newStudio(t, nil)
	k := s.call("A", codec.PCMA, codec.PCMA)
	g729 := description("m=audio 4000 RTP/AVP 18")
	k.Describe(g729, g729)
	for _, p := range k.phones {
		p.pt = 18
	}
	if err := k.Start(t.Context(), "x", -1, false); err != nil {
		t.Fatal(err)
	}
	k.say(time.Second)
	k.Close("")
	s.drainAll()
	if i, err := s.Get(t.Context(), "A-1"); err != nil || !slices.Equal(i.Silent, []string{"G729", "G729"}) || i.Packets[0] != 50 {
		t.Errorf("%+v, %v", i, err)
	}
	if _, err := s.Sound(t.Context(), "A-1"); !errors.Is(err, ErrSilent) {
		t.Errorf("sound: %v", err)
	}
	var dump bytes.Buffer
	if err := s.Dump(t.Context(), &dump, "A-1", 1); err != nil || dump.Len() < 50*(8+12+160) || !bytes.HasPrefix(dump.Bytes(), []byte("#!rtpplay1.0 ")) {
		t.Errorf("dump: %d bytes, %v", dump.Len(), err)
	}
}

// A full disk stops the recording and nothing else; it goes on in the same file when there is room, silence between.
func TestFullDisk(t *testing.T) {
	s := newStudio(t, nil)
	k := s.call("A", codec.PCMA, codec.PCMA)
	if err := k.Start(t.Context(), "x", -1, false); err != nil {
		t.Fatal(err)
	}
	k.phones[0].sound = codectest.Tone(8_000, 440, -10, 10*time.Second)
	k.say(time.Second)
	s.free = 1000 << 20
	s.look()
	k.say(time.Second)
	if !s.Blocked() || k.State() != Suspended {
		t.Errorf("blocked %v, state %s", s.Blocked(), k.State())
	}
	other := s.call("B", codec.PCMA, codec.PCMA)
	if err := other.Start(t.Context(), "x", -1, false); !errors.Is(err, ErrBlocked) {
		t.Errorf("another one: %v", err)
	}
	s.free = 1040 << 20 // not enough yet
	if s.look(); !s.Blocked() {
		t.Error("back at once")
	}
	s.free = 2000 << 20
	s.look()
	k.say(time.Second)
	k.Close("")
	s.drainAll()
	rate, a, _ := s.heard("A-1")
	for at, talks := range map[time.Duration]bool{100: true, 1100: false, 2100: true} {
		samples := part(a, rate, at*time.Millisecond, (at+800)*time.Millisecond)
		if p := codectest.Tonality(samples, rate, 440); (p > 0.97) != talks && (talks || codectest.Level(samples) > -50) {
			t.Errorf("at %d ms: %.3f", at, p)
		}
	}
	if i, _ := s.Get(t.Context(), "A-1"); i.Missing != 100 || i.Packets[0] != 100 {
		t.Errorf("%+v", i)
	}
}

// tight is a file on a disk that fills up in the middle of a write.
type tight struct {
	disk

	left int
}

func (f *tight) Write(b []byte) (int, error) {
	if len(b) <= f.left {
		f.left -= len(b)
		return f.disk.Write(b)
	}
	n, _ := f.disk.Write(b[:f.left])
	f.left = 0
	return n, errors.New("no space left on device")
}

// A write that fails half-way leaves a whole file, and later ones are read behind it.
func TestFailedWrite(t *testing.T) {
	s := newStudio(t, nil)
	k := s.call("A", codec.PCMA, codec.PCMA)
	if err := k.Start(t.Context(), "x", -1, false); err != nil {
		t.Fatal(err)
	}
	k.phones[0].sound = codectest.Tone(8_000, 440, -10, 10*time.Second)
	k.say(time.Second)
	n := s.all()[0]
	small := &tight{disk: n.file.file, left: 700}
	n.file.file = small
	k.say(200 * time.Millisecond)
	if !s.Blocked() {
		t.Error("not blocked")
	}
	small.left, n.retry = 1<<30, time.Time{}
	s.look()
	k.say(time.Second)
	k.Close("")
	s.drainAll()
	sound, err := s.Sound(t.Context(), "A-1")
	if err != nil || sound.Damaged() {
		t.Fatalf("damaged: %v", err)
	}
	sound.Close()
	rate, a, _ := s.heard("A-1")
	if p := codectest.Tonality(part(a, rate, 1300*time.Millisecond, 2100*time.Millisecond), rate, 440); p < 0.97 {
		t.Errorf("afterwards %.3f of it is the voice", p)
	}
}

// Recordings go when they are old, or when all take too much, the oldest first; each is on record.
func TestRetention(t *testing.T) {
	s := newStudio(t, func(c *Config) { c.KeepDays, c.MaxShare = 30, 0.5 })
	now := time.Now()
	for i := range 5 {
		k := s.call(fmt.Sprint(i), codec.PCMA, codec.PCMA)
		if err := k.Start(t.Context(), "x", -1, false); err != nil {
			t.Fatal(err)
		}
		k.say(time.Second)
		if i < 4 {
			k.Close("")
			s.drainAll()
			info, err := s.Get(t.Context(), fmt.Sprintf("%d-1", i))
			if err != nil {
				t.Fatal(err)
			}
			info.StartedAt = now.AddDate(0, 0, -31+i)
			if err := s.update(t.Context(), &info); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Delete(t.Context(), "4-1"); !errors.Is(err, ErrInUse) {
		t.Errorf("one that goes on: %v", err)
	}
	left := func() (ids []string) {
		list, err := s.List(t.Context(), Filter{})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			ids = append(ids, i.ID)
		}
		slices.Sort(ids)
		return ids
	}
	if err := s.Tidy(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if got := left(); !slices.Equal(got, []string{"1-1", "2-1", "3-1", "4-1"}) {
		t.Errorf("after thirty days: %v", got)
	}
	one, _ := s.Get(t.Context(), "3-1")
	s.size = 3 * one.Bytes
	if err := s.Tidy(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if got := left(); !slices.Equal(got, []string{"3-1", "4-1"}) {
		t.Errorf("on a small disk: %v", got)
	}
	if n := s.recorded("recording.delete"); n != 3 {
		t.Errorf("%d deletions on record", n)
	}
	files, _ := filepath.Glob(filepath.Join(s.dir, "recordings", "*", "*.rec"))
	if len(files) != 2 {
		t.Errorf("files: %v", files)
	}
}

// The clocks of two telephones differ by 0.02 %: after ten minutes what they say at the same moment is still heard so.
func TestClocksDrift(t *testing.T) {
	line := newTrack(8_000)
	line.describe([]Format{{8, "PCMA", 8000}})
	const packets = 30_000
	var last int64
	for i := range packets {
		at := int64(float64(i)*20_000*1.0002) + int64(i%7)*1000
		b := make([]byte, 12, 172)
		b[0], b[1] = 0x80, 8
		binary.BigEndian.PutUint16(b[2:], uint16(i))
		binary.BigEndian.PutUint32(b[4:], uint32(160*i))
		frame := make([]int16, 160)
		for j := range frame {
			frame[j] = int16(i%2*2-1) * 1000
		}
		line.put(at, codec.ALaw{}.Encode(b, frame))
		last = at
		if i%50 == 0 && i > 100 {
			end := (at - settle) * 8 / 1000
			line.takeUntil(end, make([]int16, 2*(end-line.begin)), 0)
		}
	}
	line.flush()
	ends := line.begin + int64(len(line.out))
	if late := last*8/1000 - ends; late < -400 || late > 480 {
		t.Errorf("the last packet came %d samples after it was played", late)
	}
}

func TestLookingOnDoesNotAllocate(t *testing.T) {
	s := newStudio(t, nil)
	k := s.call("A", codec.PCMA, codec.PCMA)
	b := k.phones[0].packet()
	if n := testing.AllocsPerRun(100, func() { k.Packet(0, 1, b) }); n != 0 {
		t.Errorf("%.1f allocations for a packet that is not recorded", n)
	}
	if err := k.Start(t.Context(), "x", 0, false); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { k.Packet(0, 1, b) }); n != 0 {
		t.Errorf("%.1f allocations for a recorded packet", n)
	}
	k.Close("")
	s.drainAll()
}

// Nobody waits for the disk: a ring that is full loses packets and says how many.
func TestFullRing(t *testing.T) {
	var r ring
	header, payload := make([]byte, 12), make([]byte, 160)
	taken := 0
	for i := range 2000 {
		payload[0] = byte(i)
		if r.push(i%2, int64(i), header, payload) {
			taken++
		}
	}
	if r.lost.Load() != uint64(2000-taken) || taken*183 > ringSize || (taken+1)*183 <= ringSize {
		t.Errorf("%d taken, %d lost", taken, r.lost.Load())
	}
	for i := range taken {
		leg, at, b, ok := r.pop(nil)
		if !ok || leg != i%2 || at != int64(i) || len(b) != 172 || b[12] != byte(i) {
			t.Fatalf("packet %d: leg %d, %d, %d bytes", i, leg, at, len(b))
		}
	}
	if _, _, _, ok := r.pop(nil); ok {
		t.Error("more than was put in")
	}
}

// The first rule that is about either party decides.
func TestRules(t *testing.T) {
	s := newStudio(t, func(c *Config) {
		c.Rules = []RuleConfig{
			{Name: "leaders", Classes: []string{"leader"}, Mode: Never},
			{Name: "duty", Extensions: []string{"800X"}, Sites: []string{"hq"}, Mode: Required, Announce: NoAnnouncement, Keys: OmitKeys},
			{Name: "outside", Trunks: []string{"*"}, Mode: Always},
		}
		c.Default = OnDemand
		c.Announce = ToneAnnouncement
	})
	for _, row := range []struct {
		a, b      Party
		want      Mode
		announced bool
	}{
		{Party{Extension: "8001", Site: "hq"}, Party{Extension: "2001"}, Required, false},
		{Party{Extension: "2001"}, Party{Extension: "8009", Site: "hq"}, Required, false},
		{Party{Extension: "8001", Site: "branch1"}, Party{Extension: "2001"}, OnDemand, true},
		{Party{Extension: "8001", Site: "hq"}, Party{Extension: "2001", Class: "leader"}, Never, true},
		{Party{Extension: "13800000000", Trunk: "gateway"}, Party{Extension: "2001"}, Always, true},
		{Party{Extension: "8001", Trunk: "gateway", Site: "hq"}, Party{Extension: "2001"}, Always, true},
		{Party{Extension: "80012", Site: "hq"}, Party{Extension: "2001"}, OnDemand, true},
	} {
		if p := s.Policy(row.a, row.b); p.Mode != row.want || p.Announces() != row.announced {
			t.Errorf("%+v to %+v: %+v", row.a, row.b, p)
		}
	}
}

// What Run does at its end: everything is on the disk, closed.
func TestRun(t *testing.T) {
	s := newStudio(t, nil)
	k := s.call("A", codec.PCMA, codec.PCMA)
	if err := k.Start(t.Context(), "x", -1, false); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		s.now += codec.Frame
		k.Packet(0, int64(s.now), k.phones[0].packet())
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if i, err := s.Get(t.Context(), "A-1"); err != nil || i.Packets[0] != 10 || i.EndedAt == nil {
		t.Errorf("%+v, %v", i, err)
	}
	if k.State() != Off || s.Active() != 0 {
		t.Errorf("state %s, %d active", k.State(), s.Active())
	}
	k.Close("")
}

// ffmpeg reads our FLAC files, and finds in them what is in the WAV files.
func TestFLAC(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal("ffmpeg is missing: apt-get install ffmpeg")
	}
	for name, sound := range map[string][2][]int16{
		"speech":       {codectest.Speech(8_000, 3*time.Second, 1), codectest.Speech(8_000, time.Second, 2)},
		"noise":        {codectest.Noise(8_000, 3, 3*time.Second, 1), codectest.Tone(8_000, 3900, 3, 3*time.Second)},
		"silence":      {nil, nil},
		"a short call": {codectest.Tone(8_000, 440, -10, 20*time.Millisecond), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStudio(t, nil)
			k := s.call("A", codec.PCMA, codec.PCMA)
			if err := k.Start(t.Context(), "x", -1, false); err != nil {
				t.Fatal(err)
			}
			k.phones[0].sound, k.phones[1].sound = sound[0], sound[1]
			long := 3 * time.Second
			if name == "a short call" {
				long = codec.Frame
			}
			k.say(long)
			k.Close("")
			s.drainAll()
			one, err := s.Sound(t.Context(), "A-1")
			if err != nil {
				t.Fatal(err)
			}
			defer one.Close()
			var file bytes.Buffer
			if err := one.WriteFLAC(&file); err != nil {
				t.Fatal(err)
			}
			command := exec.CommandContext(t.Context(), ffmpeg, "-v", "error", "-xerror", "-err_detect", "crccheck+bitstream+buffer+explode", "-f", "flac", "-i", "-", "-f", "s16le", "-")
			command.Stdin, command.Stderr = bytes.NewReader(file.Bytes()), t.Output()
			got, err := command.Output()
			if err != nil {
				t.Fatal(err)
			}
			wav, err := io.ReadAll(one.WAV())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, wav[44:]) {
				t.Errorf("%d bytes of sound, want %d, and the same", len(got), len(wav)-44)
			}
			t.Logf("%d bytes of FLAC for %d of WAV", file.Len(), len(wav))
		})
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(magic + "\x02\x00\x00\x00{}\x0c\x00\x00\x00\x01\x00\x00\x00abcdefghijkl"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x.rec")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := openFile(path, nil)
		if err != nil {
			return
		}
		defer r.close()
		for {
			if _, _, _, err := r.next(); err != nil {
				return
			}
		}
	})
}

// A call that was held for hours is read a second at a time, and a key whose timestamp lies days ahead is played when it
// came: neither takes memory for what nobody said.
func TestLongSilenceTakesNoMemory(t *testing.T) {
	s := newStudio(t, nil)
	k := s.call("held", codec.PCMA, codec.PCMA)
	if err := k.Start(t.Context(), "test", -1, false); err != nil {
		t.Fatal(err)
	}
	k.say(2 * time.Second)
	s.now += 3 * time.Hour
	k.phones[0].timestamp += 3 * 3600 * 8000
	k.say(time.Second)
	key := []byte{0x80, 101, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 5, 10, 3, 32}
	binary.BigEndian.PutUint16(key[2:], k.phones[0].sequence+1)
	binary.BigEndian.PutUint32(key[4:], k.phones[0].timestamp+1<<30)
	k.Packet(0, int64(s.now), key)
	k.phones[0].sequence++
	k.say(time.Second)
	if err := k.Stop("test", "", -1); err != nil {
		t.Fatal(err)
	}
	s.drainAll()
	sound, err := s.Sound(t.Context(), "held-1")
	if err != nil {
		t.Fatal(err)
	}
	defer sound.Close() //nolint:errcheck // only read
	if got := sound.Length(); got < 3*time.Hour || got > 3*time.Hour+10*time.Second {
		t.Errorf("it lasts %v", got)
	}
	total, some := int64(0), make([]int16, 4096)
	for {
		n, err := sound.read(some)
		total += int64(n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, track := range sound.tracks {
			if most := 4 * sound.rate; cap(track.out) > 2*most || cap(sound.buffer) > most {
				t.Fatalf("%d and %d samples are in memory", cap(track.out), cap(sound.buffer))
			}
		}
	}
	if total != 2*sound.length {
		t.Errorf("%d samples, want %d", total, 2*sound.length)
	}
}
