package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// Features knows what is switched on telephones.
type Features interface {
	// Features returns what is switched for an extension.
	Features(ctx context.Context, extension string) (TerminalFeatures, error)
	// SetFeatures replaces the settings; a value that breaks a rule is an *InvalidError.
	SetFeatures(ctx context.Context, extension string, settings FeatureSettings) error
	// SetPIN sets the PIN of hot desking; "" takes it away.
	SetPIN(ctx context.Context, extension, pin string) error
	// LogOut ends the stay of a guest at an extension's phone.
	LogOut(ctx context.Context, extension string) error
	Groups(ctx context.Context) []Group
	SetGroupMember(ctx context.Context, group, extension string, loggedIn bool) error
}

// InvalidError says which fields of a body break which rules.
type InvalidError struct {
	Fields []InvalidField
}

// InvalidField is one of them; Path is relative to the body: "always.to".
type InvalidField struct {
	Path, Message string
	Code          string // for pages, which have their own words; empty: none
}

// Error names the first field.
func (e *InvalidError) Error() string {
	if len(e.Fields) == 0 {
		return ErrInvalid.Error()
	}
	return e.Fields[0].Path + ": " + e.Fields[0].Message
}

// problem is the RFC 9457 document that names each field.
func (e *InvalidError) problem() huma.StatusError {
	details := make([]error, 0, len(e.Fields))
	for _, f := range e.Fields {
		detail := &huma.ErrorDetail{Location: "body." + f.Path, Message: f.Message}
		if f.Code != "" {
			detail.Value = f.Code
		}
		details = append(details, detail)
	}
	return huma.Error422UnprocessableEntity("validation failed", details...)
}

// TerminalFeatures is what is switched for an extension.
type TerminalFeatures struct {
	Extension   string          `json:"extension"`
	Settings    FeatureSettings `json:"settings"`
	HasPIN      bool            `json:"has_pin" doc:"may log in at other desks"`
	Desk        *Desk           `json:"desk" doc:"where the extension is a guest now"`
	Guest       *Desk           `json:"guest" doc:"who uses the extension's phone now"`
	LastCaller  *LastCaller     `json:"last_caller"`
	Completions []Completion    `json:"completions" doc:"calls that are tried again when the other side is free"`
}

// FeatureSettings is what can be set for an extension.
type FeatureSettings struct {
	Always          Forward           `json:"always"`
	Busy            Forward           `json:"busy"`
	NoAnswer        Forward           `json:"no_answer"`
	Unreachable     Forward           `json:"unreachable"`
	AfterHours      AfterHours        `json:"after_hours"`
	NoAnswerSeconds int               `json:"no_answer_seconds" minimum:"5" maximum:"120"`
	DoNotDisturb    bool              `json:"do_not_disturb"`
	BlockAnonymous  bool              `json:"block_anonymous"`
	CallLimit       int               `json:"call_limit" minimum:"0" maximum:"50" doc:"calls at the same time; 1 = no call waits, 0 = as many as the exchange allows"`
	Boss            Boss              `json:"boss"`
	SpeedDials      map[string]string `json:"speed_dials" doc:"numbers by a code of two digits"`
	PickupGroups    []string          `json:"pickup_groups"`
	LoggedOut       []string          `json:"logged_out" doc:"ring groups that leave the extension alone"`
}

// Forward sends calls elsewhere.
type Forward struct {
	On bool   `json:"on"`
	To string `json:"to" maxLength:"32"`
}

// AfterHours is a forward by the clock, in the appliance's time zone.
type AfterHours struct {
	On    bool   `json:"on"`
	To    string `json:"to" maxLength:"32"`
	From  string `json:"from" maxLength:"5" example:"18:00"`
	Until string `json:"until" maxLength:"5" example:"08:00"`
}

// Boss lets a secretary take an extension's calls.
type Boss struct {
	On        bool     `json:"on"`
	Secretary string   `json:"secretary" maxLength:"32"`
	Only      bool     `json:"only" doc:"the boss's phone never rings for others; else after the secretary's"`
	Allow     []string `json:"allow" doc:"who gets through, beside the secretary"`
}

