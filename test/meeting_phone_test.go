package test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// meetingPhone is a softphone that dials meetings: it speaks a tone in a codec and sends keys as events.
func meetingPhone(t *testing.T, a *appliance, extension, codec string, tone int) *softphone {
	t.Helper()
	acc := a.account(extension)
	s := startBaresip(t, nil, "hq", acc, tone, "module g722.so\nausrc_srate 8000\n", fmt.Sprintf(
		"<sip:%s@%s;transport=udp>;auth_user=%s;auth_pass=%s;outbound=\"sip:%s:%d;transport=udp\";answermode=auto;audio_codecs=%s;regint=120",
		acc.Extension, acc.Domain, acc.AuthUser, acc.Password, acc.Server, acc.UDPPort, codec))
	s.registeredAt(a, "udp")
	return s
}

func (s *softphone) keys(keys string) {
	for _, k := range keys {
		s.do("sndcode", string(k))
		time.Sleep(250 * time.Millisecond) // as long as a finger
	}
}

// mixed waits until the phone hears a tone among others.
func (s *softphone) mixed(tone int, least float64) {
	s.t.Helper()
	eventually(s.t, 20*time.Second, fmt.Sprintf("%s hears %d Hz among others", s.account.Extension, tone), func() error {
		level, err := s.heard(tone)
		if err == nil && level < least {
			err = fmt.Errorf("its share is %.2f", level)
		}
		return err
	})
}

// meetingParticipant is a participant of a room as the console shows it.
type meetingParticipant struct {
	Kind, Venue, Transport string
	Name                   struct{ En string }
	AudioMuted             bool `json:"audio_muted"`
	Speaking               bool
}

func (a *appliance) meeting(room string) []meetingParticipant {
	var shown struct{ Participants []meetingParticipant }
	a.decode(&shown, "room", "show", room)
	return shown.Participants
}

// phones waits until so many telephones are in the room.
func (a *appliance) phones(want int) {
	a.t.Helper()
	a.eventually(15*time.Second, fmt.Sprintf("%d telephones are in the meeting", want), func() error {
		n := 0
		for _, p := range a.meeting("9000") {
			if p.Kind == "phone" {
				n++
			}
		}
		if n != want {
			return fmt.Errorf("there are %d: %+v", n, a.meeting("9000"))
		}
		return nil
	})
}

