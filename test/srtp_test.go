package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"linehall/internal/database"
)

// hearsAnew waits until the phone has recorded two more seconds, and hears the tone in the last one.
func (s *softphone) hearsAnew(tone int) {
	s.t.Helper()
	s.goesOnHearing()
	s.hears(tone)
}

// goesOnHearing waits until the phone has heard two seconds more.
func (s *softphone) goesOnHearing() {
	s.t.Helper()
	recorded := func() int64 {
		files, _ := filepath.Glob(filepath.Join(s.dir, "dump-*-dec.wav"))
		if len(files) == 0 {
			return 0
		}
		info, err := os.Stat(files[len(files)-1])
		if err != nil {
			return 0
		}
		return info.Size()
	}
	before := recorded()
	eventually(s.t, 20*time.Second, s.account.Extension+" goes on hearing", func() error {
		if n := recorded() - before; n < 2*2*8000 {
			return fmt.Errorf("%d bytes more", n)
		}
		return nil
	})
}

// A phone that talks SRTP only and one that knows none of it call each other, either way round: the tone spoken at one end
// is heard at the other, both ways. The appliance is killed in the middle; both go on hearing, and the keys are nowhere in
// clear: not in the database, not in the log.
func TestSRTPEndsAtTheAppliance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "branch1")
	w.shape("branch1", 2_000_000)
	for _, c := range []struct {
		name         string
		securedCalls bool
		plainSide    string
		plain        string
	}{
		{"the secured phone calls", true, "branch1", "2001"},
		{"the plain phone calls", false, "branch1", "2001"},
		{"inside one site", true, "hq", "8002"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := startAppliance(t, w.configure)
			acc := a.account("8001")
			secured := startBaresip(t, w, "hq", acc, lowTone, "", fmt.Sprintf(
				"<sip:%s@%s;transport=tls>;auth_user=%s;auth_pass=%s;outbound=\"sip:%s:%d;transport=tls\";answermode=auto;audio_codecs=pcma;regint=120;mediaenc=srtp-mand",
				acc.Extension, acc.Domain, acc.AuthUser, acc.Password, acc.Server, acc.TLSPort))
			plain := startSoftphone(t, w, c.plainSide, a.account(c.plain), "udp", highTone)
			secured.registeredAt(a, "tls")
			plain.registeredAt(a, "udp")
			if c.securedCalls {
				secured.do("dial", "sip:"+c.plain+"@"+acc.Domain)
			} else {
				plain.do("dial", "sip:8001@"+acc.Domain)
			}
			secured.hears(highTone)
			plain.hears(lowTone)
			var list struct {
				Calls []struct {
					SRTP bool   `json:"srtp"`
					Here bool   `json:"srtp_here"`
					Path string `json:"path"`
					Legs []struct {
						SRTP bool `json:"srtp"`
					} `json:"legs"`
				} `json:"calls"`
			}
			a.decode(&list, "call", "list")
			if len(list.Calls) != 1 || len(list.Calls[0].Legs) != 2 {
				t.Fatalf("calls: %+v", list.Calls)
			}
			if shown := list.Calls[0]; shown.SRTP || !shown.Here || shown.Path != "relay" ||
				shown.Legs[0].SRTP != c.securedCalls || shown.Legs[1].SRTP == c.securedCalls {
				t.Errorf("which leg is encrypted: %+v", shown)
			}
			a.eventually(5*time.Second, "the state is stored", func() error { return a.stored(1) })
			a.keysAreSealed()

			a.kill9()
			a.start()
			secured.hearsAnew(highTone)
			plain.hearsAnew(lowTone)
			plain.do("hangup", "")
			a.eventually(40*time.Second, "the call is over", func() error {
				if n := len(a.talking()); n != 0 {
					return fmt.Errorf("%d calls", n)
				}
				return nil
			})
		})
	}
}

// keysAreSealed looks for keys where they must not stand in clear.
func (a *appliance) keysAreSealed() {
	a.t.Helper()
	db, err := database.Open(a.t.Context(), filepath.Join(a.data, "linehall.db"))
	if err != nil {
		a.t.Fatal(err)
	}
	defer db.Close()
	var state string
	if err := db.QueryRowContext(a.t.Context(), "SELECT state FROM call_state").Scan(&state); err != nil {
		a.t.Fatal(err)
	}
	if !strings.HasPrefix(state, `{"sealed":`) {
		a.t.Errorf("the state of a call with keys is stored in clear: %.80s", state)
	}
}
