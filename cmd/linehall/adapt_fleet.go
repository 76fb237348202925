package main

import (
	"context"
	"fmt"
	"strings"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/provisioning/phone"
	"linehall/provisioning/plan"
	"linehall/provisioning/visit"
	"linehall/web/api"
)

// fleetView shows the API what phones have of us, and takes it from them.
type fleetView struct {
	*claims

	terminals terminalsView
	applier   *applier
}

// PhoneStates compares, phone by phone, what the files want with what it fetched and how it is registered.
func (v fleetView) PhoneStates(ctx context.Context) ([]api.PhoneState, error) {
	config := v.terminals.config()
	organisation, err := organisationOf(config)
	if err != nil {
		return nil, err
	}
	pending, err := makePlan(ctx, v.applier.a.db, config, false)
	if err != nil {
		return nil, err
	}
	changes := map[string]plan.Kind{}
	for _, c := range pending.Changes {
		changes[c.MAC] = c.Kind
	}
	busy := v.terminals.busy()
	states := []api.PhoneState{}
	for _, row := range v.terminals.directory.All() {
		if row.MAC == "" || !row.MayRegister() {
			continue
		}
		file, served, err := organisation.WantedFile(row)
		if err != nil {
			return nil, fmt.Errorf("file of %s: %w", row.Extension, err)
		}
		wanted := api.PhoneWanted{Change: "none"}
		if served {
			wanted.Settings = plan.SettingsDigest(file.Settings)
		}
		kind, planned := changes[row.MAC]
		if planned {
			wanted.Change = string(kind)
		}
		states = append(states, v.state(row, v.terminals.shown(row, busy), file.Brand, wanted, planned))
	}
	return states, nil
}

func (v fleetView) state(row directory.Terminal, shown api.Terminal, brand string, wanted api.PhoneWanted, planned bool) api.PhoneState {
	device, _ := v.terminals.book.Device(row.MAC)
	last := v.terminals.visits.Of(row.MAC)
	state := api.PhoneState{
		Extension: row.Extension, DisplayName: row.DisplayName, Site: string(row.Site), MAC: row.MAC, Brand: brand, Model: row.Model,
		Wanted: wanted, Enrolled: device.Enrolled(), Drift: []string{},
		Seen: api.PhoneSeen{Registered: shown.Registered, InCall: shown.InCall, Address: shown.Address, UserAgent: shown.UserAgent, Site: shown.SeenSite},
	}
	if f := last.Fetched; !f.At.IsZero() {
		state.Served = &api.PhoneServed{
			At: f.At, File: f.File, Hash: f.Hash, Settings: f.Settings, Address: f.Address, UserAgent: f.UserAgent, Model: f.Model, Firmware: f.Firmware,
		}
	}
	if r := last.Refused; !r.At.IsZero() {
		state.Refusal = &api.PhoneRefusal{At: r.At, File: r.File, Address: r.Address, Reason: string(r.Because)}
	}
	facts := visit.Facts{
		Enrolled: device.Enrolled(), Settings: wanted.Settings, Fetched: last.Fetched, InPlan: planned, SameModel: saysSameModel(row, last.Fetched),
		Registered: shown.Registered, Site: string(row.Site),
	}
	_, facts.Pending = v.terminals.directory.Next(row.Extension)
	if shown.SeenSite != nil {
		facts.SeenAt = *shown.SeenSite
	}
	for _, d := range facts.Drifts() {
		state.Drift = append(state.Drift, string(d))
	}
	return state
}

// saysSameModel reports whether nothing that the phone says contradicts its row. User-Agents leave out, or add, what
// people do not write (T54W, SIP-T54W; VVX_450), so that one name within the other is the same.
func saysSameModel(row directory.Terminal, last visit.Delivery) bool {
	if row.Model == "" || last.Model == "" || phone.SameModel(row.Model, last.Model) {
		return true
	}
	plain := strings.NewReplacer("-", "", "_", "", " ", "")
	said, written := strings.ToUpper(plain.Replace(last.Model)), strings.ToUpper(plain.Replace(row.Model))
	return strings.Contains(said, written) || strings.Contains(written, said)
}

// Windows lists the open enrolment windows.
func (v fleetView) Windows(context.Context) []api.EnrolmentWindow {
	open := []api.EnrolmentWindow{}
	for _, w := range v.terminals.book.Windows() {
		open = append(open, api.EnrolmentWindow{Site: string(w.Site), OpenedAt: w.OpenedAt, Until: w.Until, OpenedBy: w.OpenedBy})
	}
	return open
}

// CloseEnrolment closes a site's window.
func (v fleetView) CloseEnrolment(ctx context.Context, id string) error {
	if _, known := v.terminals.delivery.Atlas.Site(site.ID(id)); !known {
		return fmt.Errorf("site %q: %w", id, api.ErrNotFound)
	}
	return v.terminals.book.CloseWindow(ctx, site.ID(id))
}

// RevokePhone takes the token of a terminal's phone away.
func (v fleetView) RevokePhone(ctx context.Context, extension string) error {
	row, known := v.terminals.directory.ByExtension(extension)
	if !known || row.MAC == "" {
		return fmt.Errorf("phone of extension %s: %w", extension, api.ErrNotFound)
	}
	return v.terminals.book.Revoke(ctx, row.MAC)
}
