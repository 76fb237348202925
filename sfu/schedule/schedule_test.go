package schedule_test

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"linehall/internal/database"
	"linehall/internal/secret"
	"linehall/sfu/schedule"
)

// monday is 2026-11-30 08:00 in Shanghai.
var monday = time.Date(2026, time.November, 30, 0, 0, 0, 0, time.UTC)

func shanghai(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

var rooms = []schedule.Room{
	{Number: "9000", Name: "全省例会", Venues: []schedule.Venue{{ID: "hq", Name: "主会场"}, {ID: "branch1", Name: "林东"}}},
	{Number: "9001", Name: "小会议室", Venues: []schedule.Venue{{ID: "hq", Name: "主会场"}}},
}

func open(t *testing.T, dir string) (*schedule.Service, *sql.DB) {
	t.Helper()
	db, err := database.Open(t.Context(), filepath.Join(dir, "x.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := database.Migrate(t.Context(), db, schedule.Schema()); err != nil {
		t.Fatal(err)
	}
	box, err := secret.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := schedule.Open(t.Context(), db, box)
	if err != nil {
		t.Fatal(err)
	}
	s.SetNow(func() time.Time { return monday })
	s.Apply(shanghai(t), rooms)
	return s, db
}

func weekly() schedule.Plan {
	return schedule.Plan{
		Room: "9000", Title: "全省例会", Date: "2026-12-01", Time: "09:00", Minutes: 60, Weekdays: []time.Weekday{time.Friday, time.Tuesday},
		Venues: []string{"branch1", "hq"}, AutoEnd: true, PIN: "246810",
	}
}

func create(t *testing.T, s *schedule.Service, p schedule.Plan) *schedule.Series {
	t.Helper()
	one, err := s.Create(t.Context(), p, "user admin")
	if err != nil {
		t.Fatal(err)
	}
	return one
}

func starts(list []schedule.Occurrence) []string {
	var out []string
	for _, o := range list {
		out = append(out, o.StartsAt.Format("Mon 2006-01-02 15:04 -0700"))
	}
	return out
}

func TestAWeeklySeriesKeepsTheClocks(t *testing.T) {
	s, _ := open(t, t.TempDir())
	p := weekly()
	p.Until, p.Skipped = "2026-12-11", []string{"2026-12-04"}
	create(t, s, p)
	got := starts(s.Between("9000", monday, monday.AddDate(0, 1, 0)))
	if diff := cmp.Diff([]string{"Tue 2026-12-01 09:00 +0800", "Tue 2026-12-08 09:00 +0800", "Fri 2026-12-11 09:00 +0800"}, got); diff != "" {
		t.Error(diff)
	}
	// Where clocks change, nine stays nine.
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, t.TempDir())
	s.Apply(berlin, rooms)
	p = weekly()
	p.Date, p.Weekdays = "2027-03-26", []time.Weekday{time.Friday}
	create(t, s, p)
	got = starts(s.Between("", time.Date(2027, time.March, 20, 0, 0, 0, 0, berlin), time.Date(2027, time.April, 3, 0, 0, 0, 0, berlin)))
	if diff := cmp.Diff([]string{"Fri 2027-03-26 09:00 +0100", "Fri 2027-04-02 09:00 +0200"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestBookingsOfARoom(t *testing.T) {
	s, _ := open(t, t.TempDir())
	p := weekly()
	p.Time, p.Minutes = "23:00", 150 // over midnight
	one := create(t, s, p)
	at := func(text string) time.Time {
		when, err := time.ParseInLocation("2006-01-02 15:04", text, shanghai(t))
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for when, want := range map[string]string{
		"2026-12-01 22:44": "", "2026-12-01 22:46": "2026-12-01", "2026-12-02 00:30": "2026-12-01", "2026-12-02 01:29": "2026-12-01", "2026-12-02 01:30": "",
	} {
		b, ok := s.Booking("9000", at(when))
		if ok != (want != "") || ok && b.Key != one.ID+"/"+want {
			t.Errorf("%s: %v %+v, want %q", when, ok, b, want)
		}
	}
	b, ok := s.NextBooking("9000", at("2026-12-02 00:30"))
	if !ok || b.Key != one.ID+"/2026-12-04" || s.PIN(b.Key) != "246810" || !b.AutoEnd || b.EndsAt.Sub(b.StartsAt) != 150*time.Minute {
		t.Errorf("next: %v %+v", ok, b)
	}
	if _, ok := s.Booking("9001", at("2026-12-01 23:10")); ok {
		t.Error("another room is booked too")
	}
}

func TestPlansThatCannotBe(t *testing.T) {
	s, _ := open(t, t.TempDir())
	create(t, s, weekly())
	for name, c := range map[string]struct {
		change func(*schedule.Plan)
		want   []string
	}{
		"same hour":      {func(p *schedule.Plan) {}, []string{"time overlap"}},
		"other room":     {func(p *schedule.Plan) { p.Room, p.Venues = "9001", nil }, nil},
		"right after":    {func(p *schedule.Plan) { p.Time = "10:00" }, nil},
		"a minute early": {func(p *schedule.Plan) { p.Time, p.Minutes = "08:01", 60 }, []string{"time overlap"}},
		"once, later":    {func(p *schedule.Plan) { p.Weekdays, p.Date = nil, "2026-12-02" }, nil},
		"once, over":     {func(p *schedule.Plan) { p.Weekdays, p.Date = nil, "2026-11-29" }, []string{"date past"}},
		"once, on a series": {func(p *schedule.Plan) {
			p.Weekdays, p.Date, p.Time, p.Minutes = nil, "2027-06-29", "23:30", 24*60 // until Wednesday
			p.Date = "2027-06-28"
		}, []string{"time overlap"}},
		"empty":  {func(p *schedule.Plan) { *p = schedule.Plan{} }, []string{"room unknown", "title required", "minutes range", "time format", "date format"}},
		"names":  {func(p *schedule.Plan) { p.Venues = []string{"moon", "hq", "hq"} }, []string{"venues unknown", "venues format"}},
		"pin":    {func(p *schedule.Plan) { p.PIN = "12a4" }, []string{"pin format"}},
		"until":  {func(p *schedule.Plan) { p.Until = "2026-11-01" }, []string{"until range"}},
		"no day": {func(p *schedule.Plan) { p.Until, p.Weekdays = "2026-12-02", []time.Weekday{time.Sunday} }, []string{"weekdays never"}},
		"into itself": {func(p *schedule.Plan) {
			p.Time, p.Minutes, p.Weekdays = "12:00", 1440, []time.Weekday{1, 2}
			p.Room, p.Venues = "9001", nil
		}, nil},
		"bidi":           {func(p *schedule.Plan) { p.Title = "a\u202eb" }, []string{"title format"}},
		"year":           {func(p *schedule.Plan) { p.Date = "9999-01-01" }, []string{"date range"}},
		"too many notes": {func(p *schedule.Plan) { p.Notes = strings.Repeat("长", 501) }, []string{"notes too_long"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := weekly()
			c.change(&p)
			var got []string
			for _, f := range schedule.Fields(s.Check("", p)) {
				got = append(got, f.Field+" "+string(f.Code))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlansOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	s, db := open(t, dir)
	one := create(t, s, weekly())
	p := weekly()
	p.Title, p.PIN = "例会(改)", ""
	if _, err := s.Change(t.Context(), one.ID, p, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Skip(t.Context(), one.ID, "2026-12-04", true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x.db", "x.db-wal"} {
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err == nil && bytes.Contains(raw, []byte("246810")) {
			t.Errorf("the PIN is in %s", name)
		}
	}
	s, _ = open(t, dir)
	again, err := s.Find(one.ID)
	if err != nil {
		t.Fatal(err)
	}
	if again.Title != "例会(改)" || again.PIN != "246810" || again.Sequence != 2 || !slices.Equal(again.Skipped, []string{"2026-12-04"}) || again.CreatedBy != "user admin" {
		t.Errorf("%+v", again)
	}
	if again, err = s.Cancel(t.Context(), one.ID); err != nil || again.Sequence != 3 {
		t.Fatal(err)
	}
	if list := s.Between("", monday, monday.AddDate(1, 0, 0)); len(list) != 0 {
		t.Errorf("a cancelled series takes place: %v", starts(list))
	}
	create(t, s, weekly()) // its hour is free
}

func TestACalendarThatProgramsSubscribeTo(t *testing.T) {
	s, _ := open(t, t.TempDir())
	p := weekly()
	p.Until, p.Skipped = "2026-12-11", []string{"2026-12-04"}
	p.Notes = "请各会场提前十分钟入会;准备材料, 带好话筒\n议程见附件。主持人会逐个点名,请保持摄像头打开"
	one := create(t, s, p)
	links := schedule.Links{Domain: "linehall.test", Page: func(n string) string { return "https://linehall.test:8443/room/" + n }}
	f, token, err := s.MakeFeed(t.Context(), "", "branch1", "user admin")
	if err != nil {
		t.Fatal(err)
	}
	file, err := s.Feed(t.Context(), token, links)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(file), "\r\n"), "\r\n") {
		if len(line) > 75 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line of %d octets: %q", len(line), line)
		}
	}
	got := strings.ReplaceAll(strings.ReplaceAll(string(file), "\r\n ", ""), "\r\n", "\n") // unfolded
	want := `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Linehall//Meetings//EN
CALSCALE:GREGORIAN
METHOD:PUBLISH
NAME:林东
X-WR-CALNAME:林东
X-WR-TIMEZONE:Asia/Shanghai
REFRESH-INTERVAL;VALUE=DURATION:PT15M
X-PUBLISHED-TTL:PT15M
BEGIN:VTIMEZONE
TZID:Asia/Shanghai
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:+0800
TZOFFSETTO:+0800
TZNAME:CST
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:` + one.ID + `@linehall.test
DTSTAMP:20261130T000000Z
CREATED:20261130T000000Z
LAST-MODIFIED:20261130T000000Z
SEQUENCE:0
DTSTART;TZID=Asia/Shanghai:20261201T090000
DURATION:PT60M
RRULE:FREQ=WEEKLY;BYDAY=TU,FR;UNTIL=20261211T010000Z
EXDATE;TZID=Asia/Shanghai:20261204T090000
SUMMARY:全省例会
LOCATION:全省例会 9000
URL:https://linehall.test:8443/room/9000
DESCRIPTION:请各会场提前十分钟入会\;准备材料\, 带好话筒\n议程见附件。主持人会逐个点名\,请保持摄像头打开\nhttps://linehall.test:8443/room/9000
STATUS:CONFIRMED
TRANSP:OPAQUE
END:VEVENT
END:VCALENDAR
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := s.Cancel(t.Context(), one.ID); err != nil {
		t.Fatal(err)
	}
	file, err = s.Feed(t.Context(), token, links)
	if err != nil || !strings.Contains(string(file), "SEQUENCE:1\r\n") || !strings.Contains(string(file), "STATUS:CANCELLED\r\n") || strings.Contains(string(file), "246810") {
		t.Errorf("after cancelling: %v\n%s", err, file)
	}
	if err := s.RevokeFeed(t.Context(), f.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Feed(t.Context(), token, links); !errors.Is(err, schedule.ErrNotFound) {
		t.Errorf("a revoked calendar: %v", err)
	}
}

func TestACalendarTellsTheChangesOfClocks(t *testing.T) {
	s, _ := open(t, t.TempDir())
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(zone, rooms)
	file := string(s.Calendar(nil, "x", schedule.Links{}))
	for _, want := range []string{
		"BEGIN:DAYLIGHT\r\nDTSTART:20270328T020000\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nTZNAME:CEST\r\nEND:DAYLIGHT\r\n",
		"BEGIN:STANDARD\r\nDTSTART:20271031T030000\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nTZNAME:CET\r\nEND:STANDARD\r\n",
	} {
		if !strings.Contains(file, want) {
			t.Errorf("missing %q", want)
		}
	}
}
