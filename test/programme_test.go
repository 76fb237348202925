package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// recordedMeeting is what `programme show` says.
type recordedMeeting struct {
	ID    string
	State string
	Files []struct {
		Number          int
		Member          string
		EndedAt         *time.Time `json:"ended_at"`
		DurationSeconds float64    `json:"duration_seconds"`
		VideoCodec      string     `json:"video_codec"`
		Width, Height   int
		Voices          int
		CutOff          bool `json:"cut_off"`
	}
	Chapters []struct {
		Kind, Action string
		Name         struct{ EN string }
	}
	Exports []struct{ ID, State, Error string }
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
