package program

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"linehall/internal/audit"
	"linehall/internal/database"
	"linehall/sfu/forward"
	"linehall/sfu/room"
)

// box seals by turning octets around; it only has to differ from what is in clear.
type box struct{}

func (box) Seal(purpose string, plain []byte) ([]byte, error) {
	out := append([]byte(purpose+"|"), plain...)
	return append(out, 0x5a), nil
}

func (box) Open(purpose string, sealed []byte) ([]byte, error) {
	plain, ok := bytes.CutPrefix(sealed, []byte(purpose+"|"))
	if !ok {
		return nil, errors.New("another key")
	}
	return plain[:len(plain)-1], nil
}

type ledger struct{ actions []string }

func (l *ledger) Append(_ context.Context, e audit.Event) error {
	l.actions = append(l.actions, e.Action)
	return nil
}

func newService(t *testing.T, folder string, free *int64, encrypt bool) *Service {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(folder, "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, Schema()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{
		DB: db, Folder: filepath.Join(folder, "files"), Secrets: box{}, Audit: &ledger{},
		Policy: Policy{Encrypt: encrypt, KeepDays: 30, MaxShare: 0.5, Reserve: 100},
		Space:  func() (int64, int64, error) { return 100 << 30, *free, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runFor runs the service until the test ends, or stop is called.
func (s *Service) runFor(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// stream is what a publisher sends, through the forwarder.
type stream struct {
	uplink  *forward.Uplink
	packets func([]byte)
	ssrc    uint32
	payload uint8
	seq     uint16
}

type nobody struct{}

func (nobody) Begin() {}
func (nobody) Hold()  {}
func (nobody) End()   {}

func newStream(t *testing.T, kind, codec string, ssrc uint32) *stream {
	t.Helper()
	d, err := forward.Parse("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=" + kind + " 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=rtpmap:96 " + codec + "\r\na=ssrc:" + strconv.Itoa(int(ssrc)) + " cname:x\r\n")
	if err != nil {
		t.Fatal(err)
	}
	u := forward.NewUplink(forward.UplinkOptions{Batch: nobody{}, Send: func([]rtcp.Packet) error { return nil }})
	u.Describe(d)
	return &stream{uplink: u, packets: u.RTP(ssrc), ssrc: ssrc, payload: 96}
}

func (s *stream) send(timestamp uint32, marker bool, payload []byte) {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, s.payload
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], s.seq)
	binary.BigEndian.PutUint32(b[4:], timestamp)
	binary.BigEndian.PutUint32(b[8:], s.ssrc)
	s.seq++
	s.packets(append(b, payload...))
}

// pictures reads frames that ffmpeg has made of one of its test sources: IVF.
func pictures(t *testing.T, seconds int) [][]byte {
	t.Helper()
	raw, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=c=green:s=160x90:r=10:d="+strconv.Itoa(seconds), "-c:v", "libvpx", "-b:v", "100k", "-f", "ivf", "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	var list [][]byte
	for b := raw[32:]; len(b) >= 12; {
		n := int(binary.LittleEndian.Uint32(b))
		list = append(list, b[12:12+n])
		b = b[12+n:]
	}
	return list
}

// voices reads Opus packets of a tone, from Ogg (RFC 3533): ours are shorter than a page's segments can tell.
func voices(t *testing.T, seconds int) [][]byte {
	t.Helper()
	raw, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=f=440:d="+strconv.Itoa(seconds), "-c:a", "libopus", "-b:a", "32k", "-f", "ogg", "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg: %v", err)
	}
	var list [][]byte
	var packet []byte
	for len(raw) >= 27 {
		n := int(raw[26])
		body := raw[27+n:]
		for _, size := range raw[27 : 27+n] {
			packet = append(packet, body[:size]...)
			body = body[size:]
			if size < 255 {
				list = append(list, packet)
				packet = nil
			}
		}
		raw = body
	}
	return list[2:] // without head and comment
}

// A voice and a picture are recorded while they come. After the process is gone without a word the file has all but the last
// moment, gets its index, and what is recorded from then on is the next part of the same programme.
func TestRecordingOutlivesACrash(t *testing.T) {
	for name, encrypt := range map[string]bool{"in clear": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder, free := t.TempDir(), int64(50<<30)
			s := newService(t, folder, &free, encrypt)
			stop := s.runFor(t)
			p := room.Programme{ID: "9000-x-1", Room: "9000", RoomName: "Weekly", Meeting: "m", Since: time.Now(), By: room.Person{Member: "hq"}}
			play(t, s, p, 3)
			crashed := copyFolder(t, folder)
			stop()

			again := newService(t, crashed, &free, encrypt)
			play2 := again.runFor(t)
			eventually(t, func() bool {
				parts, err := again.Parts(t.Context(), p.ID)
				return err == nil && len(parts) == 1 && parts[0].EndedAt != nil && parts[0].CutOff
			})
			r := play(t, again, p, 2)
			r.End("stopped")
			eventually(t, func() bool {
				i, err := again.Get(t.Context(), p.ID)
				return err == nil && i.EndedAt != nil && again.Active() == 0
			})
			parts, err := again.Parts(t.Context(), p.ID)
			if err != nil || len(parts) != 2 || parts[1].CutOff || parts[1].Number != 2 {
				t.Fatalf("%+v %v", parts, err)
			}
			for i, least := range []float64{1, 1.5} {
				check(t, again, p.ID, parts[i], least, encrypt)
			}
			if encrypt {
				export(t, again, p.ID)
			}
			play2()
		})
	}
}

