package operator

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type features struct {
	Extension   string          `json:"extension"`
	Settings    featureSettings `json:"settings"`
	HasPIN      bool            `json:"has_pin"`
	Desk        *desk           `json:"desk"`
	Guest       *desk           `json:"guest"`
	LastCaller  *lastCaller     `json:"last_caller"`
	Completions []completion    `json:"completions"`
}

type lastCaller struct {
	Number string    `json:"number"`
	At     time.Time `json:"at"`
}

type completion struct {
	Callee  string    `json:"callee"`
	Waits   string    `json:"waits"`
	Expires time.Time `json:"expires"`
}

type desk struct {
	Desk  string    `json:"desk"`
	Guest string    `json:"guest"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

type featureSettings struct {
	Always          forward           `json:"always"`
	Busy            forward           `json:"busy"`
	NoAnswer        forward           `json:"no_answer"`
	Unreachable     forward           `json:"unreachable"`
	AfterHours      afterHours        `json:"after_hours"`
	NoAnswerSeconds int               `json:"no_answer_seconds"`
	DoNotDisturb    bool              `json:"do_not_disturb"`
	BlockAnonymous  bool              `json:"block_anonymous"`
	CallLimit       int               `json:"call_limit"`
	Boss            boss              `json:"boss"`
	SpeedDials      map[string]string `json:"speed_dials"`
	PickupGroups    []string          `json:"pickup_groups"`
	LoggedOut       []string          `json:"logged_out"`
}

type forward struct {
	On bool   `json:"on"`
	To string `json:"to"`
}

type afterHours struct {
	On    bool   `json:"on"`
	To    string `json:"to"`
	From  string `json:"from"`
	Until string `json:"until"`
}

type boss struct {
	On        bool     `json:"on"`
	Secretary string   `json:"secretary"`
	Only      bool     `json:"only"`
	Allow     []string `json:"allow"`
}

const featuresLong = `Shows what is switched for an extension, or changes it:

  always, busy, no_answer, unreachable = NUMBER, on or off
  after_hours = NUMBER,18:00,08:00, on or off
  no_answer_seconds = 5 to 120            call_limit = 0 (as many as the exchange allows) to 50
  do_not_disturb, block_anonymous = on or off
  boss = SECRETARY, SECRETARY,only, on or off        boss.allow = 8002,8003
  speed.NN = NUMBER, or nothing to delete it         pickup_groups = NAME,NAME   logged_out = GROUP,GROUP`

func (o *operator) terminalFeatures() *cobra.Command {
	return &cobra.Command{
		Use: "features EXTENSION [NAME=VALUE ...]", Short: "forwards, do not disturb and what else is switched, and change it",
		Long: featuresLong, Example: "  linehall terminal features 8001 busy=8002 do_not_disturb=off", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/api/v1/terminals/" + segment(args[0]) + "/features"
			if len(args) == 1 {
				return show(o, cmd, path, renderFeatures)
			}
			c, err := o.client()
			if err != nil {
				return err
			}
			var now features
			if err := c.get(cmd.Context(), path, &now); err != nil {
				return err
			}
			for _, wish := range args[1:] {
				if err := now.Settings.assign(wish); err != nil {
					return err
				}
			}
			return send(o, cmd, "PUT", path, now.Settings, renderFeatures)
		},
	}
}

// assign applies one NAME=VALUE; what the numbers may be is the appliance's affair.
func (s *featureSettings) assign(wish string) error {
	name, value, ok := strings.Cut(wish, "=")
	if !ok {
		return fmt.Errorf("%q: write NAME=VALUE", wish)
	}
	var err error
	switch name {
	case "always":
		s.Always.assign(value)
	case "busy":
		s.Busy.assign(value)
	case "no_answer":
		s.NoAnswer.assign(value)
	case "unreachable":
		s.Unreachable.assign(value)
	case "after_hours":
		err = s.AfterHours.assign(value)
	case "no_answer_seconds":
		s.NoAnswerSeconds, err = strconv.Atoi(value)
	case "call_limit":
		s.CallLimit, err = strconv.Atoi(value)
	case "do_not_disturb":
		s.DoNotDisturb, err = onOff(value)
	case "block_anonymous":
		s.BlockAnonymous, err = onOff(value)
	case "boss":
		s.Boss.assign(value)
	case "boss.allow":
		s.Boss.Allow = list(value)
	case "pickup_groups":
		s.PickupGroups = list(value)
	case "logged_out":
		s.LoggedOut = list(value)
	default:
		code, isSpeed := strings.CutPrefix(name, "speed.")
		if !isSpeed {
			return fmt.Errorf("%q is no feature; `linehall terminal features --help` lists them", name)
		}
		if s.SpeedDials[code] = value; value == "" {
			delete(s.SpeedDials, code)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", wish, err)
	}
	return nil
}

func (f *forward) assign(value string) {
	switch value {
	case "on", "off":
		f.On = value == "on"
	default:
		f.On, f.To = true, value
	}
}

func (h *afterHours) assign(value string) error {
	if value == "on" || value == "off" {
		h.On = value == "on"
		return nil
	}
	parts := strings.Split(value, ",")
	if len(parts) != 3 {
		return fmt.Errorf("write NUMBER,18:00,08:00")
	}
	*h = afterHours{On: true, To: parts[0], From: parts[1], Until: parts[2]}
	return nil
}

func (b *boss) assign(value string) {
	switch value {
	case "on", "off":
		b.On = value == "on"
	default:
		secretary, only, _ := strings.Cut(value, ",")
		b.On, b.Secretary, b.Only = true, secretary, only == "only"
	}
}

func onOff(value string) (bool, error) {
	if value != "on" && value != "off" {
		return false, fmt.Errorf("%q is neither on nor off", value)
	}
	return value == "on", nil
}

func list(value string) []string {
	if value == "" {
		return []string{}
	}
	return strings.Split(value, ",")
}

func renderFeatures(out io.Writer, f features) {
	s := f.Settings
	line := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("extension", "%s", f.Extension)
	for _, fw := range []struct {
		name string
		f    forward
	}{{"always", s.Always}, {"busy", s.Busy}, {"no_answer", s.NoAnswer}, {"unreachable", s.Unreachable}, {"after_hours", forward{s.AfterHours.On, s.AfterHours.To}}} {
		line(fw.name, "%s %s", onOrOff(fw.f.On), fw.f.To)
	}
	if s.AfterHours.From != "" {
		line("", "from %s to %s", s.AfterHours.From, s.AfterHours.Until)
	}
	line("no_answer_seconds", "%d", s.NoAnswerSeconds)
	line("do_not_disturb", "%s", onOrOff(s.DoNotDisturb))
	line("block_anonymous", "%s", onOrOff(s.BlockAnonymous))
	line("call_limit", "%d", s.CallLimit)
	line("boss", "%s %s only=%s allow=%s", onOrOff(s.Boss.On), s.Boss.Secretary, yesNo(s.Boss.Only), strings.Join(s.Boss.Allow, ","))
	for _, code := range slices.Sorted(maps.Keys(s.SpeedDials)) {
		line("speed."+code, "%s", s.SpeedDials[code])
	}
	line("pickup_groups", "%s", strings.Join(s.PickupGroups, ","))
	line("logged_out", "%s", strings.Join(s.LoggedOut, ","))
	line("PIN", "%s", yesNo(f.HasPIN))
	if f.Desk != nil {
		line("guest at", "%s until %s", f.Desk.Desk, clock(&f.Desk.Until))
	}
	if f.Guest != nil {
		line("used by", "%s until %s", f.Guest.Guest, clock(&f.Guest.Until))
	}
	if f.LastCaller != nil {
		line("last caller", "%s at %s", f.LastCaller.Number, clock(&f.LastCaller.At))
	}
	for _, c := range f.Completions {
		line("waits for", "%s (%s) until %s", c.Callee, c.Waits, clock(&c.Expires))
	}
}

func onOrOff(on bool) string {
	if on {
		return "on "
	}
	return "off"
}

func (o *operator) terminalPIN() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use: "pin EXTENSION", Short: "set the PIN with which somebody logs in at another desk; it is asked for, or read from standard input", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			pin, said := "", "PIN of "+args[0]+" removed"
			if !remove {
				var err error
				if pin, err = askPassword(cmd); err != nil {
					return err
				}
				if said = "PIN of " + args[0] + " set"; pin == "" {
					return fmt.Errorf("no PIN was given; --remove takes it away")
				}
			}
			return send(o, cmd, "PUT", "/api/v1/terminals/"+segment(args[0])+"/pin", map[string]string{"pin": pin}, saidText(said))
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "take the PIN away")
	return cmd
}

func saidText(text string) func(io.Writer, json.RawMessage) {
	return func(out io.Writer, _ json.RawMessage) { fmt.Fprintln(out, text) }
}

func (o *operator) terminalLogOut() *cobra.Command {
	return &cobra.Command{
		Use: "logout EXTENSION", Short: "end the stay of a guest at an extension's phone", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(o, cmd, "DELETE", "/api/v1/terminals/"+segment(args[0])+"/guest", nil, saidText("the phone of "+args[0]+" is its own again"))
		},
	}
}

func (o *operator) terminalGroups() *cobra.Command {
	return &cobra.Command{
		Use: "groups", Short: "ring groups and who of them is free", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return show(o, cmd, "/api/v1/groups", func(out io.Writer, body struct {
				Groups []struct {
					Number   string `json:"number"`
					Name     string `json:"name"`
					Strategy string `json:"strategy"`
					Members  []struct {
						Extension    string `json:"extension"`
						DisplayName  string `json:"display_name"`
						LoggedIn     bool   `json:"logged_in"`
						Registered   bool   `json:"registered"`
						DoNotDisturb bool   `json:"do_not_disturb"`
						Calls        int    `json:"calls"`
						Free         bool   `json:"free"`
					} `json:"members"`
				} `json:"groups"`
			},
			) {
				t := newTable(out, "group", "name", "strategy", "member", "name", "logged in", "registered", "do not disturb", "calls", "free")
				for _, g := range body.Groups {
					for _, m := range g.Members {
						t.AppendRow([]any{g.Number, g.Name, g.Strategy, m.Extension, m.DisplayName, yesNo(m.LoggedIn), yesNo(m.Registered), yesNo(m.DoNotDisturb), m.Calls, yesNo(m.Free)})
					}
				}
				t.Render()
			})
		},
	}
}
