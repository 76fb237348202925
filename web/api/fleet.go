package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"linehall/internal/audit"
	"linehall/internal/auth"
)

// Fleet knows what the desk phones have of us: their files, windows and tokens.
type Fleet interface {
	// PhoneStates lists the phones of active rows with a MAC address.
	PhoneStates(ctx context.Context) ([]PhoneState, error)
	Windows(ctx context.Context) []EnrolmentWindow
	// CloseEnrolment closes a site's window; one that is closed is fine.
	CloseEnrolment(ctx context.Context, site string) error
	// RevokePhone takes a phone's token away: it has to enrol again.
	RevokePhone(ctx context.Context, extension string) error
}

// PhoneState is what a phone is to have, what it fetched and how it is seen.
type PhoneState struct {
	Extension   string        `json:"extension"`
	DisplayName string        `json:"display_name"`
	Site        string        `json:"site"`
	MAC         string        `json:"mac"`
	Brand       string        `json:"brand" doc:"whose file it gets; empty: none from us"`
	Model       string        `json:"model"`
	Wanted      PhoneWanted   `json:"wanted"`
	Served      *PhoneServed  `json:"served" doc:"the last whole file that it fetched"`
	Seen        PhoneSeen     `json:"seen"`
	Enrolled    bool          `json:"enrolled" doc:"it has a token and has used it"`
	Drift       []string      `json:"drift" enum:"not_enrolled,old_file,not_told,other_model,not_registered,elsewhere,password_pending" doc:"ways in which it is not what its row says, the gravest first"`
	Refusal     *PhoneRefusal `json:"refusal" doc:"its last request that did not get the whole file"`
}

// PhoneWanted is what the files say.
type PhoneWanted struct {
	Settings string `json:"settings" doc:"digest of the settings that it is to have"`
	Change   string `json:"change" enum:"none,new,changed" doc:"what the next plan does to it"`
}

// PhoneServed is a whole file that a phone fetched.
type PhoneServed struct {
	At        time.Time `json:"at"`
	File      string    `json:"file"`
	Hash      string    `json:"hash" doc:"SHA-256 of the bytes"`
	Settings  string    `json:"settings" doc:"digest of the settings in it"`
	Address   string    `json:"address"`
	UserAgent string    `json:"user_agent"`
	Model     string    `json:"model" doc:"as the User-Agent says; may be empty"`
	Firmware  string    `json:"firmware" doc:"as the User-Agent says; may be empty"`
}

// PhoneSeen is how the exchange sees the phone.
type PhoneSeen struct {
	Registered bool    `json:"registered"`
	InCall     bool    `json:"in_call"`
	Address    *string `json:"address"`
	UserAgent  *string `json:"user_agent"`
	Site       *string `json:"site"`
}

// PhoneRefusal is why a phone did not get its file.
type PhoneRefusal struct {
	At      time.Time `json:"at"`
	File    string    `json:"file"`
	Address string    `json:"address"`
	Reason  string    `json:"reason" enum:"window_closed,other_site,outside,token,mismatch,inactive,unsupported,plain_only,error"`
}

// EnrolmentWindow lets the phones of a site fetch their first file.
type EnrolmentWindow struct {
	Site     string    `json:"site"`
	OpenedAt time.Time `json:"opened_at"`
	Until    time.Time `json:"until"`
	OpenedBy string    `json:"opened_by"`
}

type (
	phoneStateList struct {
		Phones []PhoneState `json:"phones"`
	}
	windowList struct {
		Windows []EnrolmentWindow `json:"windows"`
	}
	closeIn struct {
		Body struct {
			Site string `json:"site" minLength:"1" maxLength:"64" doc:"id of the site"`
		}
	}
	extensionIn struct {
		Extension string `path:"extension" maxLength:"32"`
	}
)

func (a *API) registerFleet() {
	view(a, operation("list-phone-states", http.MethodGet, "/terminals/status", "terminals",
		"What each desk phone is to have, what it fetched, and how it is seen", watchers), watchers,
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[phoneStateList], error) {
			all, err := a.opts.Fleet.PhoneStates(ctx)
			return &body[phoneStateList]{phoneStateList{only(p, all, func(s PhoneState) []string { return []string{s.Site} })}}, err
		})
	view(a, operation("list-windows", http.MethodGet, "/terminals/open", "terminals", "The enrolment windows that are open", watchers), watchers,
		func(ctx context.Context, p auth.Principal, _ *struct{}) (*body[windowList], error) {
			all := a.opts.Fleet.Windows(ctx)
			return &body[windowList]{windowList{only(p, all, func(w EnrolmentWindow) []string { return []string{w.Site} })}}, nil
		})
	closing := operation("close-enrolment", http.MethodPost, "/terminals/close", "terminals", "Close the enrolment window of a site", operators)
	closing.DefaultStatus = http.StatusNoContent
	change(a, closing, operators,
		func(_ context.Context, p auth.Principal, in *closeIn) (audit.Event, error) {
			if !sees(p, in.Body.Site) {
				return audit.Event{}, huma.Error403Forbidden("that site is not yours")
			}
			return audit.Event{Action: "enrolment.close", Object: in.Body.Site}, nil
		},
		func(ctx context.Context, _ auth.Principal, in *closeIn) (*nothing, error) {
			return &nothing{}, a.opts.Fleet.CloseEnrolment(ctx, in.Body.Site)
		})
	revoking := operation("revoke-phone", http.MethodDelete, "/terminals/{extension}/token", "terminals",
		"Take a phone's token away: it has to enrol again", operators)
	revoking.DefaultStatus = http.StatusNoContent
	change(a, revoking, operators,
		func(ctx context.Context, p auth.Principal, in *extensionIn) (audit.Event, error) {
			if _, err := a.terminal(ctx, p, in.Extension); err != nil {
				return audit.Event{}, err
			}
			return audit.Event{Action: "terminal.revoke", Object: in.Extension}, nil
		},
		func(ctx context.Context, _ auth.Principal, in *extensionIn) (*nothing, error) {
			return &nothing{}, a.opts.Fleet.RevokePhone(ctx, in.Extension)
		})
}
