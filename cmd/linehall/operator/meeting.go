package operator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// plan is a planned meeting, as it is sent and shown.
type plan struct {
	ID        string   `json:"id,omitempty"`
	Room      string   `json:"room"`
	Title     string   `json:"title"`
	Notes     string   `json:"notes"`
	Date      string   `json:"date"`
	Time      string   `json:"time"`
	Minutes   int      `json:"minutes"`
	Weekdays  []int    `json:"weekdays"`
	Until     string   `json:"until"`
	Skipped   []string `json:"skipped"`
	Venues    []string `json:"venues"`
	AutoEnd   bool     `json:"auto_end"`
	PIN       *string  `json:"pin,omitempty"`
	HasPIN    bool     `json:"has_pin,omitempty"`
	TimeZone  string   `json:"time_zone,omitempty"`
	CreatedBy string   `json:"created_by,omitempty"`
	Cancelled bool     `json:"cancelled,omitempty"`
	Next      *struct {
		StartsAt time.Time `json:"starts_at"`
		EndsAt   time.Time `json:"ends_at"`
	} `json:"next,omitempty"`
}

// wish is a plan as the API takes it.
func (p *plan) wish() map[string]any {
	m := map[string]any{
		"room": p.Room, "title": p.Title, "notes": p.Notes, "date": p.Date, "time": p.Time, "minutes": p.Minutes, "weekdays": p.Weekdays, "until": p.Until,
		"skipped": p.Skipped, "venues": p.Venues, "auto_end": p.AutoEnd,
	}
	if p.PIN != nil {
		m["pin"] = *p.PIN
	}
	return m
}

func (o *operator) meeting() *cobra.Command {
	var room string
	list := &cobra.Command{
		Use: "list", Short: "the meetings that are planned", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "/api/v1/schedule?room="+url.QueryEscape(room), renderPlans)
		},
	}
	list.Flags().StringVar(&room, "room", "", "only this room")
	one := &cobra.Command{
		Use: "show MEETING", Short: "one planned meeting", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return show(o, cmd, "/api/v1/schedule/"+segment(args[0]), renderPlan)
		},
	}
	cancel := &cobra.Command{
		Use: "cancel MEETING", Short: "cancel a planned meeting, or with --date one day of a series", Args: cobra.ExactArgs(1),
	}
	var date string
	cancel.Flags().StringVar(&date, "date", "", "only the meeting of this day, as 2026-12-08")
	cancel.RunE = func(cmd *cobra.Command, args []string) error {
		path := "/api/v1/schedule/" + segment(args[0])
		if date != "" {
			return send(o, cmd, "PUT", path+"/skipped/"+segment(date), nil, renderPlan)
		}
		return send(o, cmd, "DELETE", path, nil, said[map[string]any]("meeting "+args[0]+" cancelled"))
	}
	return group("meeting", "planned meetings", list, one, o.meetingAdd(), o.meetingEdit(), cancel, o.meetingCalendar(), o.meetingAttendance())
}

// planFlags are the options of add and edit.
type planFlags struct {
	plan
	pin      string
	weekly   string
	keepOpen bool
}

func (f *planFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.Room, "room", "", "number of the room")
	flags.StringVar(&f.Title, "title", "", "what it is about")
	flags.StringVar(&f.Notes, "notes", "", "more about it")
	flags.StringVar(&f.Date, "date", "", "the day, or the first of a series: 2026-12-01")
	flags.StringVar(&f.Time, "time", "", "when it begins, by the organisation's clocks: 09:30")
	flags.IntVar(&f.Minutes, "minutes", 60, "how long it takes")
	flags.StringVar(&f.weekly, "weekly", "", "repeat on these days: mon,thu")
	flags.StringVar(&f.Until, "until", "", "last day of a series")
	flags.StringSliceVar(&f.Skipped, "skip", []string{}, "days of a series on which it does not take place")
	flags.StringSliceVar(&f.Venues, "venues", []string{}, "ids of the venues that are called at the start")
	flags.BoolVar(&f.keepOpen, "open-end", false, "do not end it by itself")
	flags.StringVar(&f.pin, "pin", "", "PIN that guests are asked for instead of the room's")
}

// take puts what was given on the command line into a plan.
func (f *planFlags) take(cmd *cobra.Command, p *plan) error {
	given := cmd.Flags().Changed
	for name, set := range map[string]func(){
		"room": func() { p.Room = f.Room }, "title": func() { p.Title = f.Title }, "notes": func() { p.Notes = f.Notes },
		"date": func() { p.Date = f.Date }, "time": func() { p.Time = f.Time }, "minutes": func() { p.Minutes = f.Minutes },
		"until": func() { p.Until = f.Until }, "skip": func() { p.Skipped = f.Skipped }, "venues": func() { p.Venues = f.Venues },
		"open-end": func() { p.AutoEnd = !f.keepOpen }, "pin": func() { p.PIN = &f.pin },
	} {
		if given(name) {
			set()
		}
	}
	if !given("weekly") {
		return nil
	}
	p.Weekdays = []int{}
	names := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	for word := range strings.SplitSeq(f.weekly, ",") {
		if word = strings.ToLower(strings.TrimSpace(word)); word == "" {
			continue
		}
		known := false
		for i, name := range names {
			if word == name {
				p.Weekdays, known = append(p.Weekdays, i+1), true
			}
		}
		if !known {
			return fmt.Errorf("--weekly: %q is not one of %s", word, strings.Join(names, ", "))
		}
	}
	return nil
}

