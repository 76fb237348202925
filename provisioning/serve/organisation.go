package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"linehall/internal/directory"
	"linehall/provisioning/inventory"
	"linehall/provisioning/phone"
)

// Organisation is what all phones have in common.
type Organisation struct {
	Domain        string
	Language      string
	TimeZone      string
	NTP           []string
	Advertise     netip.Addr // our address; invalid = the one that the phone reached us at
	Transport     phone.Transport
	SIPPort       uint16 // of that transport
	SRTP          phone.SRTP
	HTTPPort      uint16 // of the bootstrap, 0 = off
	HTTPSPort     uint16
	DialNow       []string // see phone.DialNow
	AdminPassword string
	Templates     string // folder of BRAND/NAME.cfg
	EnrolmentMax  time.Duration
}

const (
	// waiting is how often a phone asks that has not enrolled: an admin who
	// opens a window does not wait longer than this for it.
	waiting = 10 * time.Minute
	// daily is how often an enrolled phone asks, should no NOTIFY tell it.
	daily = 24 * time.Hour
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

// common is what a file for all phones of a model holds.
func (o *Organisation) common(model string) phone.Settings {
	return phone.Settings{
		Model: model, Language: o.Language, TimeZone: o.TimeZone, NTP: o.NTP, DialNow: o.DialNow,
		Network: phone.Network{LLDP: true, DSCPSignal: dscpSignalling, DSCPVoice: dscpVoice},
	}
}

// own is our address as the phone reaches it.
func (o *Organisation) own(local netip.Addr) (netip.Addr, error) {
	if o.Advertise.IsValid() {
		return o.Advertise, nil
	}
	if !local.IsValid() || local.IsUnspecified() {
		return netip.Addr{}, errNoAddress
	}
	return local.Unmap().WithZone(""), nil
}

// bootstrap is what a phone gets that has not proved anything; secure says
// that the address to ask next is that of HTTPS, else it is the plain one.
func (o *Organisation) bootstrap(terminal directory.Terminal, local netip.Addr, secure bool) (phone.Settings, error) {
	own, err := o.own(local)
	if err != nil {
		return phone.Settings{}, err
	}
	settings := o.common(terminal.Model)
	settings.MAC = terminal.MAC
	settings.Provisioning = phone.Provisioning{URL: o.secureURL(own), CAURL: o.secureURL(own) + caName, Every: waiting}
	if o.HTTPPort != 0 {
		// Before it trusts our root, a phone can fetch the root only without it.
		settings.Provisioning.CAURL = "http://" + hostPort(own, o.HTTPPort) + "/" + caName
		if !secure {
			settings.Provisioning.URL = "http://" + hostPort(own, o.HTTPPort) + "/"
		}
	}
	return settings, nil
}

func (o *Organisation) secureURL(own netip.Addr) string {
	return "https://" + hostPort(own, o.HTTPSPort) + prefix
}

func hostPort(addr netip.Addr, port uint16) string {
	return net.JoinHostPort(addr.String(), strconv.Itoa(int(port)))
}

// addSecrets turns a bootstrap into the whole file.
func (s *Server) addSecrets(
	ctx context.Context, settings *phone.Settings, o *Organisation, terminal directory.Terminal, local netip.Addr, token string,
) error {
	own, err := o.own(local)
	if err != nil {
		return err
	}
	password, err := s.Directory.Password(ctx, terminal.Extension)
	if err != nil {
		return fmt.Errorf("password of %s: %w", terminal.Extension, err)
	}
	settings.AdminPassword = o.AdminPassword
	settings.Provisioning = phone.Provisioning{
		URL: o.secureURL(own) + tokenFolder + "/" + token + "/", CAURL: o.secureURL(own) + caName, Every: daily, Final: true,
	}
	settings.Account = &phone.Account{
		User: terminal.Extension, AuthUser: terminal.AuthUser, Password: password, DisplayName: terminal.DisplayName,
		Domain: o.Domain, Server: own.String(), Port: o.SIPPort, Transport: o.Transport, SRTP: o.SRTP,
		Expires: registration, Codecs: []phone.Codec{phone.G722, phone.PCMA, phone.PCMU}, AutoAnswer: true,
	}
	if settings.Account.DisplayName == "" {
		settings.Account.DisplayName = terminal.Extension
	}
	return nil
}

// template reads the organisation's own lines for a terminal.
func (o *Organisation) template(brand, name string) (content []byte, err error) {
	if name == "" {
		return nil, nil
	}
	if name != filepath.Base(name) {
		return nil, fmt.Errorf("template %q is no plain name", name)
	}
	file, err := os.Open(filepath.Join(o.Templates, brand, name+inventory.TemplateSuffix))
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
