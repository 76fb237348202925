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
	"linehall/internal/site"
	"linehall/web/session"
)

type roomIn struct {
	Number string `path:"number" maxLength:"32"`
}

type linkIn struct {
	Number string `path:"number" maxLength:"32"`
	Body   struct {
		Venue string `json:"venue" minLength:"1" maxLength:"64" doc:"id of the venue"`
	}
}

// callers may call telephones into meetings: that may cost money.
var callers = []auth.Role{auth.Admin, auth.Operator, auth.Chair}

type phoneIn struct {
	Number string `path:"number" maxLength:"32"`
	Body   struct {
		Number string `json:"number" minLength:"1" maxLength:"32" pattern:"^[+]?[0-9*#]+$" doc:"as somebody of the room's class of service would dial it"`
	}
}

type link struct {
	URL string `json:"url" doc:"opens the room as that venue without a click; whoever has it can do so until it is revoked"`
	ID  string `json:"id" doc:"for revoking it"`
}

type enterIn struct {
	Number string `path:"number" maxLength:"32"`
	Body   struct {
		Venue string `json:"venue" maxLength:"64"`
		Token string `json:"token" maxLength:"128"`
	}
}

// cookieOut is 204 with a cookie.
type cookieOut struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
}

// Device is a venue's right to enter a room: what is behind a room link.
type Device struct {
	ID         string     `json:"id"`
	Room       string     `json:"room"`
	Venue      string     `json:"venue"`
	Site       string     `json:"site"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

type deviceList struct {
	Devices []Device `json:"devices"`
}

func (a *API) registerRooms() {
	view(a, operation("list-rooms", http.MethodGet, "/rooms", "rooms", "All meeting rooms", leaders), leaders,
		func(ctx context.Context, _ auth.Principal, _ *struct{}) (*body[roomList], error) {
			return &body[roomList]{a.rooms(ctx)}, nil
		})
	view(a, operation("get-room", http.MethodGet, "/rooms/{number}", "rooms", "One meeting room", everybody), everybody,
		func(ctx context.Context, p auth.Principal, in *roomIn) (*body[Room], error) {
			if !p.MayEnter(in.Number) && !p.Is(leaders...) {
				return nil, huma.Error403Forbidden("that room is not yours")
			}
			r, err := a.opts.Rooms.Room(ctx, in.Number)
			return &body[Room]{roomNormal(r)}, err
		})
	change(a, operation("make-room-link", http.MethodPost, "/rooms/{number}/link", "rooms",
		"A link with which a venue's browser joins without a click", operators), operators,
		func(ctx context.Context, p auth.Principal, in *linkIn) (audit.Event, error) {
			_, err := a.venue(ctx, p, in.Number, in.Body.Venue)
			return audit.Event{Action: "device.add", Object: in.Number + "/" + in.Body.Venue}, err
		}, a.makeLink)
	op := operation("call-phone-into-room", http.MethodPost, "/rooms/{number}/calls", "rooms",
		"Call a telephone into the room's meeting, with the room's class of service", callers)
	op.Description = "Whoever answers is in the meeting, without its PIN. How it goes is shown to the chair, in the list of calls and in the minutes."
	op.DefaultStatus = http.StatusNoContent
	change(a, op, callers,
		func(_ context.Context, p auth.Principal, in *phoneIn) (audit.Event, error) {
			if !p.MayEnter(in.Number) {
				return audit.Event{}, huma.Error403Forbidden("that room is not yours")
			}
			return audit.Event{Action: "room.call", Object: in.Number, Detail: map[string]string{"to": in.Body.Number}}, nil
		},
		func(ctx context.Context, p auth.Principal, in *phoneIn) (*nothing, error) {
			return nil, a.opts.Rooms.CallPhone(ctx, in.Number, in.Body.Number, p.Name)
		})
	a.registerEnter()
	a.registerDevices()
}

func (a *API) rooms(ctx context.Context) roomList {
	all := a.opts.Rooms.Rooms(ctx)
	out := make([]Room, 0, len(all))
	for _, r := range all {
		out = append(out, roomNormal(r))
	}
	return roomList{out}
}

func roomNormal(r Room) Room {
	if r.Venues == nil {
		r.Venues = []Venue{}
	}
	r.Participants = append([]Participant{}, r.Participants...) // the part's own slice stays as it is
	for i := range r.Participants {
		if r.Participants[i].Layers == nil {
			r.Participants[i].Layers = []string{}
		}
	}
	return r
}

// venue finds a venue of a room that the principal may make links for.
func (a *API) venue(ctx context.Context, p auth.Principal, number, id string) (Venue, error) {
	r, err := a.opts.Rooms.Room(ctx, number)
	if err != nil {
		return Venue{}, err
	}
	for _, v := range r.Venues {
		if v.ID == id {
			if !sees(p, v.Site) {
				return v, huma.Error403Forbidden("that venue is not at your site")
			}
			return v, nil
		}
	}
	return Venue{}, fmt.Errorf("venue %q of room %s: %w", id, number, ErrNotFound)
}

func (a *API) makeLink(ctx context.Context, p auth.Principal, in *linkIn) (*body[link], error) {
	v, err := a.venue(ctx, p, in.Number, in.Body.Venue)
	if err != nil {
		return nil, err
	}
	d, token, err := a.opts.Users.NewDevice(ctx, in.Number, v.ID, site.ID(v.Site))
	if err != nil {
		return nil, err
	}
	// The fragment is not sent to servers, so that the token is in no log on the way.
	fragment := url.Values{"venue": {v.ID}, "token": {token}}.Encode()
	return &body[link]{link{ID: d.ID, URL: a.opts.PublicURL() + "/room/" + url.PathEscape(in.Number) + "#" + fragment}}, nil
}

// registerEnter registers the exchange of a link's token for a cookie. It is for strangers: the token is what they have.
func (a *API) registerEnter() {
	op := operation("enter-as-device", http.MethodPost, "/rooms/{number}/device", "rooms",
		"Exchange a room link's token for a cookie", everybody)
	op.Description = "For whoever has the token."
	op.DefaultStatus = http.StatusNoContent
	op.Security = nil
	op.Errors = []int{http.StatusUnauthorized}
	huma.Register(a.huma, op, func(ctx context.Context, in *enterIn) (*cookieOut, error) {
		cookie, _, err := a.opts.Sessions.EnterDevice(ctx, in.Number, in.Body.Venue, in.Body.Token, session.Source(ctx))
		if errors.Is(err, auth.ErrRefused) {
			return nil, huma.Error401Unauthorized("this room link is not valid, or no longer")
		}
		if err != nil {
			return nil, a.problem(ctx, op.OperationID, err)
		}
		return &cookieOut{cookie}, nil
	})
}

func (a *API) registerDevices() {
	type listIn struct {
		Room string `query:"room" maxLength:"32" doc:"only this room"`
	}
	view(a, operation("list-devices", http.MethodGet, "/devices", "rooms", "The room links that are valid", operators), operators,
		func(ctx context.Context, p auth.Principal, in *listIn) (*body[deviceList], error) {
			all, err := a.opts.Users.ListDevices(ctx, in.Room)
			if err != nil {
				return nil, err
			}
			out := deviceList{Devices: []Device{}}
			for _, d := range all {
				if sees(p, string(d.Site)) {
					out.Devices = append(out.Devices, Device{d.ID, d.Room, d.Venue, string(d.Site), d.CreatedAt, timeOrNull(d.LastUsedAt)})
				}
			}
			return &body[deviceList]{out}, nil
		})
	op := operation("revoke-device", http.MethodDelete, "/devices/{id}", "rooms", "Revoke a room link", operators)
	op.DefaultStatus = http.StatusNoContent
	change(a, op, operators,
		func(ctx context.Context, p auth.Principal, in *idIn) (audit.Event, error) {
			d, err := a.opts.Users.DevicePrincipal(ctx, in.ID)
			if err == nil && !sees(p, string(d.Site)) {
				err = huma.Error403Forbidden("that venue is not at your site")
			}
			return audit.Event{Action: "device.revoke", Object: in.ID, Detail: map[string]string{"room": d.Room, "venue": d.Venue}}, err
		},
		func(ctx context.Context, _ auth.Principal, in *idIn) (*nothing, error) {
			return nil, a.opts.Users.RevokeDevice(ctx, in.ID)
		})
}

type idIn struct {
	ID string `path:"id" maxLength:"64"`
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
