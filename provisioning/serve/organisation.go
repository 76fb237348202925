package serve

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/provisioning/inventory"
	"linehall/provisioning/phone"
	"linehall/provisioning/phonebook"
	"linehall/provisioning/plan"
)

// Organisation is what the phones are told, beside what their rows say.
type Organisation struct {
	Domain    string
	Name      string // of the phone book
	Language  string
	TimeZone  string
	Advertise netip.Addr                 // our address; invalid = the one that the phone reached us at
	SIPPorts  map[phone.Transport]uint16 // 0 = off
	HTTPPort  uint16                     // of the bootstrap, 0 = off
	HTTPSPort uint16
	DialNow   []string // see phone.DialNow
	Pickup    string   // code in front of a ringing number
	Terminals inventory.Config
	Survivors map[site.ID]string     // address of a site's own second server
	Keys      map[string][]phone.Key // lamps by extension
	Brands    []phone.Brand
	Contacts  []phonebook.Entry // of the phones' phone book, in order
	// AdminPassword is a phone's own, by its MAC address; nil while plans are
	// made, which show no secret.
	AdminPassword func(mac string) (string, error)
}

const (
	// waiting is how often a phone asks that has not enrolled: an admin who
	// opens a window does not wait longer than this for it.
	waiting = 10 * time.Minute
	// registration is how long a registration lasts (RFC 3261 section 10.2):
	// short enough that a lost phone is noticed, long enough for 120 of them.
	registration = 5 * time.Minute
	// DSCP of what phones send (RFC 4594): CS3 and EF.
	dscpSignalling = 24
	dscpVoice      = 46
	// maxTemplate bounds a template's file.
	maxTemplate = 64 << 10
)

// errNoAddress means that nobody knows how the phone reaches us.
var errNoAddress = errors.New("own address is unknown: set listen.advertise")

// prefix is the folder of phones on the HTTPS listener.
const prefix = "/prov/"

// own is our address as the phone reaches it.
func (o *Organisation) own(local netip.Addr) (string, error) {
	if o.Advertise.IsValid() {
		return o.Advertise.String(), nil
	}
	if !local.IsValid() || local.IsUnspecified() {
		return "", errNoAddress
	}
	return local.Unmap().WithZone("").String(), nil
}

// Profile is what a terminal is told, and where each value came from.
func (o *Organisation) Profile(t directory.Terminal) inventory.Profile {
	p := o.Terminals.Profile(o.Language, o.TimeZone, t.Site, t.Model, t.Extension, phone.SameModel)
	survivor := o.Survivors[t.Site]
	i := slices.IndexFunc(p.Origins, func(v inventory.Origin) bool { return v.Key == "backup_server" })
	if survivor == "" || i >= 0 && p.Origins[i].From != "organisation" {
		return p
	}
	p.BackupServer = survivor
	origin := inventory.Origin{Key: "backup_server", Value: survivor, From: "site " + string(t.Site), Path: "sites"}
	if i < 0 {
		p.Origins = append(p.Origins, origin)
	} else {
		p.Origins[i] = origin
	}
	return p
}

// bootstrap is what a phone gets that has not proved anything; secure says
// that the address to ask next is that of HTTPS, else it is the plain one.
func (o *Organisation) bootstrap(p inventory.Profile, t directory.Terminal, own string, secure bool) phone.Settings {
	settings := phone.Settings{
		MAC: t.MAC, Model: t.Model, Language: p.Language, TimeZone: p.TimeZone, NTP: p.NTP, DialNow: o.DialNow, WebOpen: p.WebPage == "on",
		Network: phone.Network{
			VLAN: p.VLAN, VLANPriority: p.VLANPriority, LLDP: p.LLDP == "on", DSCPSignal: dscpSignalling, DSCPVoice: dscpVoice,
		},
		Provisioning: phone.Provisioning{URL: o.base(own, secure), CAURL: o.base(own, secure) + caName, Every: waiting},
	}
	if o.HTTPPort != 0 {
		// Before it trusts our root, a phone can fetch the root only without it.
		settings.Provisioning.CAURL = o.base(own, false) + caName
	}
	return settings
}

