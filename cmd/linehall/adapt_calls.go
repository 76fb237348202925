package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"linehall/media/record"
	"linehall/sip/call"
	"linehall/sip/cdr"
	"linehall/web/api"
)

// callsView shows the calls and their records to the API.
type callsView struct {
	calls   *call.Service
	records *cdr.Log
}

// Calls lists the calls going on, oldest first.
func (v callsView) Calls(context.Context) []api.Call {
	calls := []api.Call{}
	for _, info := range v.calls.Snapshot() {
		calls = append(calls, shownCall(info, time.Now()))
	}
	return calls
}

// Call finds a call going on, also by somebody who has joined it.
func (v callsView) Call(_ context.Context, id string) (api.Call, error) {
	for _, info := range v.calls.Snapshot() {
		if info.ID == id || slices.ContainsFunc(info.Guests, func(g call.Guest) bool { return g.ID == id }) {
			return shownCall(info, time.Now()), nil
		}
	}
	return api.Call{}, fmt.Errorf("call %s: %w", id, api.ErrNotFound)
}

// HangUp ends a call.
func (v callsView) HangUp(ctx context.Context, id, reason string) error {
	if reason == "" {
		reason = "ended by an operator"
	}
	switch err := v.calls.Hangup(ctx, id, reason); {
	case errors.Is(err, call.ErrUnknownCall):
		return fmt.Errorf("call %s: %w", id, api.ErrNotFound)
	case errors.Is(err, call.ErrBusy):
		return fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	default:
		return err
	}
}

// Dial connects an extension to a number.
func (v callsView) Dial(ctx context.Context, from, to string) (string, error) {
	id, err := v.calls.Originate(ctx, call.Origination{From: from, To: to})
	switch {
	case errors.Is(err, call.ErrUnknownExtension):
		return "", fmt.Errorf("%w: %w", api.ErrNotFound, err)
	case errors.Is(err, call.ErrNotAllowed):
		return "", fmt.Errorf("%w: %w", api.ErrInvalid, err)
	case errors.Is(err, call.ErrRefused):
		return "", fmt.Errorf("%w: %w", api.ErrUnavailable, err)
	}
	return id, err
}

func shownCall(info call.Info, now time.Time) api.Call {
	shown := api.Call{
		ID: info.ID, State: string(info.State), Class: info.Class.String(), Precedence: info.Precedence.String(), StartedAt: info.StartedAt,
		From: shownParty(info.From), To: shownParty(info.To), Path: string(info.Path), Codec: textOrNull(info.Codec), Media: textOrNull(info.Media), SRTP: info.SRTP, SRTPHere: info.SRTPHere, MOS: scoreOrNull(info.MOS),
		Legs: []api.CallLeg{}, Guests: []api.CallGuest{}, Recording: string(info.Recording), MayRecord: info.MayRecord, Unrecorded: info.Unrecorded,
	}
	if shown.Recording == "" {
		shown.Recording = string(record.Off)
	}
	if !info.AnsweredAt.IsZero() {
		shown.AnsweredAt = &info.AnsweredAt
		shown.DurationSeconds = now.Sub(info.AnsweredAt).Seconds()
	}
	for _, g := range info.Guests {
		shown.Guests = append(shown.Guests, api.CallGuest{ID: g.ID, Extension: g.Extension, Mode: g.Mode, Silent: g.Silent, At: g.Since})
	}
	for _, leg := range info.Legs {
		shown.Legs = append(shown.Legs, api.CallLeg{
			Side: leg.Side, Site: string(leg.Site), Transport: leg.Transport, Address: leg.Address,
			Packets: int64(leg.Packets), Lost: int64(leg.Lost), //nolint:gosec // counts of one call
			LossPercent: leg.LossPercent(), JitterMS: float64(leg.Jitter) / float64(time.Millisecond), MOS: scoreOrNull(leg.MOS), SRTP: leg.SRTP,
		})
	}
	return shown
}

func shownParty(p call.Party) api.Party {
	return api.Party{Extension: p.Extension, DisplayName: p.DisplayName, Site: string(p.Site)}
}

// CDRs returns the records of calls that ended, newest first.
func (v callsView) CDRs(ctx context.Context, q api.CDRQuery) ([]api.CDR, error) {
	records, err := v.records.Query(ctx, cdr.Filter{From: q.From, To: q.To, Limit: q.Limit})
	if err != nil {
		return nil, err
	}
	shown := make([]api.CDR, 0, len(records))
	for _, r := range records {
		shown = append(shown, shownRecord(r))
	}
	return shown, nil
}