func (o *operator) meetingAdd() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use: "add", Short: "plan a meeting", Args: cobra.NoArgs,
		Example: "linehall meeting add --room 9000 --title 例会 --date 2026-12-01 --time 09:00 --weekly tue,fri --venues hq,branch1",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := plan{Minutes: 60, AutoEnd: true, Weekdays: []int{}, Skipped: []string{}, Venues: []string{}}
			if err := f.take(cmd, &p); err != nil {
				return err
			}
			return send(o, cmd, "POST", "/api/v1/schedule", p.wish(), renderPlan)
		},
	}
	f.register(cmd)
	return cmd
}

func (o *operator) meetingEdit() *cobra.Command {
	var f planFlags
	cmd := &cobra.Command{
		Use: "edit MEETING", Short: "change a planned meeting; what is not named stays", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.client()
			if err != nil {
				return err
			}
			path := "/api/v1/schedule/" + segment(args[0])
			answer, err := c.do(cmd.Context(), "GET", path, nil)
			if err != nil {
				return err
			}
			var p plan
			if err := json.Unmarshal(answer, &p); err != nil {
				return fmt.Errorf("decode answer: %w", err)
			}
			if err := f.take(cmd, &p); err != nil {
				return err
			}
			return send(o, cmd, "PUT", path, p.wish(), renderPlan)
		},
	}
	f.register(cmd)
	return cmd
}

func (o *operator) meetingCalendar() *cobra.Command {
	var room, venue, revoke, output string
	var list bool
	cmd := &cobra.Command{
		Use: "calendar [MEETING]", Short: "a meeting as a calendar file, or a link that calendar programs follow", Args: cobra.MaximumNArgs(1),
		Long: "With a meeting, writes it as an .ics file. Without one, prints a link with which a calendar program follows all planned meetings, or those of --room or --venue. " +
			"Whoever has the link can read it until it is revoked.",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1:
				return o.fetch(cmd, "/api/v1/schedule/"+segment(args[0])+"/calendar.ics", output)
			case list:
				return show(o, cmd, "/api/v1/calendars", renderFeeds)
			case revoke != "":
				return send(o, cmd, "DELETE", "/api/v1/calendars/"+segment(revoke), nil, said[map[string]any]("calendar "+revoke+" revoked"))
			case output != "":
				return errors.New("--output is for the file of one meeting")
			}
			return send(o, cmd, "POST", "/api/v1/calendars", map[string]string{"room": room, "venue": venue}, func(out io.Writer, made struct {
				URL string `json:"url"`
			},
			) {
				fmt.Fprintln(out, made.URL)
			})
		},
	}
	cmd.Flags().StringVar(&room, "room", "", "only the meetings of this room")
	cmd.Flags().StringVar(&venue, "venue", "", "only the meetings to which this venue is called")
	cmd.Flags().BoolVar(&list, "list", false, "list the links that are valid")
	cmd.Flags().StringVar(&revoke, "revoke", "", "revoke the link with this id")
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write to; standard output otherwise")
	return cmd
}

func renderFeeds(out io.Writer, body struct {
	Calendars []struct {
		ID        string    `json:"id"`
		Room      string    `json:"room"`
		Venue     string    `json:"venue"`
		CreatedBy string    `json:"created_by"`
		CreatedAt time.Time `json:"created_at"`
	} `json:"calendars"`
},
) {
	t := newTable(out, "id", "room", "venue", "made by", "made")
	for _, f := range body.Calendars {
		t.AppendRow([]any{f.ID, f.Room, f.Venue, f.CreatedBy, clock(&f.CreatedAt)})
	}
	t.Render()
}

func renderPlans(out io.Writer, body struct {
	Meetings []plan `json:"meetings"`
},
) {
	t := newTable(out, "meeting", "room", "title", "when", "minutes", "next", "state")
	for _, p := range body.Meetings {
		t.AppendRow([]any{p.ID, p.Room, p.Title, p.when(), p.Minutes, p.nextText(), p.state()})
	}
	t.Render()
}

func (p *plan) when() string {
	if len(p.Weekdays) == 0 {
		return p.Date + " " + p.Time
	}
	names := []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	var days []string
	for _, d := range p.Weekdays {
		if d >= 1 && d <= len(names) {
			days = append(days, names[d-1])
		}
	}
	text := strings.Join(days, ",") + " " + p.Time + " from " + p.Date
	if p.Until != "" {
		text += " to " + p.Until
	}
	return text
}

func (p *plan) nextText() string {
	if p.Next == nil {
		return "-"
	}
	return clock(&p.Next.StartsAt)
}

func (p *plan) state() string {
	switch {
	case p.Cancelled:
		return "cancelled"
	case p.Next == nil:
		return "over"
	}
	return "planned"
}

func renderPlan(out io.Writer, p plan) {
	fmt.Fprintf(out, "%s %s: %s\nroom %s, %s (%s), %d minutes, next %s\n", p.ID, p.Title, p.state(), p.Room, p.when(), p.TimeZone, p.Minutes, p.nextText())
	fmt.Fprintf(out, "ends by itself: %s, own PIN: %s, planned by %s\n", yesNo(p.AutoEnd), yesNo(p.HasPIN), p.CreatedBy)
	if len(p.Venues) > 0 {
		fmt.Fprintf(out, "calls: %s\n", strings.Join(p.Venues, ", "))
	}
	if len(p.Skipped) > 0 {
		fmt.Fprintf(out, "not on: %s\n", strings.Join(p.Skipped, ", "))
	}
	if p.Notes != "" {
		fmt.Fprintln(out, p.Notes)
	}
}