// base is the folder of phones, by HTTPS or the plain one.
func (o *Organisation) base(own string, secure bool) string {
	if secure || o.HTTPPort == 0 {
		return "https://" + hostPort(own, o.HTTPSPort) + prefix
	}
	return "http://" + hostPort(own, o.HTTPPort) + "/"
}

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// admin is the password of a phone's menus: the organisation's, or the phone's
// own.
func (o *Organisation) admin(mac string) (string, error) {
	shared := o.Terminals.AdminPassword.Reveal()
	if shared != "" || o.Terminals.OwnAdminPassword != "on" || o.AdminPassword == nil {
		return shared, nil
	}
	return o.AdminPassword(mac)
}

// addSecrets turns a bootstrap into the whole file.
func (o *Organisation) addSecrets(settings *phone.Settings, p inventory.Profile, t directory.Terminal, own, password, token string, secure bool) {
	folder := o.base(own, secure) + tokenFolder + "/" + token + "/"
	settings.Provisioning = phone.Provisioning{
		URL: folder, CAURL: o.base(own, secure) + caName, CA: settings.Provisioning.CA, Every: p.Resync, Final: true,
	}
	transport := phone.Transport(p.Transport)
	if len(o.Contacts) > 0 {
		settings.Directory = phone.Directory{Name: o.Name, URL: folder + phonebookFile}
	}
	account := &phone.Account{
		User: t.Extension, AuthUser: cmp.Or(t.AuthUser, t.Extension), Password: password, DisplayName: cmp.Or(t.DisplayName, t.Extension),
		Domain: o.Domain, Server: own, Port: o.SIPPorts[transport], Transport: transport, SRTP: phone.SRTP(p.SRTP), Expires: registration,
		Backup: p.BackupServer, Pickup: o.Pickup, AutoAnswer: p.IntercomReply == "on",
	}
	for _, codec := range p.Codecs {
		account.Codecs = append(account.Codecs, phone.Codec(codec))
	}
	settings.Account = account
	settings.Keys = o.Keys[t.Extension]
}

// Marks stand in Wanted for what depends on the phone or is secret.
const (
	markServer = "OUR-ADDRESS"
	markSecret = plan.Mark
)

// Wanted are the settings of a terminal's whole file, and the file itself,
// with marks in the place of secrets and of our address where that depends on
// how the phone reaches us. ok is false for a phone that gets no file from us.
func (o *Organisation) Wanted(t directory.Terminal, ca []byte) (brand phone.Brand, settings phone.Settings, ok bool, err error) {
	if t.MAC == "" || !t.MayRegister() {
		return nil, settings, false, nil
	}
	brand = phone.BrandOf(o.Brands, t.Model, phone.Detect("", t.MAC).Brand, "")
	if brand == nil {
		return nil, settings, false, nil
	}
	own := markServer
	if o.Advertise.IsValid() {
		own = o.Advertise.String()
	}
	profile := o.Profile(t)
	secure := !plainOnly(brand, t)
	settings = o.bootstrap(profile, t, own, secure)
	settings.Provisioning.CA = ca
	if secure || profile.PlainSecrets {
		o.addSecrets(&settings, profile, t, own, markSecret, markSecret, secure)
		switch shared := o.Terminals.AdminPassword.Reveal(); {
		case shared != "":
			settings.AdminPassword = plan.Fingerprint(shared, o.Domain)
		case o.Terminals.OwnAdminPassword == "on":
			settings.AdminPassword = markSecret
		}
	}
	settings.Extra, err = o.template(brand.Name(), t.Template)
	return brand, settings, true, err
}

// plainOnly reports whether the phone cannot fetch from us by HTTPS.
func plainOnly(brand phone.Brand, t directory.Terminal) bool {
	model, _ := phone.Find(brand.Models(), t.Model)
	return model.Plain
}

// template reads the organisation's own lines for a terminal.
func (o *Organisation) template(brand, name string) (content []byte, err error) {
	if name == "" {
		return nil, nil
	}
	if name != filepath.Base(name) {
		return nil, fmt.Errorf("template %q is no plain name", name)
	}
	file, err := os.Open(filepath.Join(o.Terminals.Templates, brand, name+inventory.TemplateSuffix))
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	content, err = io.ReadAll(io.LimitReader(file, maxTemplate+1))
	if err == nil && len(content) > maxTemplate {
		err = fmt.Errorf("template %s is larger than %d KiB", name, maxTemplate>>10)
	}
	return content, err
}
