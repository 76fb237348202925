// Package cisco writes the configuration files of Cisco SPA5xx phones and of
// multiplatform phones (68xx, 78xx, 88xx-3PCC), and knows the names that they
// ask for.
//
// Out of the box a SPA asks for spaPSN.cfg and an MPP for PSN.xml (PSN is the
// model: 504G, 8841-3PCC). That file says only where the phone's own is, by
// the macro $MA: MAC.xml. The format is flat XML whose elements are the names
// on the phone's web page with blanks as _; ua="na" hides a setting from the
// user. Unknown elements are ignored; the last of two wins.
//
// A SPA accepts only HTTPS servers whose certificate is Cisco's, so it can get
// its secrets from us by plain HTTP only: the organisation has to allow that
// phone by phone.
//
// Known keys come from published templates of other systems and the vendor's
// manuals; nothing here was tried on a real phone yet.
//
//	content, err := cisco.Brand{}.Render(file, settings)
//
// Everything is a pure function and safe for concurrent use.
package cisco

import (
	_ "embed" // lines.tmpl and models.csv
	"fmt"
	"regexp"
	"strings"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/sheet"
	"linehall/provisioning/phone/xmlfile"
)

// Brand answers for SPA and MPP phones.
type Brand struct{}

//go:embed lines.tmpl
var lines string

//go:embed models.csv
var models string

// form: $ begins a macro, and ; | ( ) are syntax in keys, rules and digit maps.
var form = sheet.Must(lines, models, func(text string) string { return phone.Widen(text, "$;|=()") })

// Name is the brand's name in lists and metrics.
func (Brand) Name() string { return phone.Cisco }

// Models lists the desk phones.
func (Brand) Models() []phone.Model { return form.Models() }

var (
	deviceName = regexp.MustCompile(`^(?i)([0-9a-f]{12})\.xml$`)
	commonName = regexp.MustCompile(`^(?i)(?:spa([0-9]{3}G?2?)\.cfg|([0-9]{4}-3PCC)\.xml)$`)
	// centralName are the names that the phones try of another vendor's
	// server.
	centralName = regexp.MustCompile(`^(?i)(SEP[0-9a-f]{12}\.cnf\.xml|CTLSEP[0-9a-f]{12}\.tlv|init\.cfg)$`)
)

// File recognises a name that a Cisco phone asks for.
func (Brand) File(name string) (phone.File, bool) {
	if deviceName.MatchString(name) {
		mac, ok := phone.MACInName(name)
		return phone.File{Kind: phone.Device, MAC: mac}, ok
	}
	if groups := commonName.FindStringSubmatch(name); groups != nil {
		part := strings.ToUpper(groups[1] + groups[2])
		for _, m := range form.Models() {
			if strings.EqualFold(m.File, part) {
				return phone.File{Kind: phone.Common, Model: m.Name}, true
			}
		}
	}
	return phone.File{Kind: phone.Boot}, centralName.MatchString(name)
}

// Lines are the settings in the phone's words.
func (Brand) Lines(settings phone.Settings) ([]phone.Line, error) { return form.Lines(settings) }

// Render writes a phone's own file, or the first one of a model.
func (b Brand) Render(file phone.File, settings phone.Settings) ([]byte, error) {
	switch file.Kind {
	case phone.Device:
	case phone.Common:
		settings.MAC, settings.Account = "", nil
	case phone.Boot, phone.Local:
		fallthrough
	default:
		return nil, fmt.Errorf("cisco phones have no such file with us: kind %d", file.Kind)
	}
	lines, err := b.Lines(settings)
	if err != nil {
		return nil, err
	}
	root := xmlfile.New("flat-profile")
	for _, l := range lines {
		root.Add(l.Key, "ua", "na").Text = l.Value
	}
	return root.Encode(), nil
}

// Parse reads a file as the phone does, except that an element that is there
// twice is an error: the last one would win.
func (Brand) Parse(content []byte) ([]phone.Line, error) {
	root, err := xmlfile.Decode(content)
	if err != nil {
		return nil, err
	}
	if root.Name != "flat-profile" {
		return nil, fmt.Errorf("%w: the root is not flat-profile", xmlfile.ErrForm)
	}
	var lines []phone.Line
	seen := map[string]bool{}
	for _, c := range root.Children {
		if len(c.Children) > 0 || seen[c.Name] {
			return nil, fmt.Errorf("%w: element %s has children or is there twice", xmlfile.ErrForm, c.Name)
		}
		seen[c.Name] = true
		lines = append(lines, phone.Line{Key: c.Name, Value: c.Text})
	}
	return lines, nil
}

// Resync makes a phone fetch its file when it is idle.
func (Brand) Resync() phone.Resync {
	return phone.Resync{Event: "check-sync", Reboot: "reboot"}
}
