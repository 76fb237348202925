// Package htek writes the configuration files of Htek desk phones (UC9xx) and
// knows the names that they ask for.
//
// A phone asks for cfgCODE.xml (CODE is its model's four digits), cfgMAC (a
// binary form) and cfgMAC.xml, and stops at the first that it gets: only
// cfgMAC.xml exists with us. The format is XML with numbered P values, close
// to Grandstream's and not the same: lines.tmpl.
//
// Known keys come from six published templates of one other system; nothing
// here was tried on a real phone yet, and languages, time zones and line keys
// beyond the fourth are not written, because their numbers are not known.
//
//	content, err := htek.Brand{}.Render(file, settings)
//
// Everything is a pure function and safe for concurrent use.
package htek

import (
	_ "embed" // lines.tmpl and models.csv
	"fmt"
	"regexp"
	"strings"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/sheet"
	"linehall/provisioning/phone/xmlfile"
)

// Brand answers for all Htek desk phones.
type Brand struct{}

//go:embed lines.tmpl
var lines string

//go:embed models.csv
var models string

var form = sheet.Must(lines, models, func(text string) string { return text })

// Name is the brand's name in lists and metrics.
func (Brand) Name() string { return phone.Htek }

// Models lists the desk phones.
func (Brand) Models() []phone.Model { return form.Models() }

var (
	deviceName = regexp.MustCompile(`^(?i)cfg([0-9a-f]{12})(\.xml)?$`)
	commonName = regexp.MustCompile(`^(?i)cfg[0-9]{4}\.xml$`)
)

// File recognises a name that an Htek phone asks for.
func (Brand) File(name string) (phone.File, bool) {
	if groups := deviceName.FindStringSubmatch(name); groups != nil {
		mac, ok := phone.MACInName(name)
		if strings.EqualFold(groups[2], ".xml") {
			return phone.File{Kind: phone.Device, MAC: mac}, ok
		}
		return phone.File{Kind: phone.Boot, MAC: mac}, ok
	}
	return phone.File{Kind: phone.Boot}, commonName.MatchString(name)
}

// Lines are the settings in the phone's words.
func (Brand) Lines(settings phone.Settings) ([]phone.Line, error) { return form.Lines(settings) }

// Render writes a phone's own file; there are no others.
func (b Brand) Render(file phone.File, settings phone.Settings) ([]byte, error) {
	if file.Kind != phone.Device {
		return nil, fmt.Errorf("htek phones have no such file with us: kind %d", file.Kind)
	}
	lines, err := b.Lines(settings)
	if err != nil {
		return nil, err
	}
	root := xmlfile.New("hl_provision", "version", "1")
	config := root.Add("config", "version", "1")
	for _, l := range lines {
		config.Add(l.Key).Text = l.Value
	}
	return root.Encode(), nil
}

// Parse reads a file as the phone does.
func (Brand) Parse(content []byte) ([]phone.Line, error) {
	root, err := xmlfile.Decode(content)
	if err != nil {
		return nil, err
	}
	if root.Name != "hl_provision" || len(root.Children) != 1 || root.Children[0].Name != "config" {
		return nil, fmt.Errorf("%w: want hl_provision with one config", xmlfile.ErrForm)
	}
	var lines []phone.Line
	for _, c := range root.Children[0].Children {
		if len(c.Children) > 0 || !strings.HasPrefix(c.Name, "P") {
			return nil, fmt.Errorf("%w: element %s", xmlfile.ErrForm, c.Name)
		}
		lines = append(lines, phone.Line{Key: c.Name, Value: c.Text})
	}
	return lines, nil
}

// Resync makes a phone fetch its file.
func (Brand) Resync() phone.Resync {
	return phone.Resync{Event: "resync", Reboot: "check-sync;reboot=true"}
}