// CDR returns the record of a call that ended.
func (v callsView) CDR(ctx context.Context, id string) (api.CDR, error) {
	r, err := v.records.Get(ctx, id)
	if errors.Is(err, cdr.ErrUnknown) {
		return api.CDR{}, fmt.Errorf("call %s: %w", id, api.ErrNotFound)
	}
	if err != nil {
		return api.CDR{}, err
	}
	shown := shownRecord(r)
	shown.Reports = append(shown.Reports, shownHeard(r)...)
	reports, err := v.records.Quality(ctx, id)
	for _, q := range reports {
		shown.Reports = append(shown.Reports, api.CDRReport{
			At: q.ReportedAt, Extension: q.Extension, Site: q.Site, Kind: q.Kind, MOS: scoreOrNull(q.MOS), LossPercent: q.LossPercent,
			DiscardPercent: q.DiscardPercent, JitterMS: milliseconds(q.Jitter), RoundTripMS: milliseconds(q.RoundTrip), Codec: q.Codec,
		})
	}
	return shown, err
}

// shownHeard are the parties' extended reports.
func shownHeard(r cdr.Record) []api.CDRReport {
	var shown []api.CDRReport
	for _, of := range []struct {
		heard           *cdr.Heard
		extension, site string
	}{{r.HeardByCaller, r.From, r.FromSite}, {r.HeardByCallee, r.To, r.ToSite}} {
		h := of.heard
		if h == nil {
			continue
		}
		shown = append(shown, api.CDRReport{
			At: h.At, Extension: of.extension, Site: of.site, Kind: "rtcp", MOS: scoreOrNull(h.MOS), LossPercent: h.LossPercent, Codec: r.Codec,
			DiscardPercent: h.DiscardPercent, RoundTripMS: milliseconds(h.RoundTrip),
			BurstLossPercent: h.BurstPercent, BurstMS: milliseconds(h.Burst), GapLossPercent: h.GapPercent, GapMS: milliseconds(h.Gap),
		})
	}
	return shown
}

func shownSeconds(s *cdr.Seconds) *api.CDRSeconds {
	if s == nil {
		return nil
	}
	return &api.CDRSeconds{
		Rated: s.Rated, Mean: s.Mean, Worst: s.Worst, WorstAtSeconds: s.WorstAt, Kinds: s.Kinds[:], StepSeconds: s.Step,
		Lowest: append([]float64{}, s.Lowest...),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func shownRecord(r cdr.Record) api.CDR {
	shown := api.CDR{
		ID: r.ID, CallID: r.CallID, StartedAt: r.StartedAt, AnsweredAt: r.AnsweredAt, DurationSeconds: float64(r.Seconds),
		From: r.From, FromSite: r.FromSite, To: r.To, ToSite: r.ToSite, Dialled: r.Dialled,
		Class: r.Class, Precedence: r.Precedence, PreemptedBy: r.PreemptedBy, Result: r.Result, Code: r.Code,
		EndedBy: r.EndedBy, Reason: r.Reason, Path: r.Path, Codec: r.Codec, Media: r.Media,
		SRTP: r.SRTP, SRTPCaller: r.SRTPCaller, SRTPCallee: r.SRTPCallee, SRTPHere: r.SRTPHere, MOSCaller: r.MOSCaller, MOSCallee: r.MOSCallee,
		Trunk: r.Trunk, Overflow: r.Overflow, Forwards: []api.CDRForward{}, LinkedTo: []string{}, TransferredBy: r.TransferredBy,
		PickedUpBy: r.PickedUpBy, Originated: r.Originated, Reports: []api.CDRReport{},
		Guests: []api.CallGuest{}, JoinedTo: r.JoinedTo, JoinedAs: r.JoinedAs,
		SecondsCaller: shownSeconds(r.SecondsCaller), SecondsCallee: shownSeconds(r.SecondsCallee),
	}
	shown.LinkedTo = append(shown.LinkedTo, r.Linked...)
	for _, g := range r.Guests {
		shown.Guests = append(shown.Guests, api.CallGuest{ID: g.Call, Extension: g.Extension, Mode: g.Mode, Silent: g.Silent, At: g.At, Until: g.Until})
	}
	for _, f := range r.Forwards {
		shown.Forwards = append(shown.Forwards, api.CDRForward(f))
	}
	if c := r.Recording; c != nil && (len(c.IDs) > 0 || c.Reason != "") {
		shown.Recording = &api.CDRRecording{Mode: c.Mode, Rule: c.Rule, By: c.By, Parts: len(c.IDs), Reason: c.Reason}
	}
	if r.EndedAt != nil {
		shown.EndedAt = *r.EndedAt
	}
	for _, leg := range r.Legs {
		shown.Legs = append(shown.Legs, api.CDRLeg(leg))
	}
	return shown
}

// textOrNull, scoreOrNull and timeOrNull: what is not known is null, not empty.
func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func scoreOrNull(mos float64) *float64 {
	if mos == 0 {
		return nil
	}
	return &mos
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