// play feeds a recording for some seconds of real time and returns it.
func play(t *testing.T, s *Service, p room.Programme, seconds int) room.Recording {
	t.Helper()
	camera, microphone := newStream(t, "video", "VP8/90000", 1), newStream(t, "audio", "opus/48000/2", 2)
	feed := room.Feed{Video: forward.NewSlot("v", webrtc.RTPCodecTypeVideo, nil), Audio: []*forward.Slot{forward.NewSlot("a", webrtc.RTPCodecTypeAudio, nil), forward.NewSlot("b", webrtc.RTPCodecTypeAudio, nil)}}
	r := s.Record(p, feed, func(why string) { t.Errorf("lost: %s", why) })
	r.Cast(room.Cast{Picture: room.Person{Member: "hq"}})
	frames, packets := pictures(t, seconds), voices(t, seconds)
	camera.send(0, true, []byte{0x10, 1}) // the layers come into being
	microphone.send(0, true, packets[0])
	feed.Video.Follow(camera.uplink.Track(forward.Camera).Layer(""))
	feed.Audio[0].Follow(microphone.uplink.Track(forward.Microphone).Layer(""))
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; i < len(packets) && i/5 < len(frames); i++ {
		<-tick.C
		microphone.send(uint32(960*(i+1)), false, packets[i])
		if i%5 == 0 {
			sendFrame(camera, uint32(9000*(i/5+1)), frames[i/5])
		}
	}
	return r
}

// sendFrame puts a frame into packets of at most 500 octets (RFC 7741 §4.2: S and PID 0 at its beginning).
func sendFrame(s *stream, timestamp uint32, frame []byte) {
	for first := true; len(frame) > 0; first = false {
		n := min(len(frame), 500)
		head := byte(0)
		if first {
			head = 0x10
		}
		s.send(timestamp, n == len(frame), append([]byte{head}, frame[:n]...))
		frame = frame[n:]
	}
}

func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// check judges a part by ffmpeg, and its sound by its loudness.
func check(t *testing.T, s *Service, id string, p Part, least float64, encrypted bool) {
	t.Helper()
	file, err := s.Open(t.Context(), id, p.Number)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // only read
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := s.Get(t.Context(), id)
	onDisk, err := os.ReadFile(s.path(p.File, info.StartedAt))
	if err != nil || bytes.Contains(onDisk, []byte("A_OPUS")) == encrypted {
		t.Errorf("part %d in clear: %v, %v", p.Number, !encrypted, err)
	}
	name := filepath.Join(t.TempDir(), "part.mkv")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries", "format=duration", name).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe: %v: %s", err, out)
	}
	if seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64); err != nil || seconds < least {
		t.Errorf("part %d lasts %s s, not %v", p.Number, strings.TrimSpace(string(out)), least)
	}
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-xerror", "-i", name, "-map", "0", "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("ffmpeg: %v: %.1000s", err, out)
	}
	wave, err := s.Sound(t.Context(), id, p.Number)
	if err != nil {
		t.Fatal(err)
	}
	defer wave.Close() //nolint:errcheck // only read
	whole, err := io.ReadAll(wave)
	if err != nil || int64(len(whole)) < int64(wavHead+least*2*soundRate) {
		t.Fatalf("%d octets of sound: %v", len(whole), err)
	}
	// Another reader that jumps hears the same.
	at := int64(wavHead + 2*soundRate)
	if _, err := wave.Seek(at, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	some := make([]byte, 3200)
	if _, err := io.ReadFull(wave, some); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(some, whole[at:at+int64(len(some))]) {
		t.Errorf("part %d: who jumps hears something else", p.Number)
	}
	loud := 0
	for i := wavHead; i+1 < len(whole); i += 2 {
		if v := int16(binary.LittleEndian.Uint16(whole[i:])); v > 1000 || v < -1000 { //nolint:gosec // two's complement on purpose
			loud++
		}
	}
	if float64(loud) < least/2*soundRate { // a tone is below that near its zeros
		t.Errorf("part %d: %d of %d samples of the tone are loud", p.Number, loud, (len(whole)-wavHead)/2)
	}
}

func export(t *testing.T, s *Service, id string) {
	t.Helper()
	e, err := s.Export(t.Context(), id, WebM, "anna")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		list, err := s.Exports(t.Context(), id)
		return err == nil && len(list) == 1 && list[0].State != ExportWaiting && list[0].State != ExportRunning
	})
	list, _ := s.Exports(t.Context(), id)
	if list[0].State != ExportDone {
		t.Fatalf("%+v", list)
	}
	file, err := s.OpenExport(t.Context(), id, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(file)
	if err != nil || file.Close() != nil || !bytes.HasPrefix(content, []byte{0x1A, 0x45, 0xDF, 0xA3}) {
		t.Errorf("export of %d octets: %v", len(content), err)
	}
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("it did not become true in 20 s")
		}
	}
}

