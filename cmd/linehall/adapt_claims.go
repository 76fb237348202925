package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"linehall/configs"
	"linehall/internal/audit"
	"linehall/internal/directory"
	"linehall/internal/observe"
	"linehall/internal/site"
	"linehall/provisioning/inventory"
	"linehall/provisioning/plan"
	"linehall/sip/feature"
	"linehall/web/api"
)

const (
	// expectedFor is how long a phone that somebody has named may enrol: it is unpacked, or switched off and on.
	expectedFor = 30 * time.Minute
	// claimPatience bounds how long a claimed phone may stay in its call before it is told to fetch; after that it gets
	// its file when it asks next.
	claimPatience = 2 * time.Minute
	// maxClaimed is how many may wait for that at once.
	maxClaimed = 64
)

// claims changes the list of terminals when phones come and go: terminals.csv stays the truth, so it is edited and read
// again. One change at a time.
type claims struct {
	a       *appliance
	mu      sync.Mutex // guards the file
	claimed chan claimedPhone
}

// claimedPhone is registered as one extension and is to become another.
type claimedPhone struct{ lent, extension string }

func newClaims(a *appliance) *claims {
	return &claims{a: a, claimed: make(chan claimedPhone, maxClaimed)}
}

// edit changes the list and takes it over. When it cannot be taken over, the list is as it was before.
func (c *claims) edit(ctx context.Context, actor string, change func(*inventory.Sheet) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := c.a.reload.current().Terminals.File
	before, err := os.ReadFile(path) //nolint:gosec // the configuration names the file
	if err != nil {
		return fmt.Errorf("list of terminals: %w", err)
	}
	sheet, err := inventory.OpenSheet(before)
	if err == nil {
		err = change(sheet)
	}
	if err != nil {
		return err
	}
	after, err := sheet.Bytes()
	if err != nil {
		return err
	}
	if err := inventory.Write(path, after); err != nil {
		return err
	}
	if err := c.a.reload.reload(ctx, actor); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", inventory.ErrSheet, err), inventory.Write(path, before))
	}
	return nil
}

// seen is what is known of a phone that asked without being in the list.
func (c *claims) seen(mac string) inventory.Stranger {
	for _, s := range c.a.delivery.server.Unknown() {
		if s.MAC == mac {
			return s
		}
	}
	return inventory.Stranger{MAC: mac}
}

