package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// Calendars writes planned meetings for calendar programs (iCalendar, RFC 5545).
type Calendars interface {
	// Calendar writes one plan.
	Calendar(ctx context.Context, id string) ([]byte, error)
	// Feed writes the calendar that a token is for.
	Feed(ctx context.Context, token string) ([]byte, error)
	// MakeFeed makes a calendar of a room, of a venue, or of all, and its token.
	MakeFeed(ctx context.Context, room, venue, by string) (feed CalendarFeed, token string, err error)
	Feeds(ctx context.Context) ([]CalendarFeed, error)
	RevokeFeed(ctx context.Context, id string) error
}

// CalendarFeed is a calendar that programs subscribe to.
type CalendarFeed struct {
	ID        string    `json:"id"`
	Room      string    `json:"room" doc:"empty: all rooms"`
	Venue     string    `json:"venue" doc:"empty: whoever takes part; else the meetings to which it is called"`
	CreatedBy string    `json:"created_by"`
	CreatedAt time.Time `json:"created_at"`
}

type feedList struct {
	Calendars []CalendarFeed `json:"calendars" nullable:"false"`
}

type feedIn struct {
	Body struct {
		Room  string `json:"room" maxLength:"32" doc:"empty: all rooms"`
		Venue string `json:"venue" maxLength:"64" doc:"empty: all venues"`
	}
}

type icsOut struct {
	ContentType  string `header:"Content-Type"`
	Disposition  string `header:"Content-Disposition"`
	CacheControl string `header:"Cache-Control"`
	Body         []byte
}

const icsType = "text/calendar; charset=utf-8"

// icsResponses describe a calendar file.
func icsResponses() map[string]*huma.Response {
	return map[string]*huma.Response{"200": {
		Description: "an iCalendar object", Content: map[string]*huma.MediaType{"text/calendar": {Schema: &huma.Schema{Type: "string"}}},
	}}
}

func (a *API) registerCalendars() {
	file := operation("get-calendar-file", http.MethodGet, "/schedule/{id}/calendar.ics", "meetings", "A planned meeting as a calendar file", leaders)
	file.Responses = icsResponses()
	view(a, file, leaders, func(ctx context.Context, _ auth.Principal, in *idIn) (*icsOut, error) {
		out, err := a.opts.Calendars.Calendar(ctx, in.ID)
		return &icsOut{icsType, `attachment; filename="meeting-` + fileName(in.ID) + `.ics"`, "no-store", out}, err
	})
	view(a, operation("list-calendars", http.MethodGet, "/calendars", "meetings", "The calendars that programs may subscribe to", planners), planners,
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[feedList], error) {
			list, err := a.opts.Calendars.Feeds(ctx)
			return &body[feedList]{feedList{append([]CalendarFeed{}, list...)}}, err
		})
	change(a, operation("make-calendar", http.MethodPost, "/calendars", "meetings", "A link with which a calendar program follows the planned meetings", planners), planners,
		func(ctx context.Context, p auth.Principal, in *feedIn) (audit.Event, error) {
			return audit.Event{Action: "calendar.add", Object: in.Body.Room + "/" + in.Body.Venue}, a.mayFeed(ctx, p, in.Body.Room, in.Body.Venue)
		},
		func(ctx context.Context, p auth.Principal, in *feedIn) (*body[link], error) {
			f, token, err := a.opts.Calendars.MakeFeed(ctx, in.Body.Room, in.Body.Venue, actor(p))
			return &body[link]{link{ID: f.ID, URL: a.opts.PublicURL() + Prefix + "/calendars/" + url.PathEscape(token) + "/meetings.ics"}}, err
		})
	revoke := operation("revoke-calendar", http.MethodDelete, "/calendars/{id}", "meetings", "Revoke a calendar's link", planners)
	revoke.DefaultStatus = http.StatusNoContent
	change(a, revoke, planners,
		func(_ context.Context, p auth.Principal, in *idIn) (audit.Event, error) {
			if p.Site != "" || p.Room != "" {
				return audit.Event{}, huma.Error403Forbidden("calendars are not yours alone")
			}
			return audit.Event{Action: "calendar.revoke", Object: in.ID}, nil
		},
		func(ctx context.Context, _ auth.Principal, in *idIn) (*nothing, error) {
			return nil, a.opts.Calendars.RevokeFeed(ctx, in.ID)
		})
	a.registerFeed()
}

// mayFeed checks that room and venue exist and that the principal may see what the calendar tells.
func (a *API) mayFeed(ctx context.Context, p auth.Principal, number, venue string) error {
	if p.Site != "" || p.Room != "" && p.Room != number {
		return huma.Error403Forbidden("a calendar tells more than you may see")
	}
	known := false
	for _, r := range a.opts.Rooms.Rooms(ctx) {
		if number != "" && r.Number != number {
			continue
		}
		known = known || venue == ""
		for _, v := range r.Venues {
			known = known || v.ID == venue
		}
	}
	if !known {
		return fmt.Errorf("room %q, venue %q: %w", number, venue, ErrNotFound)
	}
	return nil
}

// registerFeed registers what calendar programs fetch. It is for strangers: the token in the path is what they have.
func (a *API) registerFeed() {
	op := operation("get-calendar", http.MethodGet, "/calendars/{token}/meetings.ics", "meetings", "The planned meetings for a calendar program", everybody)
	op.Description = "For whoever has the token."
	op.Security = nil
	op.Errors = []int{http.StatusNotFound}
	op.Responses = icsResponses()
	type tokenIn struct {
		Token string `path:"token" maxLength:"64"`
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *tokenIn) (*icsOut, error) {
		out, err := a.opts.Calendars.Feed(ctx, in.Token)
		if errors.Is(err, ErrNotFound) {
			return nil, huma.Error404NotFound("there is no such calendar, or no longer")
		}
		if err != nil {
			return nil, a.problem(ctx, op.OperationID, err)
		}
		return &icsOut{icsType, `inline; filename="meetings.ics"`, "private, max-age=300", out}, nil
	})
}
