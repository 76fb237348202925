package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"linehall/cmd/linehall/doctor"
	"linehall/configs"
	"linehall/internal/audit"
	"linehall/internal/auth"
	"linehall/internal/database"
	"linehall/internal/directory"
	"linehall/internal/holder"
	"linehall/internal/observe"
	"linehall/internal/pki"
	"linehall/internal/secret"
	"linehall/internal/site"
)

// ground is what every domain stands on.
type ground struct {
	lock     *os.File // held as long as the process lives
	log      *slog.Logger
	registry *prometheus.Registry
	dropped  *observe.Dropped
	panics   prometheus.Counter
	health   *observe.Health

	held      heldSockets
	db        *sql.DB
	conn      *sql.Conn // of writer
	writer    *database.Writer
	box       *secret.Box
	authority *pki.Authority
	atlas     *site.Atlas
	directory *directory.Directory
	audit     *audit.Log
	users     *auth.Service

	// passwordFile holds the first administrator's password; "" once it was changed.
	passwordFile string
}

// auditSealLabel derives the audit chain's key from the master key.
const auditSealLabel = "audit head"

// openGround opens the data directory. On an error nothing stays open.
func openGround(ctx context.Context, config configs.Config, log *slog.Logger) (*ground, error) {
	data := config.Appliance.Data
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := lockInstance(data)
	if err != nil {
		return nil, err
	}
	registry := observe.NewRegistry()
	g := &ground{
		lock: lock, log: log, registry: registry, dropped: observe.NewDropped(registry), panics: observe.NewPanics(registry), health: observe.NewHealth(),
	}
	if err := g.open(ctx, config); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, nil
}

// heldSockets are those of before the restart, and the store that held them.
type heldSockets struct {
	store *holder.Store
	files []holder.File
	err   error
}

func takeSockets(data string) (h heldSockets) {
	h.store, h.files, h.err = holder.Open(filepath.Join(data, "holder.sock"), holdCommand)
	return h
}

// open reads keys, certificates and the database. Meanwhile it is handed the sockets of calls that wait for us: with some of
// them, every moment is one that their parties hear nothing.
func (g *ground) open(ctx context.Context, config configs.Config) error {
	data := config.Appliance.Data
	held := make(chan heldSockets, 1)
	go func() { held <- takeSockets(data) }() // takes no longer than the holder's patience
	var err error
	if g.box, err = secret.Open(data); err != nil {
		return err
	}
	table, err := site.NewTable(config.SiteList())
	if err != nil {
		return err
	}
	g.atlas = site.NewAtlas(table)
	if g.authority, err = pki.Open(filepath.Join(data, "pki"), pkiOptions(config, g.log)); err != nil {
		return err
	}
	path := filepath.Join(data, doctor.DatabaseName)
	opening := database.Open
	if g.held = <-held; len(g.held.files) > 0 {
		opening = database.OpenUnchecked // another process had it open a moment ago: that reading can wait for the next quiet start
	}
	if g.db, err = opening(ctx, path); err != nil {
		return err
	}
	return g.openTables(ctx, config)
}

// openTables migrates every domain's schema, in this written order, and opens what lives in the database.
func (g *ground) openTables(ctx context.Context, config configs.Config) error {
	if err := database.Migrate(ctx, g.db, schemas()...); err != nil {
		return err
	}
	var err error
	if g.conn, err = g.db.Conn(ctx); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	if g.writer, err = database.NewWriter(ctx, g.conn); err != nil {
		return err
	}
	seal, err := g.box.Derive(auditSealLabel, 32)
	if err != nil {
		return err
	}
	if g.audit, err = audit.Open(ctx, g.db, audit.WithSeal(seal)); err != nil {
		return err
	}
	if g.directory, err = directory.Open(ctx, g.db, g.box); err != nil {
		return err
	}
	if err := g.directory.Apply(ctx, terminalsOf(config)); err != nil {
		return err
	}
	if g.users, err = auth.Open(ctx, g.db, auth.Options{Config: config.Security, Registerer: g.registry}); err != nil {
		return err
	}
	g.passwordFile, err = g.users.FirstAdmin(ctx, config.Appliance.Data)
	return err
}

// pkiOptions lets the certificates name every address at which somebody may open the appliance.
func pkiOptions(config configs.Config, log *slog.Logger) pki.Options {
	var ranges []netip.Prefix
	for _, s := range config.SiteList() {
		ranges = append(ranges, s.Subnets...)
	}
	return pki.Options{
		Name: config.Appliance.Name, Domain: config.Appliance.Domain, Ranges: ranges, Log: log,
		Addresses: func() []netip.Addr { return ownAddresses(config.AdvertiseAddr()) },
	}
}

// ownAddresses lists the machine's unicast addresses, the advertised one first.
func ownAddresses(advertise netip.Addr) []netip.Addr {
	var own []netip.Addr
	if advertise.IsValid() {
		own = append(own, advertise)
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return own // the loopback address is in every certificate anyway
	}
	for _, address := range interfaces {
		prefix, err := netip.ParsePrefix(address.String())
		if err == nil && !prefix.Addr().IsLinkLocalUnicast() && prefix.Addr() != advertise {
			own = append(own, prefix.Addr())
		}
	}
	return own
}

// close ends what the ground holds; the domains have ended before.
func (g *ground) close() error {
	var err error
	if g.writer != nil {
		g.writer.Close()
	}
	if g.conn != nil {
		err = g.conn.Close()
	}
	if g.db != nil {
		err = errors.Join(err, g.db.Close())
	}
	return errors.Join(err, g.lock.Close())
}