// ClaimPhone gives a phone to an extension and lets it enrol.
func (c *claims) ClaimPhone(ctx context.Context, wish api.ClaimWish, by string) (api.Claimed, error) {
	mac, err := inventory.ParseMAC(wish.MAC)
	if err != nil {
		return api.Claimed{}, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	phone := c.seen(mac)
	if wish.Site != "" {
		phone.Site = site.ID(wish.Site)
	}
	if wish.Model != "" {
		phone.Model = wish.Model
	}
	if phone.Site == "" {
		if row, known := c.a.directory.ByExtension(wish.Extension); known {
			phone.Site = row.Site
		}
	}
	if phone.Site == "" {
		return api.Claimed{}, fmt.Errorf("%w: the phone %s has not asked yet, so its site is not known: name it", api.ErrInvalid, mac)
	}
	err = c.edit(ctx, by, func(s *inventory.Sheet) error { return s.Claim(phone, wish.Extension, wish.DisplayName) })
	if err == nil {
		err = c.a.delivery.book.Expect(ctx, mac, expectedFor, by)
	}
	return api.Claimed{Extension: wish.Extension, MAC: mac, Until: time.Now().Add(expectedFor)}, invalid(err)
}

// ReplacePhone gives the row of a broken phone to another one: the old one's token ends, the new one may enrol.
func (c *claims) ReplacePhone(ctx context.Context, wish api.ReplaceWish, actor string) (api.Claimed, error) {
	old, err := inventory.ParseMAC(wish.Old)
	if row, known := c.a.directory.ByExtension(wish.Old); known && row.MAC != "" {
		old, err = row.MAC, nil
	}
	mac, errNew := inventory.ParseMAC(wish.New)
	if err := errors.Join(err, errNew); err != nil {
		return api.Claimed{}, fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	by := c.seen(mac)
	if wish.Model != "" {
		by.Model = wish.Model
	}
	var extension string
	err = c.edit(ctx, actor, func(s *inventory.Sheet) (err error) {
		extension, err = s.Replace(old, by)
		return err
	})
	if err == nil {
		err = errors.Join(c.a.delivery.book.Revoke(ctx, old), c.a.delivery.book.Expect(ctx, mac, expectedFor, actor))
	}
	return api.Claimed{Extension: extension, MAC: mac, Until: time.Now().Add(expectedFor)}, invalid(err)
}

// invalid says that it is the wish that cannot be, where it is.
func invalid(err error) error {
	if broken := (*configs.Error)(nil); errors.Is(err, inventory.ErrSheet) || errors.As(err, &broken) {
		return fmt.Errorf("%w: %w", api.ErrInvalid, err)
	}
	return err
}

// Lend gives an unknown phone a number of its site's pool.
func (c *claims) Lend(ctx context.Context, phone inventory.Stranger) bool {
	var extension string
	err := c.edit(ctx, "device "+phone.MAC, func(s *inventory.Sheet) error {
		lent, ok, err := s.Lend(phone)
		if extension = lent; err == nil && !ok {
			err = errNoPool
		}
		return err
	})
	if errors.Is(err, errNoPool) {
		return false
	}
	if err != nil {
		c.a.log.Error("number of the pool could not be lent", observe.DeviceMAC, phone.MAC, observe.Err, err)
		return false
	}
	event := audit.Event{
		Actor: "device " + phone.MAC, Source: phone.Address.String(), Action: "terminal.lend", Object: extension, Detail: map[string]string{"site": string(phone.Site)},
	}
	if err := c.a.audit.Append(ctx, event); err != nil {
		c.a.log.Error("lent number could not be audited", observe.DeviceMAC, phone.MAC, observe.Err, err)
	}
	c.a.log.Info("unknown phone was lent a number of the pool", observe.DeviceMAC, phone.MAC, observe.Extension, extension)
	return true
}

var errNoPool = errors.New("no number of the pool is free")

// ClaimAt makes the phone that calls an extension's, when it has a number of the pool and the extension has no phone yet
// at the same site. Whoever may stand before it may do that only while the window of the site is open.
func (c *claims) ClaimAt(ctx context.Context, at directory.Terminal, extension string) error {
	row, known := c.a.directory.ByExtension(extension)
	switch {
	case at.MAC == "" || !c.pooled(at.Extension):
		return fmt.Errorf("%w: %s is no number of the pool", feature.ErrNotClaimed, at.Extension)
	case !known || row.MAC != "" || row.State != directory.Active || row.Site != at.Site || c.pooled(extension):
		return fmt.Errorf("%w: %s is no extension without a phone at site %s", feature.ErrNotClaimed, extension, at.Site)
	case !c.windowOpen(at.Site):
		return fmt.Errorf("%w: the window of site %s is closed", feature.ErrNotClaimed, at.Site)
	}
	phone := inventory.Stranger{MAC: at.MAC, Model: at.Model, Site: at.Site}
	if err := c.edit(ctx, "phone "+at.Extension, func(s *inventory.Sheet) error { return s.Claim(phone, extension, "") }); err != nil {
		return err
	}
	select {
	case c.claimed <- claimedPhone{at.Extension, extension}:
	default: // it gets its file when it asks next
	}
	return nil
}

func (c *claims) pooled(extension string) bool {
	for _, row := range c.a.reload.current().Inventory() {
		if row.Extension == extension {
			return row.State == inventory.StatePool
		}
	}
	return false
}

func (c *claims) windowOpen(at site.ID) bool {
	for _, w := range c.a.delivery.book.Windows() {
		if w.Site == at {
			return true
		}
	}
	return false
}

// Run tells phones that were claimed to fetch, when they have hung up, until ctx ends.
func (c *claims) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case phone := <-c.claimed:
			c.tell(ctx, phone)
		}
	}
}

func (c *claims) tell(ctx context.Context, phone claimedPhone) {
	const look = 250 * time.Millisecond
	busy := terminalsView{calls: c.a.telephony.calls}
	for deadline := time.Now().Add(claimPatience); busy.busy()[phone.lent] && time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return
		case <-time.After(look):
		}
	}
	if err := c.fetch(ctx, phone); err != nil {
		c.a.log.Warn("claimed phone was not told to fetch", slog.String(observe.Extension, phone.extension), slog.Any(observe.Err, err))
	}
}

// fetch has the phone fetch what it is to have as another extension, and notes that for the next plan.
func (c *claims) fetch(ctx context.Context, phone claimedPhone) error {
	p, err := makePlan(ctx, c.a.db, c.a.reload.current(), false)
	if err != nil {
		return err
	}
	p = p.Only(plan.Limit{Extensions: []string{phone.extension}})
	for _, change := range p.Changes {
		if err := c.a.telephony.subscriptions.Resync(ctx, phone.lent, change.Resync().Event); err != nil {
			return err
		}
		if err := c.a.applier.store.Note(ctx, change, time.Now()); err != nil {
			return err
		}
	}
	return nil
}
