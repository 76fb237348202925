package test

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// codecStream is one stream of a page's camera, or one picture that it shows.
type codecStream struct {
	Codec       string  `json:"codec"`
	Scalability string  `json:"scalability"`
	Frames      float64 `json:"frames"`
	Height      int     `json:"height"`
	RID         string  `json:"rid"`
}

type codecView struct {
	Sent  []codecStream          `json:"sent"`
	Shown map[string]codecStream `json:"shown"`
}

// The codec of a room changes while two Chromiums meet in it, and each goes on seeing the other, in the codec that was set;
// then Firefox comes in, which cannot show AV1 safely, and everybody goes back to VP8.
func TestSoakCodecs(t *testing.T) {
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skip("runs under make soak: three browsers and four codecs take more than a minute")
	}
	a := startAppliance(t)
	six := sixVenues()
	venues := []browserVenue{six[0], six[1]}
	for i := range venues {
		venues[i].URL = strings.TrimSpace(a.run("room", "link", "9000", "--venue", venues[i].ID))
	}
	b := openBrowsersOf(t, venues, 2, 640, 360)
	b.inMeeting(60 * time.Second)
	for _, codec := range []string{"VP9", "H264", "VP8", "AV1"} {
		a.setCodec(codec)
		b.seen(45*time.Second, codec)
		if codec != "VP9" {
			continue
		}
		eventually(t, 30*time.Second, "Chromium sends its resolutions in one stream, and the larger one is shown", func() error {
			var views map[string]codecView
			b.do(map[string]string{"do": "codecs"}, &views)
			sent, shown := views["hq"].Sent, views["branch1"].Shown["hq"]
			if len(sent) != 1 || sent[0].Scalability != "L2T3_KEY" || shown.Height != 360 || shown.RID != "m" {
				return fmt.Errorf("sent %+v, shown %+v", sent, shown)
			}
			return nil
		})
	}
	firefox := six[5]
	firefox.URL = strings.TrimSpace(a.run("room", "link", "9000", "--venue", firefox.ID))
	third := openBrowsersOf(t, []browserVenue{firefox}, 2, 640, 360)
	third.inMeeting(60 * time.Second)
	b.seenBy(60*time.Second, "VP8", 2)
	third.seenBy(60*time.Second, "VP8", 2)
	a.setCodec("VP9")
	b.seenBy(60*time.Second, "", 2)
	third.seenBy(60*time.Second, "", 2)
}

// setCodec changes the codec of all rooms by a reload.
func (a *appliance) setCodec(codec string) {
	a.t.Helper()
	text, err := os.ReadFile(a.config)
	if err != nil {
		a.t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, l := range lines {
		if indent, _, ok := strings.Cut(l, "codec: "); ok && strings.TrimSpace(indent) == "" {
			lines[i] = indent + "codec: " + strings.ToLower(codec)
		}
	}
	if err := os.WriteFile(a.config, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		a.t.Fatal(err)
	}
	before := a.metric("linehall_config_reloads_total")
	if err := a.command.Process.Signal(syscall.SIGHUP); err != nil {
		a.t.Fatal(err)
	}
	a.eventually(10*time.Second, "the codec is set", func() error {
		if a.metric("linehall_config_reloads_total") == before || a.metric("linehall_config_last_reload_success") != 1 {
			return fmt.Errorf("not reloaded yet")
		}
		return nil
	})
}

// seen waits until every page decodes the other one in a codec, with frames that come.
func (b *browsers) seen(bound time.Duration, codec string) { b.t.Helper(); b.seenBy(bound, codec, 1) }

// seenBy does so for more pictures; "" is any codec.
func (b *browsers) seenBy(bound time.Duration, codec string, pictures int) {
	b.t.Helper()
	var views, earlier map[string]codecView
	eventually(b.t, bound, "everybody sees everybody in "+codec, func() error {
		earlier, views = views, nil
		b.do(map[string]string{"do": "codecs"}, &views)
		for viewer, v := range views {
			if len(v.Shown) != pictures {
				return fmt.Errorf("%s shows %d pictures", viewer, len(v.Shown))
			}
			for other, s := range v.Shown {
				if codec != "" && s.Codec != codec || s.Frames <= earlier[viewer].Shown[other].Frames {
					return fmt.Errorf("%s shows %s in %s, %v frames after %v; sent: %+v", viewer, other, s.Codec, s.Frames, earlier[viewer].Shown[other].Frames, views[other].Sent)
				}
			}
		}
		return nil
	})
}
