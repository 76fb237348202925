// Package grandstream writes the configuration files of Grandstream desk
// phones (GRP26xx, GXP16xx to GXP21xx) and knows the names that they ask for.
//
// A phone asks for cfgMAC (or cfgMAC.bin, a binary form), cfgMAC.xml,
// cfgMODEL.xml and cfg.xml, and stops at the first that it gets: only
// cfgMAC.xml exists with us. The format is XML in one of two dialects, names
// of settings with words as values (config version 2) or numbered P values
// (version 1); models.csv says which. Registrations last minutes, addresses of
// servers stand in one field with their port, and paths of files have no
// scheme: lines.tmpl.
//
// Known keys come from published templates of other systems; nothing here was
// tried on a real phone yet.
//
//	content, err := grandstream.Brand{}.Render(file, settings)
//
// Everything is a pure function and safe for concurrent use.
package grandstream

import (
	_ "embed" // lines.tmpl and models.csv
	"fmt"
	"regexp"
	"strings"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/sheet"
	"linehall/provisioning/phone/xmlfile"
)

// Brand answers for all Grandstream desk phones.
type Brand struct{}

//go:embed lines.tmpl
var lines string

//go:embed models.csv
var models string

var form = sheet.Must(lines, models, func(text string) string { return phone.Widen(text, "=") })

// Name is the brand's name in lists and metrics.
func (Brand) Name() string { return phone.Grandstream }

// Models lists the desk phones.
func (Brand) Models() []phone.Model { return form.Models() }

var (
	deviceName = regexp.MustCompile(`^(?i)cfg([0-9a-f]{12})(\.xml|\.bin)?$`)
	commonName = regexp.MustCompile(`^(?i)cfg((?:gxp|grp|gxv|gac|ht)[0-9a-z]*)?\.xml$`)
)

// File recognises a name that a Grandstream phone asks for.
func (Brand) File(name string) (phone.File, bool) {
	if groups := deviceName.FindStringSubmatch(name); groups != nil {
		mac, ok := phone.MACInName(name)
		if strings.EqualFold(groups[2], ".xml") {
			return phone.File{Kind: phone.Device, MAC: mac}, ok
		}
		return phone.File{Kind: phone.Boot, MAC: mac}, ok
	}
	if groups := commonName.FindStringSubmatch(name); groups != nil {
		return phone.File{Kind: phone.Boot, Model: strings.ToUpper(groups[1])}, true
	}
	return phone.File{}, false
}

// Lines are the settings in the phone's words.
func (Brand) Lines(settings phone.Settings) ([]phone.Line, error) { return form.Lines(settings) }

// Render writes a phone's own file; there are no others.
func (b Brand) Render(file phone.File, settings phone.Settings) ([]byte, error) {
	if file.Kind != phone.Device {
		return nil, fmt.Errorf("grandstream phones have no such file with us: kind %d", file.Kind)
	}
	lines, err := b.Lines(settings)
	if err != nil {
		return nil, err
	}
	hardware, _ := phone.Find(form.Models(), settings.Model)
	root := xmlfile.New("gs_provision", "version", "1")
	root.Add("mac").Text = strings.ReplaceAll(settings.MAC, ":", "")
	if hardware.Format == "pvalue" {
		config := root.Add("config", "version", "1")
		for _, l := range lines {
			config.Add(l.Key).Text = l.Value
		}
		return root.Encode(), nil
	}
	config := root.Add("config", "version", "2")
	for _, l := range lines {
		config.Add("item", "name", l.Key).Text = l.Value
	}
	return root.Encode(), nil
}

// Parse reads a file as the phone does.
func (Brand) Parse(content []byte) ([]phone.Line, error) {
	root, err := xmlfile.Decode(content)
	if err != nil {
		return nil, err
	}
	version, _ := root.Attr("version")
	if root.Name != "gs_provision" || version != "1" || len(root.Children) == 0 {
		return nil, fmt.Errorf("%w: the root is not gs_provision version 1", xmlfile.ErrForm)
	}
	config := root.Children[len(root.Children)-1]
	if config.Name != "config" || len(root.Children) > 2 || len(root.Children) == 2 && root.Children[0].Name != "mac" {
		return nil, fmt.Errorf("%w: want mac and config", xmlfile.ErrForm)
	}
	dialect, _ := config.Attr("version")
	var lines []phone.Line
	for _, c := range config.Children {
		key, named := c.Attr("name")
		if (dialect == "2") != named || (c.Name == "item") != named || len(c.Children) > 0 {
			return nil, fmt.Errorf("%w: element %s in version %s", xmlfile.ErrForm, c.Name, dialect)
		}
		if !named {
			key = c.Name
		}
		lines = append(lines, phone.Line{Key: key, Value: c.Text})
	}
	return lines, nil
}

// Resync makes a phone fetch its file. Sources do not agree on the event that
// does it without a restart; this is the one that two of them use.
func (Brand) Resync() phone.Resync {
	return phone.Resync{Event: "check-sync", Reboot: "check-sync;reboot=true"}
}
