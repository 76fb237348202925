package test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// channels are both parties of a stereo WAV file.
func channels(t *testing.T, file string) (rate int, left, right []float64) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) < 44 || string(raw[:4]) != "RIFF" || binary.LittleEndian.Uint16(raw[22:]) != 2 {
		t.Fatalf("no stereo WAV file: %q", raw[:min(44, len(raw))])
	}
	for b := raw[44:]; len(b) >= 4; b = b[4:] {
		left = append(left, float64(int16(binary.LittleEndian.Uint16(b))))
		right = append(right, float64(int16(binary.LittleEndian.Uint16(b[2:]))))
	}
	return int(binary.LittleEndian.Uint32(raw[24:])), left, right
}

// share is how much of the samples is the tone: 1 is that tone alone.
func share(samples []float64, tone, rate int) float64 {
	energy := 0.0
	for _, x := range samples {
		energy += x * x
	}
	if energy == 0 {
		return 0
	}
	return goertzel(samples, float64(tone)/float64(rate)) / (energy * float64(len(samples)) / 2)
}

type recordingList struct {
	Recordings []struct {
		ID              string  `json:"id"`
		State           string  `json:"state"`
		DurationSeconds float64 `json:"duration_seconds"`
		Encrypted       bool    `json:"encrypted"`
		Reason          string  `json:"reason"`
	} `json:"recordings"`
}

// Two softphones talk, by rule recorded: each is alone in its channel, also of what was said before a kill -9 in the middle
// and after it; nothing can be read on the disk; who may not listen is refused and on record; deleting deletes.
func TestRecordedSoftphones(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "branch1")
	w.shape("branch1", 2_000_000)
	a := startAppliance(t, w.configure, func(s settings, _ *appliance) {
		s.set("recording.rules", []any{map[string]any{"name": "lines", "sites": []any{"branch1"}, "mode": "always", "announce": "none"}})
	})
	caller := startSoftphone(t, w, "hq", a.account("8001"), "udp", lowTone)
	callee := startSoftphone(t, w, "branch1", a.account("2001"), "udp", highTone)
	caller.registeredAt(a, "udp")
	callee.registeredAt(a, "udp")
	caller.do("dial", "sip:2001@"+caller.account.Domain)
	caller.hears(highTone)
	callee.hears(lowTone)
	var calls struct {
		Calls []struct {
			ID        string `json:"id"`
			Path      string `json:"path"`
			Recording string `json:"recording"`
		} `json:"calls"`
	}
	a.decode(&calls, "call", "list")
	if len(calls.Calls) != 1 || calls.Calls[0].Recording != "on" || calls.Calls[0].Path != "relay" {
		t.Fatalf("calls: %+v", calls.Calls)
	}
	id := calls.Calls[0].ID

	a.kill9()
	a.start()
	a.eventually(15*time.Second, "the call is recorded on", func() error {
		a.decode(&calls, "call", "list")
		if len(calls.Calls) != 1 || calls.Calls[0].Recording != "on" || calls.Calls[0].ID != id {
			return fmt.Errorf("calls: %+v", calls.Calls)
		}
		return nil
	})
	a.eventually(15*time.Second, "two seconds of the second part are written", func() error {
		if got := a.metric("linehall_recording_written_bytes_total"); got < 2*100*172 {
			return fmt.Errorf("%v bytes", got)
		}
		return nil
	})
	callee.do("hangup", "")
	var list recordingList
	a.eventually(10*time.Second, "both parts are kept", func() error {
		a.decode(&list, "recording", "list", "--call", id)
		if len(list.Recordings) != 2 || list.Recordings[0].State != "kept" || list.Recordings[1].State != "kept" {
			return fmt.Errorf("recordings: %+v", list.Recordings)
		}
		return nil
	})
	if first := list.Recordings[1]; !strings.Contains(first.Reason, "interrupted") || !first.Encrypted {
		t.Errorf("the first part: %+v", first)
	}
	for _, r := range list.Recordings {
		file := filepath.Join(t.TempDir(), r.ID+".wav")
		a.run("recording", "export", r.ID, "-o", file)
		rate, left, right := channels(t, file)
		if len(left) < rate {
			t.Fatalf("%s: %d samples at %d Hz", r.ID, len(left), rate)
		}
		end := len(left) - rate/10
		left, right = left[end-rate/2:end], right[end-rate/2:end]
		if l, r2 := share(left, lowTone, rate), share(right, highTone, rate); l < 0.8 || r2 < 0.8 {
			t.Errorf("%s: %.2f of the left is the caller, %.2f of the right the callee", r.ID, l, r2)
		}
	}
	var shown struct {
		Recording struct{ Parts int } `json:"recording"`
	}
	a.decode(&shown, "cdr", "show", id)
	if shown.Recording.Parts != 2 {
		t.Errorf("the record names %d recordings", shown.Recording.Parts)
	}

	files, err := filepath.Glob(filepath.Join(a.data, "recordings", "*", "*.rec"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files: %v, %v", files, err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, []byte("2001")) || bytes.Contains(raw, []byte("PCMA")) {
			t.Errorf("%s can be read", f)
		}
	}

	var made struct {
		Token string `json:"token"`
	}
	a.decode(&made, "token", "add", "--name", "listener", "--role", "operator")
	if code := a.fetch(made.Token, "/api/v1/recordings/"+id+"-1/audio"); code != http.StatusForbidden {
		t.Errorf("an operator who listens gets %d", code)
	}
	a.run("recording", "delete", id+"-1")
	if _, err := os.Stat(files[0]); err == nil && strings.Contains(files[0], "-1.rec") {
		t.Error("the file is still there")
	}
	log := a.run("audit", "list", "--limit", "100")
	for _, want := range []string{"recording.start", "recording.stop", "recording.export", "recording.listen.refused", "recording.delete"} {
		if !strings.Contains(log, want) {
			t.Errorf("the audit log has no %s", want)
		}
	}
	a.run("audit", "verify")
}

