package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"linehall/internal/auth"
	"linehall/internal/directory"
	"linehall/internal/setting"
	"linehall/sip/feature"
	"linehall/web/api"
)

// featuresView shows and changes for the API what is switched on telephones.
type featuresView struct {
	features  *feature.Service
	directory *directory.Directory
}

// Features returns what is switched for an extension.
func (v featuresView) Features(_ context.Context, extension string) (api.TerminalFeatures, error) {
	if _, known := v.directory.ByExtension(extension); !known || extension == "" {
		return api.TerminalFeatures{}, fmt.Errorf("terminal %s: %w", extension, api.ErrNotFound)
	}
	f := api.TerminalFeatures{Extension: extension, Settings: shownSettings(v.features.Settings(extension)), HasPIN: v.features.HasPIN(extension)}
	for _, d := range v.features.Desks() {
		shown := api.Desk(d)
		if d.Guest == extension {
			f.Desk = &shown
		}
		if d.Desk == extension {
			f.Guest = &shown
		}
	}
	if number, at, ok := v.features.LastCaller(extension); ok {
		f.LastCaller = &api.LastCaller{Number: number, At: at.UTC()}
	}
	for _, c := range v.features.Completions() {
		if c.Caller == extension {
			f.Completions = append(f.Completions, api.Completion{Caller: c.Caller, Callee: c.Callee, Waits: string(c.Waits), Since: c.Since, Expires: c.Expires})
		}
	}
	return f, nil
}

func shownSettings(s feature.Settings) api.FeatureSettings {
	return api.FeatureSettings{
		Always: api.Forward(s.Always), Busy: api.Forward(s.Busy), NoAnswer: api.Forward(s.NoAnswer), Unreachable: api.Forward(s.Unreachable),
		AfterHours:      api.AfterHours{On: s.AfterHours.On, To: s.AfterHours.To, From: s.AfterHours.From, Until: s.AfterHours.Until},
		NoAnswerSeconds: int(s.NoAnswerAfter() / time.Second), DoNotDisturb: s.DoNotDisturb, BlockAnonymous: s.BlockAnonymous, CallLimit: s.CallLimit,
		Boss: api.Boss(s.Boss), SpeedDials: s.SpeedDials, PickupGroups: s.PickupGroups, LoggedOut: s.LoggedOut,
	}
}

// SetFeatures replaces an extension's settings.
func (v featuresView) SetFeatures(ctx context.Context, extension string, s api.FeatureSettings) error {
	_, err := v.features.Change(ctx, extension, func(own *feature.Settings) {
		*own = feature.Settings{
			Always: feature.Forward(s.Always), Busy: feature.Forward(s.Busy), NoAnswer: feature.Forward(s.NoAnswer), Unreachable: feature.Forward(s.Unreachable),
			AfterHours:      feature.Hours{Forward: feature.Forward{On: s.AfterHours.On, To: s.AfterHours.To}, From: s.AfterHours.From, Until: s.AfterHours.Until},
			NoAnswerSeconds: s.NoAnswerSeconds, DoNotDisturb: s.DoNotDisturb, BlockAnonymous: s.BlockAnonymous, CallLimit: s.CallLimit,
			Boss: feature.Boss(s.Boss), SpeedDials: s.SpeedDials, PickupGroups: s.PickupGroups, LoggedOut: s.LoggedOut,
		}
	})
	return featureProblem(err)
}

// SetPIN sets the PIN of hot desking.
func (v featuresView) SetPIN(ctx context.Context, extension, pin string) error {
	return featureProblem(v.features.SetPIN(ctx, extension, pin))
}

// LogOut ends the stay of a guest.
func (v featuresView) LogOut(ctx context.Context, extension string) error {
	was, err := v.features.LogOut(ctx, extension)
	if err == nil && !was {
		err = fmt.Errorf("guest at %s: %w", extension, api.ErrNotFound)
	}
	return featureProblem(err)
}

// Groups shows the ring groups.
func (v featuresView) Groups(context.Context) []api.Group {
	groups := []api.Group{}
	for _, g := range v.features.Groups() {
		shown := api.Group{Number: g.Number, Name: g.Name, Strategy: string(g.Strategy), RingSeconds: int(g.Ring / time.Second), Overflow: g.Overflow, Members: []api.GroupMember{}}
		for _, m := range g.States {
			row, _ := v.directory.ByExtension(m.Extension)
			shown.Members = append(shown.Members, api.GroupMember{
				Extension: m.Extension, DisplayName: row.DisplayName, Site: string(row.Site),
				LoggedIn: m.LoggedIn, Registered: m.Registered, DoNotDisturb: m.DoNotDisturb, Calls: m.Calls, Free: m.Free,
			})
		}
		groups = append(groups, shown)
	}
	return groups
}

// SetGroupMember logs a member in or out.
func (v featuresView) SetGroupMember(ctx context.Context, group, extension string, loggedIn bool) error {
	return featureProblem(v.features.SetMember(ctx, group, extension, loggedIn))
}

// featureProblem says whose fault an error is.
func featureProblem(err error) error {
	switch {
	case err == nil, errors.Is(err, feature.ErrStore), errors.Is(err, auth.ErrBusy), errors.Is(err, api.ErrNotFound):
		return err
	case errors.Is(err, feature.ErrUnknown):
		return fmt.Errorf("%w: %w", api.ErrNotFound, err)
	}
	if _, is := errors.AsType[*setting.Complaint](err); !is {
		return err
	}
	invalid := &api.InvalidError{}
	for _, c := range setting.Unfold(err) {
		invalid.Fields = append(invalid.Fields, api.InvalidField{Path: c.Path, Message: c.Message})
	}
	return invalid
}
