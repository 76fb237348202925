package test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// recordedMeeting is what `programme show` says.
type recordedMeeting struct {
	ID       string
	State    string
	Files    []recordedFile
	Chapters []struct {
		Kind, Action string
		Name         struct{ EN string }
	}
	Exports []struct{ ID, State, Error string }
}

// recordedFile is one part of it.
type recordedFile struct {
	Number          int
	Member          string
	EndedAt         *time.Time `json:"ended_at"`
	DurationSeconds float64    `json:"duration_seconds"`
	VideoCodec      string     `json:"video_codec"`
	Width, Height   int
	CutOff          bool `json:"cut_off"`
}

func (a *appliance) recordedMeeting() recordedMeeting {
	a.t.Helper()
	var list struct{ Programmes []recordedMeeting }
	a.decode(&list, "programme", "list")
	if len(list.Programmes) != 1 {
		a.t.Fatalf("%d recorded meetings, not one", len(list.Programmes))
	}
	var one recordedMeeting
	a.decode(&one, "programme", "show", list.Programmes[0].ID)
	return one
}

// playable judges a file by an independent reader: its length, and that every picture of it can be decoded.
func playable(t *testing.T, file string) (seconds float64) {
	t.Helper()
	probe, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-of", "json", "-show_format", "-show_streams", file).CombinedOutput()
	if err != nil {
		t.Fatalf("ffprobe %s: %v: %s", file, err, probe)
	}
	var info struct {
		Format  struct{ Duration string }
		Streams []struct {
			CodecType string `json:"codec_type"`
			CodecName string `json:"codec_name"`
		}
	}
	if err := json.Unmarshal(probe, &info); err != nil {
		t.Fatal(err)
	}
	seconds, err = strconv.ParseFloat(info.Format.Duration, 64)
	if err != nil {
		t.Errorf("%s has no duration: %s", file, probe)
	}
	if out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-xerror", "-i", file, "-map", "0:v?", "-map", "0:a?", "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-").CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("ffmpeg on %s: %v: %.2000s", file, err, out)
	}
	return seconds
}

// tonesIn measures how strong each tone is in the sound of a file, loudest moment of a quarter of a second, in dB of full scale.
func tonesIn(t *testing.T, file, filter string, tones ...int) map[int]float64 {
	t.Helper()
	const rate = 16000
	raw, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", file, "-filter_complex", filter, "-ac", "1", "-ar", strconv.Itoa(rate), "-f", "s16le", "-").Output()
	if err != nil {
		t.Fatalf("sound of %s: %v", file, err)
	}
	loudest := map[int]float64{}
	for _, tone := range tones {
		loudest[tone] = -200
	}
	for at := 0; at+rate/2 <= len(raw); at += rate / 2 {
		for _, tone := range tones {
			var re, im float64
			for i := range rate / 4 {
				v := float64(int16(binary.LittleEndian.Uint16(raw[at+2*i:]))) / 32768
				phase := 2 * math.Pi * float64(tone) * float64(i) / rate
				re, im = re+v*math.Cos(phase), im+v*math.Sin(phase)
			}
			loudest[tone] = max(loudest[tone], 20*math.Log10(2*math.Hypot(re, im)/(rate/4)+1e-9))
		}
	}
	return loudest
}

// colourAt is the mean colour of the middle of a picture of a file.
func colourAt(t *testing.T, file string, second float64) [3]int {
	t.Helper()
	raw, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-ss", fmt.Sprint(second), "-i", file, "-frames:v", "1", "-vf", "crop=iw/2:ih/2,scale=1:1:flags=area", "-pix_fmt", "rgb24", "-f", "rawvideo", "-").Output()
	if err != nil || len(raw) < 3 {
		t.Errorf("picture of %s at %.1f s: %v", file, second, err)
		return [3]int{}
	}
	return [3]int{int(raw[0]), int(raw[1]), int(raw[2])}
}

