package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// browserVenue is one venue's browser for test/browser/venues.mjs.
type browserVenue struct {
	ID      string `json:"id"`
	URL     string `json:"url"`
	Browser string `json:"browser"`
	RGB     [3]int `json:"rgb"`
	Tone    int    `json:"tone"`
	Netns   string `json:"netns"`
}

// sixVenues have a colour and a tone each; branch5 is Firefox.
func sixVenues() []browserVenue {
	return []browserVenue{
		{ID: "hq", Browser: "chromium", RGB: [3]int{220, 30, 30}, Tone: 500},
		{ID: "branch1", Browser: "chromium", RGB: [3]int{30, 200, 30}, Tone: 750},
		{ID: "branch2", Browser: "chromium", RGB: [3]int{30, 30, 220}, Tone: 1000},
		{ID: "branch3", Browser: "chromium", RGB: [3]int{210, 210, 20}, Tone: 1250},
		{ID: "branch4", Browser: "chromium", RGB: [3]int{210, 20, 210}, Tone: 1500},
		{ID: "branch5", Browser: "firefox", RGB: [3]int{20, 210, 210}, Tone: 1750},
	}
}

// seenVenue is what one page shows of another venue.
type seenVenue struct {
	Rate   float64 `json:"rate"` // decoded frames per second
	RGB    [3]int  `json:"rgb"`
	Width  int     `json:"width"`
	Height int     `json:"height"`
}

type observation struct {
	Seen  map[string]seenVenue `json:"seen"`
	Tones map[string]*float64  `json:"tones"` // dB by Hz; null is silence
	// Voices counts the sound tracks that carried sound. Graph is false where the browser plays nothing for want of a
	// loudspeaker (Firefox): then tones are not measured, and what it decoded has to do.
	Voices int  `json:"voices"`
	Graph  bool `json:"graph"`
}

// browsers drives venues.mjs.
type browsers struct {
	t       *testing.T
	in      io.WriteCloser
	out     *bufio.Scanner
	command *exec.Cmd
}

func openBrowsers(t *testing.T, venues []browserVenue, seconds int) *browsers {
	t.Helper()
	return openBrowsersOf(t, venues, seconds, 320, 180)
}

// openBrowsersOf gives the cameras another size.
func openBrowsersOf(t *testing.T, venues []browserVenue, seconds, width, height int) *browsers {
	t.Helper()
	artifacts := t.TempDir()
	plan, err := json.Marshal(map[string]any{"artifacts": artifacts, "seconds": seconds, "venues": venues, "width": width, "height": height})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(artifacts, "plan.json")
	if err := os.WriteFile(file, plan, 0o600); err != nil {
		t.Fatal(err)
	}
	return startDriver(t, "browser/venues.mjs", file, artifacts)
}

// startDriver starts a driver of browsers and waits until they are open.
func startDriver(t *testing.T, script, file, artifacts string) *browsers {
	t.Helper()
	var err error
	b := &browsers{t: t, command: exec.Command("node", script, file)}
	b.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	errors := &lockedBuffer{}
	b.command.Stderr = errors
	if b.in, err = b.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := b.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.command.Start(); err != nil {
		t.Fatalf("node: %v", err)
	}
	b.out = bufio.NewScanner(out)
	b.out.Buffer(nil, 1<<20)
	t.Cleanup(func() {
		_, _ = io.WriteString(b.in, "{\"do\":\"end\"}\n")
		ended := make(chan struct{})
		go func() { _ = b.command.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
		}
		_ = syscall.Kill(-b.command.Process.Pid, syscall.SIGKILL)
		endBrowsersOf(artifacts)
		if t.Failed() {
			t.Logf("browsers: %s", errors.tail(6000))
		}
	})
	if !b.out.Scan() {
		t.Fatalf("the browsers did not open: %s", errors.tail(3000))
	}
	return b
}

