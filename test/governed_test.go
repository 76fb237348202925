package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	directory "linehall/cmd/linesim/appliance"
	"linehall/internal/lab"
)

// venueReport is what linesim says about one venue, as far as it is judged.
type venueReport struct {
	Venue string `json:"venue"`
	State string `json:"state"`
	Seen  []struct {
		Venue     string  `json:"venue"`
		FrameRate float64 `json:"frames_per_second"`
		WorstRate float64 `json:"frames_per_second_min"`
		Height    int     `json:"height"`
		Freezes   uint64  `json:"freezes"`
		Still     float64 `json:"longest_still_ms"`
		Loss      float64 `json:"loss_percent"`
		Bitrate   int     `json:"bitrate_bps"`
		Reason    string  `json:"reason"`
	} `json:"seen"`
	LostVoices  uint64 `json:"lost_voice_packets"`
	HeardVoices uint64 `json:"voice_packets"`
}

type roomsReport struct {
	Venues   []venueReport `json:"venues"`
	Failures []string      `json:"failures"`
}

type phonesReport struct {
	Calls map[string]*struct {
		Attempted, OK, Failed, Packets, Lost uint64
		MOSMin                               float64 `json:"mos_min"`
		MaxGap                               float64 `json:"max_gap_ms"`
	} `json:"calls"`
	Errors map[string]int `json:"errors"`
}

