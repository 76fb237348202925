package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// ApplyWish is what an apply is asked for; see the API.
type ApplyWish struct {
	Digest       string `json:"digest"`
	Limit        string `json:"limit"`
	Batch        int    `json:"batch"`
	PauseSeconds int    `json:"pause_seconds"`
	MaxFailures  int    `json:"max_failures"`
	Rotate       bool   `json:"rotate"`
	AnyTime      bool   `json:"any_time"`
}

// ApplyState is how far an apply is.
type ApplyState struct {
	Running   bool       `json:"running"`
	StartedAt *time.Time `json:"started_at"`
	Phones    int        `json:"phones"`
	Outcomes  []struct {
		MAC       string `json:"mac"`
		Extension string `json:"extension"`
		Site      string `json:"site"`
		Result    string `json:"result"`
		Detail    string `json:"detail"`
	} `json:"outcomes"`
	Stopped *string `json:"stopped"`
}

// Apply asks the running appliance to apply a plan and shows how it goes until it has ended.
func Apply(ctx context.Context, dataDir string, wish ApplyWish, progress io.Writer) (ApplyState, error) {
	c := newClient(dataDir)
	if _, err := c.do(ctx, http.MethodPost, "/api/v1/apply", wish); err != nil {
		return ApplyState{}, err
	}
	const look = 200 * time.Millisecond
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		var state ApplyState
		if err := c.get(ctx, "/api/v1/apply", &state); err != nil {
			return state, err
		}
		bar(progress, len(state.Outcomes), state.Phones)
		if !state.Running {
			fmt.Fprintln(progress)
			return state, nil
		}
		select {
		case <-ctx.Done():
			return state, errors.Join(ctx.Err(), errors.New("the appliance goes on by itself; `linehall plan` shows what is left"))
		case <-tick.C:
		}
	}
}

// bar draws done of all on one line.
func bar(out io.Writer, done, all int) {
	const width = 30
	filled := width
	if all > 0 {
		filled = width * done / all
	}
	fmt.Fprintf(out, "\r[%s%s] %d/%d", strings.Repeat("#", filled), strings.Repeat(".", width-filled), done, all)
}

// Seen is what a running appliance knows of an extension's phone.
type Seen struct {
	Registered bool `json:"registered"`
	InCall     bool `json:"in_call"`
}

// Phones asks the running appliance for its phones by extension; nil when none is running here.
func Phones(ctx context.Context, dataDir string) map[string]Seen {
	var list struct {
		Terminals []struct {
			Seen

			Extension string `json:"extension"`
		} `json:"terminals"`
	}
	if newClient(dataDir).get(ctx, "/api/v1/terminals", &list) != nil {
		return nil
	}
	seen := map[string]Seen{}
	for _, t := range list.Terminals {
		seen[t.Extension] = t.Seen
	}
	return seen
}
