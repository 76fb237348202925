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
	// ClaimPhone gives a phone to an extension: to its row in terminals.csv or to a new one. by is who wishes it.
	ClaimPhone(ctx context.Context, wish ClaimWish, by string) (Claimed, error)
	// ReplacePhone gives the row of a broken phone to another one.
	ReplacePhone(ctx context.Context, wish ReplaceWish, by string) (Claimed, error)
}

// ClaimWish names a phone and the extension that it shall become.
type ClaimWish struct {
	MAC         string `json:"mac" minLength:"12" maxLength:"32" doc:"in any usual form"`
	Extension   string `json:"extension" minLength:"2" maxLength:"8"`
	DisplayName string `json:"display_name" required:"false" maxLength:"64" doc:"empty: as the row has it"`
	Site        string `json:"site" required:"false" maxLength:"64" doc:"of a new row; empty: where the phone asked from"`
	Model       string `json:"model" required:"false" maxLength:"64" doc:"empty: as the phone said"`
}

// ReplaceWish names a broken phone and the one in its place.
type ReplaceWish struct {
	Old   string `json:"old" minLength:"2" maxLength:"32" doc:"MAC address, or its extension"`
	New   string `json:"new" minLength:"12" maxLength:"32" doc:"MAC address"`
	Model string `json:"model" required:"false" maxLength:"64" doc:"of the new one; empty: as it said, or as the old one"`
}

// Claimed is a phone that may fetch its file now.
type Claimed struct {
	Extension string    `json:"extension"`
	MAC       string    `json:"mac"`
	Until     time.Time `json:"until" doc:"so long it may enrol, whether the window of its site is open or not"`
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
	claimIn struct {
		Body ClaimWish
	}
	replaceIn struct {
		Body ReplaceWish
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
	a.registerClaims()
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

// registerClaims registers what changes terminals.csv. One who sees a single site changes only what is, and stays, there.
func (a *API) registerClaims() {
	within := func(ctx context.Context, p auth.Principal, extension, site string) error {
		if p.Site == "" {
			return nil
		}
		t, err := a.opts.Terminals.Terminal(ctx, extension)
		if err == nil && !sees(p, t.Site) || site != "" && !sees(p, site) {
			return huma.Error403Forbidden("that site is not yours")
		}
		return nil
	}
	change(a, operation("claim-phone", http.MethodPost, "/terminals/claim", "terminals",
		"Give a phone to an extension, in terminals.csv, and let it fetch its file", operators), operators,
		func(ctx context.Context, p auth.Principal, in *claimIn) (audit.Event, error) {
			if p.Site != "" && in.Body.Site == "" {
				in.Body.Site = string(p.Site)
			}
			return audit.Event{Action: "terminal.claim", Object: in.Body.Extension, Detail: map[string]string{"mac": in.Body.MAC}},
				within(ctx, p, in.Body.Extension, in.Body.Site)
		},
		func(ctx context.Context, p auth.Principal, in *claimIn) (*body[Claimed], error) {
			claimed, err := a.opts.Fleet.ClaimPhone(ctx, in.Body, p.Name)
			return &body[Claimed]{claimed}, err
		})
	change(a, operation("replace-phone", http.MethodPost, "/terminals/replace", "terminals",
		"Give the row of a broken phone to another one and let that fetch its file", operators), operators,
		func(ctx context.Context, p auth.Principal, in *replaceIn) (audit.Event, error) {
			event := audit.Event{Action: "terminal.replace", Object: in.Body.Old, Detail: map[string]string{"by": in.Body.New}}
			if p.Site == "" {
				return event, nil
			}
			for _, t := range a.opts.Terminals.Terminals(ctx) {
				if (t.Extension == in.Body.Old || t.MAC != "" && t.MAC == in.Body.Old) && sees(p, t.Site) {
					return event, nil
				}
			}
			return audit.Event{}, huma.Error403Forbidden("no phone of your site has that extension or address")
		},
		func(ctx context.Context, p auth.Principal, in *replaceIn) (*body[Claimed], error) {
			claimed, err := a.opts.Fleet.ReplacePhone(ctx, in.Body, p.Name)
			return &body[Claimed]{claimed}, err
		})
}