// credentials writes the accounts of the telephones of two sites, ten of each, for linesim.
func (a *appliance) credentialsOf(sites ...string) string {
	a.t.Helper()
	all, err := directory.FromSocket(a.t.Context(), filepath.Join(a.data, "linehall.sock"))
	if err != nil {
		a.t.Fatal(err)
	}
	count := map[string]int{}
	var chosen []directory.Terminal
	for _, terminal := range all {
		for _, site := range sites {
			if terminal.Site == site && count[site] < 10 {
				count[site]++
				chosen = append(chosen, terminal)
			}
		}
	}
	text, err := json.Marshal(chosen)
	if err != nil {
		a.t.Fatal(err)
	}
	file := filepath.Join(a.dir, "credentials.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// invitations are the room links, by an address of the box that every site reaches.
func (l *leased) invitations(a *appliance, venues ...string) (flags []string) {
	for _, venue := range venues {
		link := strings.TrimSpace(a.run("room", "link", "9000", "--venue", venue))
		_, path, _ := strings.Cut(link, "/room/")
		flags = append(flags, "--link", fmt.Sprintf("https://10.98.%d.1:8443/room/%s", siteNumber(venue), path))
	}
	return flags
}

// governed is what one run measured.
type governed struct {
	lines map[string]map[string]passage
	rooms roomsReport
	calls phonesReport
}

// meet lets six venues meet for a while, with ten relayed calls on the line of branch1, and measures.
func (l *leased) meet(a *appliance, length time.Duration, extra ...string) governed {
	l.t.Helper()
	const settle = 5 * time.Second
	calls := l.linesim("phones", "--credentials", a.credentialsOf("hq", "branch1"), "--server", "10.98.0.1", "--transport", "udp",
		"--pairs", "10", "--across", "1", "--hold", fmt.Sprint(length+settle+5*time.Second), "--max-loss", "100", "--json", "--allow-failures")
	defer func() {
		if l.t.Failed() {
			l.t.Logf("telephones: %.3000s", calls.errors.String())
		}
	}()
	a.eventually(30*time.Second, "ten calls are on the line", func() error {
		if up, down := a.line("branch1"); up.ReservedBps < 10*80_000 || down.ReservedBps < 10*80_000 {
			return fmt.Errorf("%d and %d bit/s reserved", up.ReservedBps, down.ReservedBps)
		}
		return nil
	})
	room := l.linesim(append(append([]string{
		"rooms", "--insecure", "--full-rates", "--height", "720", "--strip", "180", "--duration", fmt.Sprint(length),
		"--settle", fmt.Sprint(settle), "--json", "--allow-failures",
	}, extra...), l.invitations(a, leasedSites()...)...)...)
	a.eventually(30*time.Second, "six venues are there", func() error {
		if n := a.metric("linehall_conference_participants"); n != 6 {
			return fmt.Errorf("%v participants", n)
		}
		return nil
	})
	time.Sleep(settle) // what is measured begins when the layers have settled
	l.each(func(site, direction string, taps [2]*tap) {
		l.shaped[site][direction].from = l.shaped[site][direction].dropped()
		if n := l.shaped[site][direction].from; n > 0 {
			l.t.Logf("%s %s: the shaper dropped %d packets while everybody joined: %s", site, direction, n, follow(taps[0].packets(), taps[1].packets()))
		}
		taps[0].begin()
	})
	time.Sleep(length - 2*time.Second)
	g := governed{lines: map[string]map[string]passage{}}
	l.each(func(site, direction string, taps [2]*tap) {
		if g.lines[site] == nil {
			g.lines[site] = map[string]passage{}
		}
		before := taps[0].packets()
		p := follow(before, taps[1].packets())
		p.Dropped = l.shaped[site][direction].dropped() - l.shaped[site][direction].from
		g.lines[site][direction] = p
	})
	room.report(&g.rooms)
	calls.report(&g.calls)
	return g
}

func (l *leased) each(do func(site, direction string, taps [2]*tap)) {
	for _, id := range leasedSites()[1:] {
		for _, direction := range []string{down, up} {
			do(id, direction, l.taps[id][direction])
		}
	}
}

func (g governed) log(t *testing.T) {
	t.Helper()
	for _, id := range leasedSites()[1:] {
		for _, direction := range []string{down, up} {
			t.Logf("%s %s: %s", id, direction, g.lines[id][direction])
		}
	}
	for _, v := range g.rooms.Venues {
		t.Logf("%s %s: %d voice packets, %d lost", v.Venue, v.State, v.HeardVoices, v.LostVoices)
		for _, s := range v.Seen {
			t.Logf("  sees %s: %d lines, %.1f frames/s (worst %.1f), %d kbit/s, %d freezes, longest %.0f ms, loss %.2f %% %s",
				s.Venue, s.Height, s.FrameRate, s.WorstRate, s.Bitrate/1000, s.Freezes, s.Still, s.Loss, s.Reason)
		}
	}
	for name, c := range g.calls.Calls {
		t.Logf("calls %s: %d attempted, %d ok, %d packets, %d lost, MOS at least %.2f, longest gap %.0f ms", name, c.Attempted, c.OK, c.Packets, c.Lost, c.MOSMin, c.MaxGap)
	}
}

// terms are what a run is judged by beside the limits that hold always.
type terms struct {
	latency time.Duration // of the carrier at most, which a voice takes longer
	loss    bool          // the carrier loses packets: lost voices and their scores are not ours
	office  bool          // TCP fills what is left: the queues drop its packets
}

// judge says what was not as it has to be.
func (g governed) judge(rates map[string]int64, by terms) (wrong []string) {
	complain := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, id := range leasedSites()[1:] {
		for _, direction := range []string{down, up} {
			p := g.lines[id][direction]
			if bps := int64(p.Most) * 8; bps > rates[id] {
				complain("%s %s: %d bit/s in the fullest second, the line carries %d", id, direction, bps, rates[id])
			}
			if p.Dropped > 0 && !by.office || p.Lost[voicePacket] > 0 || p.Lost[videoPacket] > 0 {
				complain("%s %s: the shaper dropped %d packets, lost by kind: %v", id, direction, p.Dropped, p.Lost)
			}
			if p.VoiceP99 >= 30*time.Millisecond+by.latency {
				complain("%s %s: voices waited %v (p99)", id, direction, p.VoiceP99)
			}
		}
	}
	for _, v := range g.rooms.Venues {
		if v.LostVoices > 0 && !by.loss || v.HeardVoices == 0 {
			complain("%s lost %d of %d packets of voices", v.Venue, v.LostVoices, v.HeardVoices)
		}
		if len(v.Seen) < 5 {
			complain("%s sees %d others", v.Venue, len(v.Seen))
		}
		for i, s := range v.Seen {
			if s.WorstRate < 8 || s.Height < 180 {
				complain("%s sees %s at %.1f frames/s (worst ten seconds), %d lines", v.Venue, s.Venue, s.WorstRate, s.Height)
			}
			if v.Seen[i].Freezes > 0 && v.Venue != "branch1" { // whose line carries the floor only
				complain("%s saw %s stand still for %.0f ms", v.Venue, s.Venue, s.Still)
			}
		}
		if v.Venue != "branch1" && !v.seesLarge() {
			complain("%s sees nobody large", v.Venue)
		}
	}
	if c := g.calls.Calls["all"]; c == nil || c.Attempted != 10 || !by.loss && (c.OK != 10 || c.Lost > 0 || c.MOSMin < 4) {
		complain("calls: %+v %v", c, g.calls.Errors)
	}
	return wrong
}

// seesLarge says whether the large picture is as large as it can be: branch1 beside its calls has no room to send 720 lines.
func (v venueReport) seesLarge() bool {
	for _, s := range v.Seen {
		if s.Height == 720 || s.Venue == "branch1" && s.Height > 180 {
			return true
		}
	}
	return false
}

// Six venues at full rates on lines of 2, 4, 8, 10 and 20 Mbit/s and ten calls on the narrowest one: in no second is more
// offered than the line carries, the shapers drop nothing, voices wait less than 30 ms, nobody loses a voice, everybody sees
// everybody, with 720 lines where they fit. Then the same over carriers that lose packets or are late, and beside an office that
// fills its lines with TCP, through the router's queue that we ship.
func TestSoakTheLineGoverns(t *testing.T) {
	soakOnly(t, "meetings over shaped lines, alone on the machine")
	const length = 12 * time.Second
	for _, tc := range []struct {
		name string
		by   terms
		over carrier
	}{
		{"alone", terms{}, carrier{}},
		{"with 3 percent loss", terms{loss: true}, carrier{loss: 3}},
		{"with 80 ms delay and 20 ms jitter", terms{latency: 100 * time.Millisecond}, carrier{latency: lab.Latency{Delay: 80 * time.Millisecond, Jitter: 20 * time.Millisecond}}},
		{"beside saturating TCP", terms{office: true}, carrier{office: true}},
	} {
		t.Run(strings.ReplaceAll(tc.name, " ", "_"), func(t *testing.T) {
			l := newLeased(t, tc.over)
			a := startAppliance(t, l.configure)
			g := l.meet(a, length)
			g.log(t)
			for _, wrong := range g.judge(l.rates, tc.by) {
				t.Error(wrong)
			}
		})
	}
}

// The same without the ledger: nobody counts, and the lines are full.
func TestSoakWithoutTheLedgerTheLineIsFull(t *testing.T) {
	soakOnly(t, "a meeting over shaped lines that nobody governs")
	l := newLeased(t, carrier{})
	a := startAppliance(t, l.configure, func(s settings, _ *appliance) {
		for _, site := range s["sites"].([]any) {
			if line, ok := site.(map[string]any)["line"].(map[string]any); ok {
				line["up"], line["down"] = "1Gbps", "1Gbps" // a contract that nobody can use up
			}
		}
	})
	g := l.meet(a, 10*time.Second)
	g.log(t)
	p := g.lines["branch1"][down]
	if int64(p.Most)*8 <= l.rates["branch1"] || p.Dropped == 0 || len(g.judge(l.rates, terms{})) == 0 {
		t.Errorf("nothing is wrong without the ledger, so the run with it proves nothing: %s", p)
	}
}

func soakOnly(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("LINEHALL_SOAK") == "" {
		t.Skipf("%s: run with LINEHALL_SOAK=1", what)
	}
}

// Ten calls at once on a line that video fills: video has made room within a second of the last INVITE, and is back within five
// of the last BYE. Voices of the meeting go on meanwhile.
func TestCallsTakeTheirPartOfAFullLine(t *testing.T) {
	t.Parallel()
	if err := lab.Available(); err != nil {
		t.Skip(err)
	}
	l := newLeased(t, carrier{})
	a := startAppliance(t, l.configure)
	accounts := a.credentialsOf("hq", "branch1")
	room := l.linesim(append([]string{
		"rooms", "--insecure", "--full-rates", "--height", "720", "--strip", "180", "--duration", "60s", "--json", "--allow-failures",
	}, l.invitations(a, "hq", "branch1")...)...)
	taps := l.taps["branch1"][down]
	const span = int64(time.Second)
	rate := func(from int64) int { return 8 * between(taps[0].packets(), videoPacket, from, from+span) }
	a.eventually(40*time.Second, "video fills the line", func() error {
		if bps := rate(time.Now().UnixNano() - span); bps < 1_100_000 {
			return fmt.Errorf("%d bit/s", bps)
		}
		return nil
	})
	calls := l.linesim("phones", "--credentials", accounts, "--server", "10.98.0.1", "--transport", "udp",
		"--pairs", "10", "--across", "1", "--hold", "5s", "--max-loss", "100", "--json", "--allow-failures")
	var report phonesReport
	calls.report(&report)
	packets := taps[0].packets()
	var invite, bye int64
	for _, site := range []string{down, up} {
		for _, p := range l.taps["branch1"][site][0].packets() {
			switch p.kind {
			case invitePacket:
				invite = max(invite, p.at)
			case byePacket:
				bye = max(bye, p.at)
			}
		}
	}
	a.eventually(20*time.Second, "six seconds after the last BYE", func() error {
		if left := bye + 6*span - time.Now().UnixNano(); left > 0 {
			return fmt.Errorf("%v", time.Duration(left))
		}
		return nil
	})
	before, during, after := rate(invite-3*span/2), rate(invite+span), rate(bye+5*span)
	// What the contract leaves, and what a second that begins after a pause has more: a burst of one full packet and the packet
	// that overdraws it (sfu/pace).
	const usable, voices, ten, burst = 1_700_000, 3 * 66_000, 10 * 87_200, 8 * (1500 + 1300)
	t.Logf("video %d bit/s before the calls, %d in the second after the first, %d in the sixth after the last BYE; calls %+v",
		before, during, after, report.Calls["all"])
	if report.Calls["all"].OK != 10 || invite == 0 || bye == 0 {
		t.Fatalf("ten calls: %+v %v", report.Calls["all"], report.Errors)
	}
	if during > usable-voices-ten+burst {
		t.Errorf("video took %d bit/s a second after the calls came, %d are left", during, usable-voices-ten)
	}
	p, gap := follow(packets, taps[1].packets()), longestGap(packets)
	t.Logf("longest gap of a voice towards branch1: %v; %s", gap, p)
	if after < before/2 {
		t.Errorf("video took %d bit/s five seconds after the calls ended, %d before", after, before)
	}
	if os.Getenv("LINEHALL_SOAK") != "" { // alone on the machine: the pauses of a busy one would count
		if after < before*8/10 || int64(p.Most)*8 > l.rates["branch1"] || gap > 100*time.Millisecond || l.shaped["branch1"][down].dropped() > 0 {
			t.Error("not all of that is as it has to be")
		}
	}
	_ = room.command.Process.Signal(os.Interrupt)
	var venues roomsReport
	room.report(&venues)
}
