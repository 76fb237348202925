// Package poly writes the configuration files of Poly VVX desk phones (UC
// Software 5 and 6) and knows the names that they ask for.
//
// A phone asks for MAC.cfg, which does not exist with us, then for
// 000000000000.cfg, the master file: it names the files with settings, of
// which we have one, MAC-user.cfg. Then come MAC-phone.cfg, MAC-web.cfg,
// MAC-license.cfg (none), and logs by PUT (refused). The format is one element
// whose attributes are the settings. The User-Agent names no MAC.
//
// Known keys come from published templates of other systems and the vendor's
// pages; nothing here was tried on a real phone yet.
//
//	content, err := poly.Brand{}.Render(file, settings)
//
// Everything is a pure function and safe for concurrent use.
package poly

import (
	_ "embed" // lines.tmpl and models.csv
	"fmt"
	"regexp"
	"strings"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/sheet"
	"linehall/provisioning/phone/xmlfile"
)

// Brand answers for all VVX phones.
type Brand struct{}

//go:embed lines.tmpl
var lines string

//go:embed models.csv
var models string

var form = sheet.Must(lines, models, func(text string) string { return text })

// Name is the brand's name in lists and metrics.
func (Brand) Name() string { return phone.Poly }

// Models lists the desk phones.
func (Brand) Models() []phone.Model { return form.Models() }

var (
	deviceName = regexp.MustCompile(`^(?i)([0-9a-f]{12})(-[a-z]+)?\.(?:cfg|xml|log)$`)
	masterName = regexp.MustCompile(`^0{12}\.cfg$`)
	otherName  = regexp.MustCompile(`^(?i)(0{12}-[a-z]+\.(?:cfg|xml)|(?:[0-9-]+\.)?sip\.(?:ld|ver))$`)
)

// ownFile ends the name of the file with a phone's settings.
const ownFile = "-user"

// File recognises a name that a VVX asks for.
func (Brand) File(name string) (phone.File, bool) {
	switch groups := deviceName.FindStringSubmatch(name); {
	case masterName.MatchString(name):
		return phone.File{Kind: phone.Common}, true
	case groups != nil && !strings.HasPrefix(name, "000000000000"):
		mac, ok := phone.MACInName(name)
		if strings.EqualFold(groups[2], ownFile) {
			return phone.File{Kind: phone.Device, MAC: mac}, ok
		}
		return phone.File{Kind: phone.Local, MAC: mac}, ok
	}
	return phone.File{Kind: phone.Boot}, otherName.MatchString(name)
}

// Lines are the settings in the phone's words.
func (Brand) Lines(settings phone.Settings) ([]phone.Line, error) { return form.Lines(settings) }

// Render writes a phone's own file, or the master file.
func (b Brand) Render(file phone.File, settings phone.Settings) ([]byte, error) {
	switch file.Kind {
	case phone.Common:
		return xmlfile.New("APPLICATION", "APP_FILE_PATH", "sip.ld", "CONFIG_FILES", "[PHONE_MAC_ADDRESS]"+ownFile+".cfg",
			"LOG_FILE_DIRECTORY", "", "OVERRIDES_DIRECTORY", "", "CONTACTS_DIRECTORY", "").Encode(), nil
	case phone.Device:
		lines, err := b.Lines(settings)
		if err != nil {
			return nil, err
		}
		root := xmlfile.New("polycomConfig")
		for _, l := range lines {
			root.Attrs = append(root.Attrs, xmlfile.Attr{Name: l.Key, Value: l.Value})
		}
		return root.Encode(), nil
	case phone.Boot, phone.Local:
	}
	return nil, fmt.Errorf("poly phones have no such file with us: kind %d", file.Kind)
}

// Parse reads a file as the phone does: attributes of whatever element.
func (Brand) Parse(content []byte) ([]phone.Line, error) {
	root, err := xmlfile.Decode(content)
	if err != nil {
		return nil, err
	}
	if len(root.Children) > 0 || root.Text != "" {
		return nil, fmt.Errorf("%w: more than attributes", xmlfile.ErrForm)
	}
	lines := make([]phone.Line, 0, len(root.Attrs))
	for _, a := range root.Attrs {
		lines = append(lines, phone.Line{Key: a.Name, Value: a.Value})
	}
	return lines, nil
}

// Resync makes a phone fetch its files; it restarts when they differ.
func (Brand) Resync() phone.Resync {
	return phone.Resync{Event: "check-sync", Reboot: "check-sync", Restarts: true}
}