// Two telephones and a venue's browser meet: each is heard by the other two, the telephones' codecs as they are; the PIN wrong
// three times is refused; keys raise a hand and mute; the chair mutes a telephone and calls one in; after kill -9 they are
// all back.
func TestTelephonesInAMeeting(t *testing.T) {
	t.Parallel()
	a := startAppliance(t, func(s settings, _ *appliance) {
		room := s["conference"].(map[string]any)["rooms"].([]any)[0].(map[string]any)
		room["pin"], room["chair_pin"] = "2468", "97531"
	})
	venue := sixVenues()[0] // 500 Hz
	venue.URL = strings.TrimSpace(a.run("room", "link", "9000", "--venue", venue.ID))
	b := openBrowsers(t, []browserVenue{venue}, 1)
	narrow, wide := meetingPhone(t, a, "8001", "pcma", 750), meetingPhone(t, a, "8002", "G722/16000/1,pcma", 1250)
	b.inMeeting(60 * time.Second)

	narrow.do("dial", "sip:9000@"+narrow.account.Domain)
	narrow.established(a, 1)
	narrow.keys("2468")
	a.phones(1)
	narrow.mixed(500, 0.5)
	wide.do("dial", "sip:9000*97531@"+narrow.account.Domain)
	a.phones(2)
	narrow.mixed(1250, 0.2)
	wide.mixed(750, 0.2)
	wide.mixed(500, 0.1)
	eventually(t, 30*time.Second, "the venue hears both telephones", func() error {
		observed := map[string]observation{}
		b.do(map[string]string{"do": "observe"}, &observed)
		for _, tone := range []string{"750", "1250"} {
			if level := observed["hq"].Tones[tone]; level == nil || *level < -60 {
				return fmt.Errorf("%s Hz is not heard: %v", tone, observed["hq"])
			}
		}
		return nil
	})

	// Keys: its own mute, the hand, and the chair's PIN makes it lead.
	narrow.keys("*6")
	a.muted("8001", true)
	narrow.keys("*6")
	a.muted("8001", false)
	narrow.keys("*5")
	b.shows("hq", `[data-testid=room-chair][data-chair="phone:8002"]`, "the telephone that is chair")
	wide.keys("*3") // the floor to who asked: everybody else is muted
	narrow.hearsNot(500)
	wide.keys("*4")
	narrow.mixed(500, 0.2)
	minutes := a.run("room", "minutes", "9000", "--format", "csv")
	for _, want := range []string{"phone:8001", "floor.request", "floor.give,phone:8001", "discussion"} {
		if !strings.Contains(minutes, want) {
			t.Errorf("the minutes do not say %s: %s", want, minutes)
		}
	}

	a.kill9()
	a.start()
	a.phones(2)
	b.inMeeting(30 * time.Second)
	narrow.goesOnHearing()
	narrow.mixed(500, 0.2)
	wide.mixed(750, 0.2)
	wide.keys("*2") // it is the chair still
	a.muted("8001", true)
	wide.keys("*2")
	a.muted("8001", false)
	wide.keys("*1") // and gives the chair back

	// The chair page: it calls a telephone, mutes one, drops one.
	b.do(map[string]any{"do": "chair", "venue": "hq"}, nil)
	b.press("hq", `[data-testid=chair-request-chair]`, true)
	wide.do("hangup", "")
	a.phones(1)
	call := func(number string) {
		b.do(map[string]any{"do": "type", "venue": "hq", "selector": `[data-testid=chair-call-number]`, "text": number, "chair": true}, nil)
	}
	call("8005") // nobody has registered it
	b.wait("hq", `[data-testid=chair-calling][data-number="8005"][data-state=failed]`, "that 8005 cannot be reached", true)
	call("8002")
	a.phones(2)
	wide.mixed(750, 0.2)
	b.press("hq", `[data-testid=chair-venue][data-member="phone:8001"] [data-testid=chair-mute]`, true)
	a.muted("8001", true)
	b.press("hq", `[data-testid=chair-venue][data-member="phone:8002"] [data-testid=chair-drop]`, true)
	a.phones(1)
	narrow.do("hangup", "")
	a.phones(0)

	narrow.do("dial", "sip:9000@"+narrow.account.Domain)
	narrow.established(a, 1)
	for range 3 {
		narrow.keys("1111")
	}
	a.eventually(10*time.Second, "three wrong PINs end the call", func() error {
		var list struct{ Calls []struct{ State string } }
		if a.decode(&list, "call", "list"); len(list.Calls) > 0 {
			return fmt.Errorf("calls: %+v", list.Calls)
		}
		return nil
	})
	if wrong := a.metric("linehall_focus_pins_total", `result="wrong"`); wrong != 3 {
		t.Errorf("%v wrong PINs counted, want 3", wrong)
	}
	a.phones(0)
	var export struct {
		CDRs []struct{ From, To, Class string }
	}
	a.decode(&export, "cdr", "export")
	for _, r := range export.CDRs {
		if r.To != "9000" && r.From != "9000" || r.Class != "conference_audio" {
			t.Errorf("record %+v, want one of a meeting", r)
		}
	}
}

// muted waits until a telephone of the meeting is muted, or is not.
func (a *appliance) muted(number string, want bool) {
	a.t.Helper()
	a.eventually(10*time.Second, fmt.Sprintf("%s muted: %v", number, want), func() error {
		for _, p := range a.meeting("9000") {
			if p.Kind == "phone" && strings.HasSuffix(p.Name.En, number) && p.AudioMuted == want {
				return nil
			}
		}
		return fmt.Errorf("%+v", a.meeting("9000"))
	})
}

// hearsNot waits until the phone does not hear a tone any more.
func (s *softphone) hearsNot(tone int) {
	s.t.Helper()
	eventually(s.t, 15*time.Second, fmt.Sprintf("%s does not hear %d Hz any more", s.account.Extension, tone), func() error {
		level, err := s.heard(tone)
		if err == nil && level > 0.05 {
			err = fmt.Errorf("its share is %.2f", level)
		}
		return err
	})
}

// established waits until the appliance shows so many calls that were answered.
func (s *softphone) established(a *appliance, want int) {
	a.t.Helper()
	a.eventually(10*time.Second, "the call is answered", func() error {
		var list struct{ Calls []struct{ State string } }
		a.decode(&list, "call", "list")
		n := 0
		for _, c := range list.Calls {
			if c.State == "established" {
				n++
			}
		}
		if n != want {
			return fmt.Errorf("calls: %+v", list.Calls)
		}
		return nil
	})
}