// endBrowsersOf ends, by process id, browsers whose profile lies in this run's own folder and whose driver is gone: they
// run in process groups of their own.
func endBrowsersOf(artifacts string) {
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range commands {
		line, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(line), artifacts) {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(file, "/")[2]); err == nil && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func (b *browsers) do(command, answer any) {
	b.t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(b.in, "%s\n", line); err != nil {
		b.t.Fatal(err)
	}
	if !b.out.Scan() {
		b.t.Fatalf("%v: the browsers' driver ended", command)
	}
	var reply struct {
		Answer json.RawMessage `json:"answer"`
		Error  string          `json:"error"`
	}
	if err := json.Unmarshal(b.out.Bytes(), &reply); err != nil {
		b.t.Fatalf("%v: %v: %s", command, err, b.out.Bytes())
	}
	if reply.Error != "" {
		b.t.Fatalf("%v: %s", command, reply.Error)
	}
	if answer != nil {
		if err := json.Unmarshal(reply.Answer, answer); err != nil {
			b.t.Fatalf("%v: %v", command, err)
		}
	}
}

// inMeeting waits until every page says that it is in the meeting.
func (b *browsers) inMeeting(bound time.Duration) {
	b.t.Helper()
	eventually(b.t, bound, "every page is in the meeting", func() error {
		states := map[string]string{}
		b.do(map[string]string{"do": "states"}, &states)
		for venue, state := range states {
			if state != "in-meeting" {
				return fmt.Errorf("%s is %q (%v)", venue, state, states)
			}
		}
		return nil
	})
}

// judge checks that every page shows every other venue, moving and in its own colour, and hears voices of others.
func judge(venues []browserVenue, observed map[string]observation, leastVoices int) error {
	var faults []string
	for _, viewer := range venues {
		o := observed[viewer.ID]
		voices := 0
		for _, other := range venues {
			if other.ID == viewer.ID {
				continue
			}
			seen := o.Seen[other.ID]
			if seen.Rate < 8 {
				faults = append(faults, fmt.Sprintf("%s decodes %.1f frames/s of %s", viewer.ID, seen.Rate, other.ID))
			} else if !sameColour(seen.RGB, other.RGB) {
				faults = append(faults, fmt.Sprintf("%s shows %s as %v, not %v", viewer.ID, other.ID, seen.RGB, other.RGB))
			}
			if level := o.Tones[fmt.Sprint(other.Tone)]; level != nil && *level > -60 {
				voices++
			}
		}
		if !o.Graph {
			voices = o.Voices
		}
		if voices < leastVoices {
			faults = append(faults, fmt.Sprintf("%s hears %d other voices, %d tracks carry sound", viewer.ID, voices, o.Voices))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("%s", strings.Join(faults, "\n"))
	}
	return nil
}

// sameColour compares directions, not brightness: encoders and colour ranges shift the latter.
func sameColour(a, b [3]int) bool {
	var dot, aa, bb float64
	for i := range a {
		dot += float64(a[i] * b[i])
		aa += float64(a[i] * a[i])
		bb += float64(b[i] * b[i])
	}
	return aa > 0 && dot/math.Sqrt(aa*bb) > 0.9
}

// Three browsers, two of them Chromium and one Firefox: what a machine of two cores carries with ease.
func TestVenuesMeet(t *testing.T) {
	six := sixVenues()
	venuesMeet(t, []browserVenue{six[0], six[1], six[5]})
}

// All six venues in browsers take both cores of a small machine to their limit.
func TestSoakSixVenuesMeet(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("runs under make soak: six browsers take over a minute and all of two cores")
	}
	venuesMeet(t, sixVenues())
}

// venuesMeet opens a browser per venue, each with its own link and nothing else: each sees the others moving and in their
// own colours and hears them; one leaves and comes back; the appliance dies and they all come back by themselves.
func venuesMeet(t *testing.T, venues []browserVenue) {
	t.Helper()
	a := startAppliance(t)
	for i := range venues {
		venues[i].URL = strings.TrimSpace(a.run("room", "link", "9000", "--venue", venues[i].ID))
	}
	const seconds = 10
	b := openBrowsers(t, venues, seconds)
	b.inMeeting(60 * time.Second)
	observe := func() map[string]observation {
		observed := map[string]observation{}
		b.do(map[string]string{"do": "observe"}, &observed)
		return observed
	}
	// The voices of the loudest three are forwarded: whoever is among them hears two others.
	eventually(t, 90*time.Second, "everybody sees and hears everybody", func() error { return judge(venues, observe(), 2) })
	if folder := os.Getenv("LINEHALL_SCREENS"); folder != "" {
		b.do(map[string]string{"do": "screenshot", "venue": "hq", "file": filepath.Join(folder, "room-six-venues.png")}, nil)
	}

	chairLeads(t, a, b)
	b.do(map[string]string{"do": "leave", "venue": "branch1"}, nil)
	present := func() int {
		var room struct {
			Participants []struct{ Venue string } `json:"participants"`
		}
		a.decode(&room, "room", "show", "9000")
		return len(room.Participants)
	}
	a.eventually(15*time.Second, "branch1 left", func() error {
		if got := present(); got != len(venues)-1 {
			return fmt.Errorf("%d participants", got)
		}
		return nil
	})
	b.do(map[string]string{"do": "rejoin", "venue": "branch1"}, nil)
	b.inMeeting(30 * time.Second)
	eventually(t, 60*time.Second, "everybody sees everybody after one left and came back", func() error { return judge(venues, observe(), 2) })

	a.run("room", "record", "9000")
	b.shows("branch5", `[data-testid=room-recording]`, "that the meeting is recorded")
	eventually(t, 30*time.Second, "a part is being written", func() error {
		if m := a.recordedMeeting(); len(m.Files) != 1 {
			return fmt.Errorf("%d files", len(m.Files))
		}
		return nil
	})
	<-time.After(4 * time.Second) // of recording

	a.kill9()
	a.start()
	a.eventually(30*time.Second, "all came back by themselves", func() error {
		if got := present(); got != len(venues) {
			return fmt.Errorf("%d participants", got)
		}
		return nil
	})
	b.inMeeting(30 * time.Second)
	b.shows("branch5", `[data-testid=room-chair][data-chair=hq]`, "the chair of before the restart")
	b.shows("branch1", `[data-testid=room-banner]`, "the banner of before the restart")
	b.shows("branch1", `[data-testid=room-recording]`, "that the meeting is recorded, after the restart")
	eventually(t, 60*time.Second, "everybody sees everybody after the restart", func() error { return judge(venues, observe(), 2) })
	recordingPlays(t, a, b, venues)
}