// A disk that gets full ends a recording, which says so, and lets none begin; what was recorded plays.
func TestRecordingEndsBeforeTheDiskIsFull(t *testing.T) {
	free := int64(50 << 30)
	s := newService(t, t.TempDir(), &free, false)
	s.runFor(t)
	lost := make(chan string, 2)
	feed := room.Feed{Video: forward.NewSlot("v", webrtc.RTPCodecTypeVideo, nil)}
	p := room.Programme{ID: "9000-x-1", Room: "9000", Since: time.Now()}
	s.Record(p, feed, func(why string) { lost <- why })
	eventually(t, func() bool { _, err := s.Get(t.Context(), p.ID); return err == nil })
	s.o.Space = func() (int64, int64, error) { return 100 << 30, 10 << 20, nil }
	s.look()
	if why := <-lost; why != "disk_full" || !s.Blocked() {
		t.Errorf("%q, blocked %v", why, s.Blocked())
	}
	p.ID = "9000-x-2"
	s.Record(p, feed, func(why string) { lost <- why })
	if why := <-lost; why != "disk_full" {
		t.Errorf("%q", why)
	}
}

// What was kept long enough is deleted, files first, and it is on record.
func TestOldRecordingsAreDeleted(t *testing.T) {
	free := int64(50 << 30)
	s := newService(t, t.TempDir(), &free, false)
	then := time.Now().AddDate(0, 0, -31)
	i := Info{ID: "old", Room: "9000", StartedAt: then, EndedAt: &then}
	if err := s.save(t.Context(), &i); err != nil {
		t.Fatal(err)
	}
	if err := s.insertPart(t.Context(), &Part{Programme: "old", Number: 1, File: "old-1.mkv", StartedAt: then}); err != nil {
		t.Fatal(err)
	}
	path := s.path("old-1.mkv", then)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Tidy(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "old"); !errors.Is(err, ErrUnknown) {
		t.Errorf("row: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("file: %v", err)
	}
	if got := s.o.Audit.(*ledger).actions; len(got) != 1 || got[0] != "meeting_recording.delete" {
		t.Errorf("%v", got)
	}
}

// Without ffmpeg an export says what is missing.
func TestExportWithoutFFmpeg(t *testing.T) {
	free := int64(50 << 30)
	s := newService(t, t.TempDir(), &free, false)
	s.o.FFmpeg = "/nowhere/ffmpeg"
	if _, err := s.Export(t.Context(), "x", MP4, ""); !errors.Is(err, ErrNoFFmpeg) {
		t.Errorf("%v", err)
	}
}

// An order waits for what is asked for again, and goes on without what does not come.
func TestOrder(t *testing.T) {
	var o order
	now := time.Now()
	push := func(n uint16) { o.push(arrival{Taken: forward.Taken{Sequence: n}, came: now}) }
	take := func() (got []int, gaps int) {
		for {
			a, lost, ok := o.pop(now)
			if !ok {
				return got, gaps
			}
			if lost {
				gaps++
			}
			got = append(got, int(a.Sequence))
		}
	}
	push(65534)
	push(0)
	push(1)
	if got, _ := take(); len(got) != 1 {
		t.Fatalf("%v before what is missing", got)
	}
	push(65535)
	if got, gaps := take(); len(got) != 3 || got[0] != 65535 || got[2] != 1 || gaps != 0 {
		t.Fatalf("%v, %d gaps", got, gaps)
	}
	push(3)
	now = now.Add(patience + time.Millisecond)
	if got, gaps := take(); len(got) != 1 || gaps != 1 {
		t.Fatalf("%v, %d gaps", got, gaps)
	}
	push(2) // too late
	if got, _ := take(); len(got) != 0 {
		t.Fatalf("%v", got)
	}
}

// A file that was cut off anywhere is read up to its last whole cluster, and nothing is read beyond its end.
func FuzzSurvey(f *testing.F) {
	h := head{Title: "x", Start: epoch, Tracks: []track{{Number: 1, MIME: "video/VP8", Width: 16, Height: 16}, {Number: 2, MIME: "audio/opus"}}}
	whole := h.render(nil)
	for i := range 3 {
		var c cluster
		c.add(block{track: 1, at: time.Duration(i) * time.Second, key: true, data: []byte{1, 2, 3}})
		c.add(block{track: 2, at: time.Duration(i)*time.Second + time.Millisecond, key: true, data: []byte{4}})
		whole = append(whole, c.render()...)
	}
	for _, n := range []int{len(whole), len(whole) - 1, len(whole) - 20, 60, 3} {
		f.Add(whole[:n])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := survey(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if x.end > int64(len(b)) {
			t.Errorf("%d of %d", x.end, len(b))
		}
		for _, p := range x.clusters {
			if p.pos+int64(p.size) > x.end {
				t.Errorf("cluster at %d+%d behind %d", p.pos, p.size, x.end)
			}
		}
	})
}
