package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// maxRecords bounds one answer; a longer export goes on at the last record's time.
const maxRecords = 100_000

type cdrIn struct {
	From  time.Time `query:"from" doc:"started at or after"`
	To    time.Time `query:"to" doc:"started before"`
	Limit int       `query:"limit" minimum:"1" maximum:"100000" default:"1000" doc:"at most so many, newest first"`
}

type auditIn struct {
	Limit  int   `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Before int64 `query:"before" minimum:"0" doc:"only events with a smaller number"`
}

// Event is one thing that was done.
type Event struct {
	Seq    int64             `json:"seq"`
	At     time.Time         `json:"at"`
	Actor  string            `json:"actor"`
	Source string            `json:"source"`
	Action string            `json:"action"`
	Object string            `json:"object"`
	Detail map[string]string `json:"detail"`
}

type eventList struct {
	Events []Event `json:"events"`
}

type verification struct {
	OK       bool   `json:"ok"`
	Count    int    `json:"count" doc:"events that hold"`
	BrokenAt *int64 `json:"broken_at" doc:"number of the first event that does not"`
	Message  string `json:"message"`
}

func recordSites(c CDR) []string { return []string{c.FromSite, c.ToSite} }

func (a *API) registerRecords() {
	view(a, operation("list-cdrs", http.MethodGet, "/cdrs", "records", "The calls that ended", watchers), watchers,
		func(ctx context.Context, p auth.Principal, in *cdrIn) (*body[cdrList], error) {
			records, err := a.opts.Records.CDRs(ctx, CDRQuery{From: in.From, To: in.To, Site: string(p.Site), Limit: min(in.Limit, maxRecords)})
			if err != nil {
				return nil, err
			}
			records = only(p, records, recordSites)
			for i := range records {
				if records[i].Legs == nil {
					records[i].Legs = []CDRLeg{}
				}
			}
			return &body[cdrList]{cdrList{records}}, nil
		})
	view(a, operation("get-cdr", http.MethodGet, "/cdrs/{id}", "records", "One call that ended", watchers), watchers,
		func(ctx context.Context, p auth.Principal, in *callIn) (*body[CDR], error) {
			r, err := a.opts.Records.CDR(ctx, in.ID)
			if err == nil && !sees(p, recordSites(r)...) {
				err = huma.Error404NotFound("no such call at your site")
			}
			if r.Legs == nil {
				r.Legs = []CDRLeg{}
			}
			return &body[CDR]{r}, err
		})
	view(a, operation("list-audit", http.MethodGet, "/audit", "records", "What was done, newest first", auditors), auditors,
		func(ctx context.Context, _ auth.Principal, in *auditIn) (*body[eventList], error) {
			events, err := a.opts.Audit.List(ctx, in.Before, in.Limit)
			if err != nil {
				return nil, err
			}
			out := eventList{Events: make([]Event, 0, len(events))}
			for _, e := range events {
				out.Events = append(out.Events, Event(e))
			}
			return &body[eventList]{out}, nil
		})
	view(a, operation("verify-audit", http.MethodGet, "/audit/verify", "records", "Prove that no record was altered", auditors), auditors,
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[verification], error) {
			count, err := a.opts.Audit.Verify(ctx)
			v := verification{OK: err == nil, Count: count}
			if broken, ok := errors.AsType[*audit.BrokenError](err); ok {
				v.BrokenAt, v.Message = &broken.Seq, broken.Error()
			} else if err != nil {
				return nil, err
			}
			return &body[verification]{v}, nil
		})
}
