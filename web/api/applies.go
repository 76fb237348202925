package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// Applies makes the configuration in the files the one in use and tells the phones.
type Applies interface {
	// StartApply reloads the configuration, all of it or nothing, and begins to tell the phones that it concerns.
	StartApply(ctx context.Context, wish ApplyWish) (Apply, error)
	// LastApply is the one going on, or the last one.
	LastApply(ctx context.Context) Apply
}

// ApplyWish says which plan, and how.
type ApplyWish struct {
	Digest       string `json:"digest" maxLength:"64" doc:"of the plan that was looked at; another one by now is refused. Empty: whatever it is now"`
	Limit        string `json:"limit" maxLength:"512" doc:"site=ID, mac=ADDRESS, extension=NUMBER, model=NAME, with commas between; empty: all phones"`
	Batch        int    `json:"batch" minimum:"1" maximum:"100" doc:"phones told at once"`
	PauseSeconds int    `json:"pause_seconds" minimum:"0" maximum:"3600" doc:"between batches"`
	MaxFailures  int    `json:"max_failures" minimum:"1" maximum:"1000" doc:"phones that fail before it stops"`
	Rotate       bool   `json:"rotate" required:"false" doc:"new SIP passwords for all phones of the limit, not only for those that are too old"`
	AnyTime      bool   `json:"any_time" required:"false" doc:"also outside terminals.maintenance"`
}

// Apply is an apply and how far it is.
type Apply struct {
	Running   bool           `json:"running"`
	StartedAt *time.Time     `json:"started_at"`
	Phones    int            `json:"phones" doc:"that it concerns"`
	Outcomes  []ApplyOutcome `json:"outcomes" doc:"of the phones done so far"`
	Stopped   *string        `json:"stopped" doc:"why it ended early"`
}

// ApplyOutcome is what became of one phone.
type ApplyOutcome struct {
	MAC       string `json:"mac"`
	Extension string `json:"extension"`
	Site      string `json:"site"`
	Result    string `json:"result" enum:"fetched,offline,not_enrolled,removed,in_call,failed"`
	Detail    string `json:"detail"`
}

type applyIn struct {
	Body ApplyWish
}

func (a *API) registerApplies() {
	view(a, operation("get-apply", http.MethodGet, "/apply", "terminals", "The apply going on, or the last one", watchers), watchers,
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[Apply], error) {
			return &body[Apply]{a.opts.Applies.LastApply(ctx)}, nil
		})
	change(a, operation("start-apply", http.MethodPost, "/apply", "terminals", "Take the configuration from the files and tell the phones", admins), admins,
		func(_ context.Context, _ auth.Principal, in *applyIn) (audit.Event, error) {
			return audit.Event{Action: "config.apply", Object: in.Body.Limit, Detail: map[string]string{"batch": strconv.Itoa(in.Body.Batch), "plan": in.Body.Digest, "rotate": strconv.FormatBool(in.Body.Rotate), "any_time": strconv.FormatBool(in.Body.AnyTime)}}, nil
		},
		func(ctx context.Context, _ auth.Principal, in *applyIn) (*body[Apply], error) {
			apply, err := a.opts.Applies.StartApply(ctx, in.Body)
			return &body[Apply]{apply}, err
		})
}
