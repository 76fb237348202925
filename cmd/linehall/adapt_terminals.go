package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"linehall/configs"
	"linehall/internal/directory"
	"linehall/internal/pki"
	"linehall/internal/site"
	"linehall/provisioning/enrolment"
	"linehall/provisioning/serve"
	"linehall/provisioning/visit"
	"linehall/sip/call"
	"linehall/sip/location"
	"linehall/web/api"
)

// terminalsView shows the desk phones to the API: the rows of the file, what is registered, and who may enrol.
type terminalsView struct {
	directory *directory.Directory
	locations *location.Service
	calls     *call.Service
	book      *enrolment.Book
	visits    *visit.Book
	delivery  *serve.Server
	authority *pki.Authority
	config    func() configs.Config
	host      func() string // where phones reach us
}

// Terminals lists the rows in the order of the file, with what is known about each phone now.
func (v terminalsView) Terminals(context.Context) []api.Terminal {
	rows := v.directory.All()
	busy := v.busy()
	terminals := make([]api.Terminal, 0, len(rows))
	for _, row := range rows {
		terminals = append(terminals, v.shown(row, busy))
	}
	return terminals
}

// Terminal finds a row.
func (v terminalsView) Terminal(_ context.Context, extension string) (api.Terminal, error) {
	row, known := v.directory.ByExtension(extension)
	if !known {
		return api.Terminal{}, fmt.Errorf("terminal %s: %w", extension, api.ErrNotFound)
	}
	return v.shown(row, v.busy()), nil
}

// busy is the set of extensions in a call.
func (v terminalsView) busy() map[string]bool {
	busy := map[string]bool{}
	for _, info := range v.calls.Snapshot() {
		busy[info.From.Extension], busy[info.To.Extension] = true, true
	}
	return busy
}

func (v terminalsView) shown(row directory.Terminal, busy map[string]bool) api.Terminal {
	t := api.Terminal{
		Extension: row.Extension, DisplayName: row.DisplayName, Site: string(row.Site), MAC: row.MAC, Model: row.Model,
		Template: row.Template, State: row.State, Notes: row.Notes, InCall: busy[row.Extension],
	}
	if row.MAC != "" {
		if device, known := v.book.Device(row.MAC); known {
			t.ProvisionedAt = timeOrNull(device.ProvisionedAt)
		}
	}
	bindings := v.locations.Lookup(location.AOR(row.Extension, v.config().Appliance.Domain))
	if len(bindings) == 0 {
		return t
	}
	// Several contacts of one extension: the one registered last stands for it.
	last := bindings[0]
	for _, b := range bindings {
		if b.Since.After(last.Since) {
			last = b
		}
	}
	t.Registered, t.Bindings = true, len(bindings)
	t.Since, t.ExpiresAt = &last.Since, &last.Expires
	t.Address, t.Transport = textOrNull(last.Flow.Remote.String()), textOrNull(last.Flow.Transport)
	t.UserAgent, t.SeenSite = textOrNull(last.UserAgent), textOrNull(string(last.Site))
	return t
}

// Credentials returns everything a softphone needs, the password included.
func (v terminalsView) Credentials(ctx context.Context, extension string) (api.Credentials, error) {
	row, known := v.directory.ByExtension(extension)
	if !known {
		return api.Credentials{}, fmt.Errorf("terminal %s: %w", extension, api.ErrNotFound)
	}
	password, err := v.directory.Newest(ctx, extension)
	if err != nil {
		return api.Credentials{}, err
	}
	admin := ""
	if row.MAC != "" {
		if admin, err = v.delivery.AdminPassword(row.MAC); err != nil {
			return api.Credentials{}, err
		}
	}
	config := v.config()
	user := row.AuthUser
	if user == "" {
		user = row.Extension
	}
	return api.Credentials{
		Extension: row.Extension, DisplayName: row.DisplayName, Site: string(row.Site), MAC: row.MAC, Model: row.Model,
		AuthUser: user, Password: password, Domain: config.Appliance.Domain, Realm: config.Appliance.Domain, Server: v.host(),
		UDPPort: portNumber(string(config.Listen.SIPUDP)), TCPPort: portNumber(string(config.Listen.SIPTCP)), TLSPort: portNumber(string(config.Listen.SIPTLS)),
		Transport: config.Terminals.Transport, SRTP: config.Terminals.SRTP, CAFile: absolute(v.authority.PhoneRootFile()), AdminPassword: admin,
	}, nil
}

// OpenEnrolment opens a site's window.
func (v terminalsView) OpenEnrolment(ctx context.Context, id string, length time.Duration) (time.Time, error) {
	window, err := v.delivery.OpenWindow(ctx, site.ID(id), length, "operator")
	if errors.Is(err, serve.ErrWish) {
		return time.Time{}, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	return window.Until, err
}

// UnknownTerminals lists the phones that asked and are in no row.
func (v terminalsView) UnknownTerminals(context.Context) []api.UnknownTerminal {
	unknown := []api.UnknownTerminal{}
	for _, s := range v.delivery.Unknown() {
		unknown = append(unknown, api.UnknownTerminal{
			MAC: s.MAC, Brand: s.Brand, Model: s.Model, UserAgent: s.UserAgent, Address: s.Address.String(), Site: string(s.Site),
			FirstSeen: s.FirstSeen, LastSeen: s.LastSeen, Requests: s.Requests, CSV: s.CSV(),
		})
	}
	return unknown
}

// portNumber is the port of a listening address; 0 when it is off.
func portNumber(listen string) int {
	_, text, err := net.SplitHostPort(listen)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return port
}

// absolute lets others open a file from wherever they are.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil {
		return full
	}
	return path
}