// recordingPlays judges what was recorded of a meeting before and after a crash: both parts by ffmpeg, with a venue's colour in
// the picture and its tones in the voices, and both as one programme in the console's player.
func recordingPlays(t *testing.T, a *appliance, b *browsers, venues []browserVenue) {
	t.Helper()
	a.run("room", "record", "9000", "--stop")
	var m recordedMeeting
	a.eventually(20*time.Second, "the recording is finished", func() error {
		if m = a.recordedMeeting(); m.State != "kept" || len(m.Files) < 2 || slices.ContainsFunc(m.Files, func(f recordedFile) bool { return f.EndedAt == nil }) {
			return fmt.Errorf("%+v", m)
		}
		return nil
	})
	tones := make([]int, 0, len(venues))
	for _, v := range venues {
		tones = append(tones, v.Tone)
	}
	for _, f := range m.Files {
		file := filepath.Join(a.dir, fmt.Sprintf("part%d.mkv", f.Number))
		a.run("programme", "save", m.ID, "--part", strconv.Itoa(f.Number), "--output", file)
		seconds := playable(t, file)
		if ends := f.Number == 1 || f.Number == len(m.Files); ends && seconds < 3 || f.CutOff != (f.Number == 1) {
			t.Errorf("part %d lasts %.1f s: %+v", f.Number, seconds, f)
		}
		if f.VideoCodec == "" {
			continue // cameras were slower to come back than voices
		}
		shown := colourAt(t, file, seconds/2)
		if !slices.ContainsFunc(venues, func(v browserVenue) bool { return sameColour(shown, v.RGB) }) {
			t.Errorf("part %d shows %v, no venue's colour", f.Number, shown)
		}
		heard := 0
		for _, level := range tonesIn(t, file, "[0:a:0][0:a:1][0:a:2]amix=inputs=3:normalize=0", tones...) {
			if level > -45 {
				heard++
			}
		}
		if heard < 2 {
			t.Errorf("part %d has %d venues' tones: %v", f.Number, heard, tonesIn(t, file, "[0:a:0][0:a:1][0:a:2]amix=inputs=3:normalize=0", tones...))
		}
	}
	password, err := os.ReadFile(filepath.Join(a.data, "admin-password"))
	if err != nil {
		t.Fatal(err)
	}
	var played struct {
		Parts int
		Shown []struct{ Width, Seconds, Sound float64 }
	}
	b.do(map[string]string{"do": "play", "venue": "hq", "password": strings.TrimSpace(string(password))}, &played)
	if played.Parts != len(m.Files) || len(played.Shown) != played.Parts {
		t.Errorf("the player showed %+v, not %d parts", played, len(m.Files))
	}
}

// Native venues at full rates are recorded, each by itself as well; the appliance is killed meanwhile. Both halves play, and
// are made one file.
func TestSoakMeetingIsRecorded(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("runs under make soak: half a minute of 720p, and an export by ffmpeg")
	}
	a := startAppliance(t)
	args := append([]string{"rooms", "--insecure", "--duration", "45s"}, a.venueLinks("hq", "branch1", "branch2")...)
	for _, venue := range []string{"hq", "branch1", "branch2"} {
		args = append(args, "--bind", venue+"=127.0.0.0/24")
	}
	rooms := exec.CommandContext(t.Context(), filepath.Join(repository, "bin", "linesim"), args...)
	output := &lockedBuffer{}
	rooms.Stdout, rooms.Stderr = output, output
	if err := rooms.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rooms.Process.Kill(); _ = rooms.Wait(); t.Log(output.tail(3000)) })
	a.eventually(30*time.Second, "the venues are there", func() error {
		var room struct{ Participants []struct{ Venue string } }
		if a.decode(&room, "room", "show", "9000"); len(room.Participants) != 3 {
			return fmt.Errorf("%d participants", len(room.Participants))
		}
		return nil
	})
	a.run("room", "record", "9000", "--tracks")
	recordFor := 12 * time.Second
	<-time.After(recordFor)
	a.kill9()
	a.start()
	<-time.After(recordFor)
	a.run("room", "record", "9000", "--stop")
	var m recordedMeeting
	a.eventually(20*time.Second, "the recording is finished", func() error {
		m = a.recordedMeeting()
		for _, f := range m.Files {
			if f.EndedAt == nil {
				return fmt.Errorf("part %d is not", f.Number)
			}
		}
		if m.State != "kept" {
			return fmt.Errorf("it is %s", m.State)
		}
		return nil
	})
	if len(m.Files) != 8 {
		t.Errorf("%d files, not two of the programme and of each of three venues: %+v", len(m.Files), m.Files)
	}
	for _, f := range m.Files {
		file := filepath.Join(a.dir, fmt.Sprintf("%s-%d.mkv", m.ID, f.Number))
		a.run("programme", "save", m.ID, "--part", strconv.Itoa(f.Number), "--output", file)
		seconds := playable(t, file)
		if seconds < 9 || f.VideoCodec != "VP8" || f.CutOff != (f.Number <= 4) {
			t.Errorf("part %d of %q lasts %.1f s: %+v", f.Number, f.Member, seconds, f)
		}
	}
	all := filepath.Join(a.dir, "all.mp4")
	a.run("programme", "export", m.ID, "--output", all)
	if seconds := playable(t, all); seconds < 20 {
		t.Errorf("the export lasts %.1f s", seconds)
	}
}
