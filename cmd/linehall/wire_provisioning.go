package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"linehall/configs"
	"linehall/internal/directory"
	"linehall/internal/setting"
	"linehall/internal/site"
	"linehall/media/bulk"
	"linehall/provisioning/enrolment"
	"linehall/provisioning/phone"
	"linehall/provisioning/phone/cisco"
	"linehall/provisioning/phone/fanvil"
	"linehall/provisioning/phone/grandstream"
	"linehall/provisioning/phone/htek"
	"linehall/provisioning/phone/poly"
	"linehall/provisioning/phone/snom"
	"linehall/provisioning/phone/yealink"
	"linehall/provisioning/phonebook"
	"linehall/provisioning/pnp"
	"linehall/provisioning/serve"
	"linehall/provisioning/visit"
)

// delivery hands desk phones their files.
type delivery struct {
	server *serve.Server
	shaper *bulk.Shaper // what files may take of the lines
	book   *enrolment.Book
	visits *visit.Book
	pnp    *pnp.Server
	listen string // plain HTTP; "" = off
	tftp   string // "" = off
}

func openDelivery(ctx context.Context, config configs.Config, g *ground, shaper *bulk.Shaper) (*delivery, error) {
	book, err := enrolment.Open(ctx, g.db, g.box, time.Now)
	if err != nil {
		return nil, err
	}
	visits, err := visit.Open(ctx, g.db, g.log)
	if err != nil {
		return nil, err
	}
	organisation, err := servedOrganisation(config, g)
	if err != nil {
		return nil, err
	}
	server := serve.New(serve.Options{
		Directory: g.directory, Atlas: g.atlas, Book: book, Audit: g.audit, Visits: visits,
		Organisation: organisation, CA: g.authority.PhoneRootPEM, Now: time.Now, Log: g.log, Registerer: g.registry, Dropped: g.dropped,
	})
	return &delivery{
		server: server, shaper: shaper, book: book, visits: visits, pnp: newPnP(server, g),
		listen: string(config.Listen.Provisioning), tftp: string(config.Listen.TFTP),
	}, nil
}

// phoneBrands are the vendors whose phones we write files for.
func phoneBrands() []phone.Brand {
	return []phone.Brand{
		yealink.Brand{}, grandstream.Brand{}, fanvil.Brand{}, snom.Brand{}, cisco.Brand{}, poly.Brand{}, htek.Brand{},
	}
}

// adminPasswordLength gives 93 bits, and is short enough for what phones accept.
const adminPasswordLength = 16

// servedOrganisation is organisationOf with the passwords of phones' own menus, which depend on the master key only: they
// need no place to be lost in.
func servedOrganisation(config configs.Config, g *ground) (serve.Organisation, error) {
	organisation, err := organisationOf(config)
	organisation.AdminPassword = func(mac string) (string, error) {
		raw, err := g.box.Derive("admin password of phone "+mac, adminPasswordLength)
		return directory.Spell(raw), err
	}
	return organisation, err
}

// organisationOf is what all phones have in common.
func organisationOf(config configs.Config) (serve.Organisation, error) {
	l := config.Listen
	organisation := serve.Organisation{
		Domain: config.Appliance.Domain, Name: config.Appliance.Name, Language: config.Appliance.Language, TimeZone: config.Appliance.TimeZone,
		Advertise: config.AdvertiseAddr(), DialNow: dialNow(config), Pickup: config.Dialplan.Features["pickup"], Terminals: config.Terminals,
		Survivors: map[site.ID]string{}, Keys: lampKeys(config), Brands: phoneBrands(), Contacts: contactsOf(config), SIPPorts: map[phone.Transport]uint16{},
	}
	for _, s := range config.Sites {
		organisation.Survivors[s.ID] = s.Survivor
	}
	var udp, tcp, tls uint16
	for _, port := range []struct {
		of   setting.Address
		into *uint16
	}{{l.SIPUDP, &udp}, {l.SIPTCP, &tcp}, {l.SIPTLS, &tls}, {l.Provisioning, &organisation.HTTPPort}, {l.HTTPS, &organisation.HTTPSPort}} {
		if port.of == "" {
			continue // off
		}
		number, err := strconv.ParseUint(portOf(string(port.of)), 10, 16)
		if err != nil {
			return organisation, fmt.Errorf("port of %s: %w", port.of, err)
		}
		*port.into = uint16(number)
	}
	organisation.SIPPorts[phone.UDP], organisation.SIPPorts[phone.TCP], organisation.SIPPorts[phone.TLS] = udp, tcp, tls
	return organisation, nil
}

// lampKeys are the busy lamps of each row, labelled as the list has it.
func lampKeys(config configs.Config) map[string][]phone.Key {
	names, keys := map[string]string{}, map[string][]phone.Key{}
	for _, row := range config.Inventory() {
		names[row.Extension] = row.Label()
	}
	for _, room := range config.Conference.Rooms {
		names[room.Number] = room.Name
	}
	for _, row := range config.Inventory() {
		for _, number := range row.Lamps {
			keys[row.Extension] = append(keys[row.Extension], phone.Key{Number: number, Label: cmp.Or(names[number], number)})
		}
	}
	return keys
}

// contactsOf is the phone book of the phones: whoever is active in the list, and the meeting rooms.
func contactsOf(config configs.Config) []phonebook.Entry {
	sites := map[site.ID]string{}
	for _, s := range config.Sites {
		sites[s.ID] = s.Name
	}
	var entries []phonebook.Entry
	for _, t := range terminalsOf(config) {
		if t.MayRegister() {
			entries = append(entries, phonebook.Entry{Name: t.DisplayName, Number: t.Extension, Group: sites[t.Site]})
		}
	}
	for _, room := range config.Conference.Rooms {
		entries = append(entries, phonebook.Entry{Name: cmp.Or(room.Name, room.Number), Number: room.Number})
	}
	return phonebook.Sort(entries)
}

// dialNow lets phones dial our own numbers without waiting for another digit, emergency numbers before all others.
func dialNow(config configs.Config) []string {
	numbers := []string{config.Dialplan.Duty}
	for _, row := range config.Inventory() {
		numbers = append(numbers, row.Extension)
	}
	for _, room := range config.Conference.Rooms {
		numbers = append(numbers, room.Number)
	}
	return phone.DialNow(config.Dialplan.Emergency, slices.DeleteFunc(numbers, func(n string) bool { return n == "" }))
}

// stage serves the bootstrap over plain HTTP and TFTP; the files with secrets are behind the console's listener.
func (d *delivery) stage() stage {
	s := stage{name: "provisioning", parts: []part{{"visits of phones", d.visits.Run}, {"pnp", d.pnp.Run}}}
	if d.listen != "" {
		s.parts = append(s.parts, part{"provisioning", func(ctx context.Context) error {
			listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", d.listen)
			if err != nil {
				return err
			}
			return d.server.Run(ctx, d.shaper.Listener(listener))
		}})
	}
	if d.tftp != "" {
		s.parts = append(s.parts, part{"tftp", func(ctx context.Context) error {
			socket, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", d.tftp)
			if err != nil {
				return err
			}
			return d.server.RunTFTP(ctx, socket)
		}})
	}
	return s
}