// Desk is a stay at another desk's phone.
type Desk struct {
	Desk  string    `json:"desk"`
	Guest string    `json:"guest"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// LastCaller is who called last.
type LastCaller struct {
	Number string    `json:"number" doc:"empty when withheld"`
	At     time.Time `json:"at"`
}

// Completion is a call that is tried again when the callee is free.
type Completion struct {
	Caller  string    `json:"caller"`
	Callee  string    `json:"callee"`
	Waits   string    `json:"waits" enum:"busy,no_answer,absent"`
	Since   time.Time `json:"since"`
	Expires time.Time `json:"expires"`
}

// Group is a ring or hunt group at this moment.
type Group struct {
	Number      string        `json:"number"`
	Name        string        `json:"name"`
	Strategy    string        `json:"strategy" enum:"all,linear,longest_idle,memory"`
	RingSeconds int           `json:"ring_seconds"`
	Overflow    string        `json:"overflow"`
	Members     []GroupMember `json:"members"`
}

// GroupMember is one member.
type GroupMember struct {
	Extension    string `json:"extension"`
	DisplayName  string `json:"display_name"`
	Site         string `json:"site"`
	LoggedIn     bool   `json:"logged_in"`
	Registered   bool   `json:"registered"`
	DoNotDisturb bool   `json:"do_not_disturb"`
	Calls        int    `json:"calls"`
	Free         bool   `json:"free" doc:"a call to the group would ring here"`
}

type groupList struct {
	Groups []Group `json:"groups"`
}

type featuresIn struct {
	Extension string `path:"extension" maxLength:"32"`
}

type featuresSetIn struct {
	Extension string `path:"extension" maxLength:"32"`
	Body      FeatureSettings
}

type pinIn struct {
	Extension string `path:"extension" maxLength:"32"`
	Body      struct {
		PIN string `json:"pin" maxLength:"10" doc:"4 to 10 digits; empty takes it away"`
	}
}

type memberIn struct {
	Number    string `path:"number" maxLength:"32"`
	Extension string `path:"extension" maxLength:"32"`
	Body      struct {
		LoggedIn bool `json:"logged_in"`
	}
}

// Staff may look at and switch what is their own: the console user named like the extension. What
// concerns colleagues (pickup groups) is the operators'.
var (
	ownAndWatchers  = append(slices.Clone(watchers), auth.User)
	ownAndOperators = append(slices.Clone(operators), auth.User)
)

func (a *API) registerFeatures() {
	op := operation("get-terminal-features", http.MethodGet, "/terminals/{extension}/features", "terminals", "What is switched for an extension", ownAndWatchers)
	view(a, op, ownAndWatchers, func(ctx context.Context, p auth.Principal, in *featuresIn) (*body[TerminalFeatures], error) {
		f, err := a.features(ctx, p, in.Extension)
		return &body[TerminalFeatures]{f}, err
	})
	op = operation("set-terminal-features", http.MethodPut, "/terminals/{extension}/features", "terminals", "Switch an extension's features", ownAndOperators)
	change(a, op, ownAndOperators, a.featuresIntent, func(ctx context.Context, p auth.Principal, in *featuresSetIn) (*body[TerminalFeatures], error) {
		if err := a.opts.Features.SetFeatures(ctx, in.Extension, in.Body); err != nil {
			return nil, err
		}
		f, err := a.features(ctx, p, in.Extension)
		return &body[TerminalFeatures]{f}, err
	})
	op = operation("set-terminal-pin", http.MethodPut, "/terminals/{extension}/pin", "terminals", "Set an extension's PIN for hot desking", ownAndOperators)
	op.DefaultStatus = http.StatusNoContent
	change(a, op, ownAndOperators,
		func(ctx context.Context, p auth.Principal, in *pinIn) (audit.Event, error) {
			_, err := a.features(ctx, p, in.Extension)
			return audit.Event{Action: "terminal.pin", Object: in.Extension, Detail: map[string]string{"removed": strconv.FormatBool(in.Body.PIN == "")}}, err
		},
		func(ctx context.Context, _ auth.Principal, in *pinIn) (*nothing, error) {
			return nil, a.opts.Features.SetPIN(ctx, in.Extension, in.Body.PIN)
		})
	op = operation("end-terminal-guest", http.MethodDelete, "/terminals/{extension}/guest", "terminals", "Log a guest out of an extension's phone", ownAndOperators)
	op.DefaultStatus = http.StatusNoContent
	change(a, op, ownAndOperators,
		func(ctx context.Context, p auth.Principal, in *featuresIn) (audit.Event, error) {
			_, err := a.features(ctx, p, in.Extension)
			return audit.Event{Action: "terminal.guest.logout", Object: in.Extension}, err
		},
		func(ctx context.Context, _ auth.Principal, in *featuresIn) (*nothing, error) {
			return nil, a.opts.Features.LogOut(ctx, in.Extension)
		})
	a.registerGroups()
}

func (a *API) registerGroups() {
	view(a, operation("list-groups", http.MethodGet, "/groups", "groups", "Ring groups and who of them is free", watchers), watchers,
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[groupList], error) {
			groups := only(p, a.opts.Features.Groups(ctx), func(g Group) []string {
				sites := make([]string, 0, len(g.Members))
				for _, m := range g.Members {
					sites = append(sites, m.Site)
				}
				return sites
			})
			return &body[groupList]{groupList{groups}}, nil
		})
	op := operation("set-group-member", http.MethodPut, "/groups/{number}/members/{extension}", "groups", "Log a member in to a group or out of it", operators)
	op.DefaultStatus = http.StatusNoContent
	change(a, op, operators,
		func(ctx context.Context, p auth.Principal, in *memberIn) (audit.Event, error) {
			_, err := a.features(ctx, p, in.Extension)
			return audit.Event{Action: "group.member", Object: in.Number, Detail: map[string]string{
				"extension": in.Extension, "logged_in": strconv.FormatBool(in.Body.LoggedIn),
			}}, err
		},
		func(ctx context.Context, _ auth.Principal, in *memberIn) (*nothing, error) {
			return nil, a.opts.Features.SetGroupMember(ctx, in.Number, in.Extension, in.Body.LoggedIn)
		})
}

// features returns an extension's features to whoever may see them.
func (a *API) features(ctx context.Context, p auth.Principal, extension string) (TerminalFeatures, error) {
	if p.Is(auth.User) {
		if p.Kind != auth.KindUser || p.Name != extension {
			return TerminalFeatures{}, huma.Error403Forbidden("this is not your extension")
		}
	} else if _, err := a.terminal(ctx, p, extension); err != nil {
		return TerminalFeatures{}, err
	}
	f, err := a.opts.Features.Features(ctx, extension)
	f.Settings = f.Settings.filled()
	if f.Completions == nil {
		f.Completions = []Completion{}
	}
	return f, err
}

// filled has no null in it.
func (s FeatureSettings) filled() FeatureSettings {
	if s.SpeedDials == nil {
		s.SpeedDials = map[string]string{}
	}
	for _, list := range []*[]string{&s.PickupGroups, &s.LoggedOut, &s.Boss.Allow} {
		if *list == nil {
			*list = []string{}
		}
	}
	return s
}

// featuresIntent records what differs.
func (a *API) featuresIntent(ctx context.Context, p auth.Principal, in *featuresSetIn) (audit.Event, error) {
	now, err := a.features(ctx, p, in.Extension)
	if err != nil {
		return audit.Event{}, err
	}
	if p.Is(auth.User) && !slices.Equal(now.Settings.PickupGroups, in.Body.filled().PickupGroups) {
		return audit.Event{}, huma.Error403Forbidden("pickup groups are set by operators: who is in one may take its calls")
	}
	detail, err := differences(now.Settings, in.Body.filled())
	return audit.Event{Action: "terminal.features", Object: in.Extension, Detail: detail}, err
}

// differences lists the members of b that differ from those of a, as JSON.
func differences(a, b FeatureSettings) (map[string]string, error) {
	var members [2]map[string]json.RawMessage
	for i, s := range []FeatureSettings{a, b} {
		raw, err := json.Marshal(s)
		if err = errors.Join(err, json.Unmarshal(raw, &members[i])); err != nil {
			return nil, err
		}
	}
	detail := map[string]string{}
	for key, value := range members[1] {
		if string(value) != string(members[0][key]) {
			detail[key] = string(value)
		}
	}
	return detail, nil
}
