package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bargeTone is the third party's voice.
const bargeTone = 1730

// among waits until what the phone hears is these tones, each a good part of it, and not the others.
func (s *softphone) among(others []int, tones ...int) {
	s.t.Helper()
	eventually(s.t, 20*time.Second, fmt.Sprintf("%s hears %v and not %v", s.account.Extension, tones, others), func() error {
		sum := 0.0
		for _, tone := range tones {
			level, err := s.heard(tone)
			if err != nil {
				return err
			}
			if level < 0.2 {
				return fmt.Errorf("%d Hz is %.2f of it", tone, level)
			}
			sum += level
		}
		for _, tone := range others {
			if level, _ := s.heard(tone); level > 0.02 {
				return fmt.Errorf("%d Hz is %.2f of it", tone, level)
			}
		}
		if sum < 0.8 {
			return fmt.Errorf("they are %.2f of it", sum)
		}
		return nil
	})
}

// Three softphones in two codecs: two talk over a line, a third one joins by code and each hears the two others; the caller
// hangs up and the two who remain talk on, in a call of their own, also when the appliance is killed and started again; the
// number plan explains who may join, and the records say who did.
func TestSoftphonesInThree(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "branch1")
	w.shape("branch1", 2_000_000)
	a := startAppliance(t, w.configure, func(s settings, _ *appliance) {
		s.set("dialplan.classes", map[string]any{"staff": map[string]any{}, "supervisor": map[string]any{
			"barge": map[string]any{"into": []any{"80XX"}, "modes": []any{"listen", "full"}},
		}})
		s.set("dialplan.default_class", "supervisor")
	})
	for number, want := range map[string]string{
		"*418001": "may talk in calls of 80XX", "*442001": "may not join calls of 2001", "*448001": "may not join calls to whisper",
	} {
		if said := a.run("dialplan", "explain", "8002", number); !strings.Contains(said, want) {
			t.Errorf("explain %s:\n%s", number, said)
		}
	}
	caller := startSoftphone(t, w, "hq", a.account("8001"), "udp", lowTone)
	callee := startSoftphone(t, w, "branch1", a.account("2001"), "tcp", highTone)
	acc := a.account("8002")
	third := startBaresip(t, w, "hq", acc, bargeTone, "module g722.so\n", fmt.Sprintf(
		"<sip:%s@%s;transport=udp>;auth_user=%s;auth_pass=%s;outbound=\"sip:%s:%d;transport=udp\";answermode=auto;audio_codecs=g722,pcma;regint=120",
		acc.Extension, acc.Domain, acc.AuthUser, acc.Password, acc.Server, acc.UDPPort))
	caller.registeredAt(a, "udp")
	callee.registeredAt(a, "tcp")
	third.registeredAt(a, "udp")
	caller.do("dial", "sip:2001@"+acc.Domain)
	caller.hears(highTone)
	callee.hears(lowTone)

	type shown struct {
		ID     string
		From   struct{ Extension string }
		To     struct{ Extension string }
		State  string
		Guests []struct{ Extension, Mode string }
	}
	var list struct{ Calls []shown }
	a.decode(&list, "call", "list")
	if len(list.Calls) != 1 {
		t.Fatalf("calls: %+v", list.Calls)
	}
	captured(t, a, list.Calls[0].ID)

	third.do("dial", "sip:*418001@"+acc.Domain)
	third.among([]int{bargeTone}, lowTone, highTone)
	caller.among([]int{lowTone}, highTone, bargeTone)
	callee.among([]int{highTone}, lowTone, bargeTone)
	a.decode(&list, "call", "list")
	if len(list.Calls) != 1 || len(list.Calls[0].Guests) != 1 || list.Calls[0].Guests[0].Extension != "8002" {
		t.Fatalf("calls: %+v", list.Calls)
	}

	caller.do("hangup", "")
	callee.hears(bargeTone)
	third.hears(highTone)
	a.kill9()
	a.start()
	callee.hears(bargeTone)
	third.hears(highTone)
	a.eventually(15*time.Second, "one call of the two", func() error {
		a.decode(&list, "call", "list")
		if len(list.Calls) != 1 || list.Calls[0].From.Extension != "8002" || list.Calls[0].To.Extension != "2001" || len(list.Calls[0].Guests) != 0 {
			return fmt.Errorf("calls: %+v", list.Calls)
		}
		return nil
	})
	third.do("hangup", "")
	a.eventually(10*time.Second, "three records", func() error {
		var export struct {
			CDRs []struct {
				From, To string
				JoinedAs string `json:"joined_as"`
				Guests   []struct{ Extension, Mode string }
			} `json:"cdrs"`
		}
		a.decode(&export, "cdr", "export")
		said := ""
		for _, r := range export.CDRs {
			said += fmt.Sprintf("%s>%s %s %v;", r.From, r.To, r.JoinedAs, r.Guests)
		}
		for _, want := range []string{"8002>8001 full []", "8001>2001  [{8002 full}]", "8002>2001  []"} {
			if !strings.Contains(said, want) {
				return fmt.Errorf("records: %s", said)
			}
		}
		return nil
	})
}

// captured has the media of a call in its capture file, beside the messages: RTP of both parties to ports of ours, in G.711.
func captured(t *testing.T, a *appliance, call string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "call.pcap")
	count := func() (rtp map[string]int, sip int) {
		a.run("call", "trace", call, "--pcap", file)
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rtp = map[string]int{}
		for b := raw[24:]; len(b) > 16; {
			size := int(binary.LittleEndian.Uint32(b[8:]))
			ip := b[16 : 16+size]
			b = b[16+size:]
			switch udp := ip[20:]; {
			case len(udp) == 8+12+160 && udp[8] == 0x80 && udp[9]&0x7f == 8:
				rtp[fmt.Sprintf("%v to %d", ip[12:16], binary.BigEndian.Uint16(udp[2:]))]++
			case bytes.Contains(udp, []byte("SIP/2.0")):
				sip++
			}
		}
		return rtp, sip
	}
	if rtp, sip := count(); len(rtp) != 0 || sip < 4 {
		t.Errorf("before: %v and %d messages", rtp, sip)
	}
	a.run("call", "capture", call)
	a.eventually(10*time.Second, "both parties are captured", func() error {
		rtp, sip := count()
		if len(rtp) != 2 || sip < 4 {
			return fmt.Errorf("%v and %d messages", rtp, sip)
		}
		for _, n := range rtp {
			if n < 25 {
				return fmt.Errorf("%v", rtp)
			}
		}
		return nil
	})
	a.run("call", "capture", call, "--stop")
	if log := a.run("audit", "list", "--limit", "20"); !strings.Contains(log, "call.capture_media") {
		t.Errorf("not on record:\n%s", log)
	}
}