// hearsRecording wants the one recording of a call to have each party's tone alone in its channel, as WAV and as FLAC.
func (a *appliance) hearsRecording(call string, caller, callee int) {
	a.t.Helper()
	var list recordingList
	a.eventually(10*time.Second, "the recording is kept", func() error {
		a.decode(&list, "recording", "list", "--call", call)
		if len(list.Recordings) != 1 || list.Recordings[0].State != "kept" {
			return fmt.Errorf("recordings: %+v", list.Recordings)
		}
		return nil
	})
	for _, format := range []string{"wav", "flac"} {
		file := filepath.Join(a.t.TempDir(), call+"."+format)
		a.run("recording", "export", list.Recordings[0].ID, "--format", format, "-o", file)
		if format == "flac" {
			plain := file + ".wav"
			if out, err := exec.CommandContext(a.t.Context(), "ffmpeg", "-v", "error", "-i", file, "-bitexact", plain).CombinedOutput(); err != nil {
				a.t.Fatalf("ffmpeg: %v\n%s", err, out)
			}
			file = plain
		}
		rate, left, right := channels(a.t, file)
		best := 0.0 // somewhere neither pressed a key nor was held
		for at := 0; at+rate/2 <= len(left); at += rate / 4 {
			best = max(best, min(share(left[at:at+rate/2], caller, rate), share(right[at:at+rate/2], callee, rate)))
		}
		if best < 0.8 {
			a.t.Errorf("%s of %d s: %d Hz left and %d Hz right are %.2f of it at best", format, len(left)/rate, caller, callee, best)
		}
	}
}

// fetch asks the HTTPS port as the owner of a token.
func (a *appliance) fetch(token, path string) int {
	a.t.Helper()
	request, err := http.NewRequestWithContext(a.t.Context(), http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d%s", a.ports.https, path), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: inside(a.host), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := client.Do(request)
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}
