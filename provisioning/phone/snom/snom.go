// Package snom writes the configuration files of Snom desk phones (D1xx to
// D8xx) and knows the names that they ask for.
//
// A phone asks in the folder that it was given for snomMODEL.htm and
// snomMODEL-MAC.htm (MAC in upper case). Both exist: the first holds what is no
// phone's own. The format is XML: settings with the idx of an identity or key;
// a setting's key here is name[idx]. perm="R" keeps a user from changing what
// we own; RW would mean a default that is written only once.
//
// Known keys come from published templates of other systems and the vendor's
// pages; nothing here was tried on a real phone yet.
//
//	content, err := snom.Brand{}.Render(file, settings)
//
// Everything is a pure function and safe for concurrent use.
package snom

import (
	_ "embed" // lines.tmpl and models.csv
	"fmt"
	"regexp"
	"strings"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/sheet"
	"linehall/provisioning/phone/xmlfile"
)

// Brand answers for all Snom desk phones.
type Brand struct{}

//go:embed lines.tmpl
var lines string

//go:embed models.csv
var models string

// form: braces are macros in addresses, the bar separates parts of a key.
var form = sheet.Must(lines, models, func(text string) string { return phone.Widen(text, "{}|") })

// Name is the brand's name in lists and metrics.
func (Brand) Name() string { return phone.Snom }

// Models lists the desk phones.
func (Brand) Models() []phone.Model { return form.Models() }

var fileName = regexp.MustCompile(`^(?i)snom([a-z]?[0-9]{3})(?:-([0-9a-f]{12}))?\.(?:htm|xml)$`)

// File recognises a name that a Snom phone asks for.
func (Brand) File(name string) (phone.File, bool) {
	groups := fileName.FindStringSubmatch(name)
	if groups == nil {
		return phone.File{}, false
	}
	if groups[2] == "" {
		return phone.File{Kind: phone.Common, Model: strings.ToUpper(groups[1])}, true
	}
	mac, ok := phone.MACInName(name)
	return phone.File{Kind: phone.Device, MAC: mac, Model: strings.ToUpper(groups[1])}, ok
}

// Lines are the settings in the phone's words.
func (Brand) Lines(settings phone.Settings) ([]phone.Line, error) { return form.Lines(settings) }

// Render writes a phone's own file, or that of a model.
func (b Brand) Render(file phone.File, settings phone.Settings) ([]byte, error) {
	switch file.Kind {
	case phone.Device:
	case phone.Common: // the address of a phone's own file comes with that file
		settings.Account, settings.Provisioning = nil, phone.Provisioning{}
	case phone.Boot, phone.Local:
		fallthrough
	default:
		return nil, fmt.Errorf("snom phones have no such file with us: kind %d", file.Kind)
	}
	lines, err := b.Lines(settings)
	if err != nil {
		return nil, err
	}
	root := xmlfile.New("settings")
	phoneSettings := root.Add("phone-settings", "e", "2")
	var keys, certificates *xmlfile.Node
	labels := map[string]string{}
	for _, l := range lines {
		if key, ok := strings.CutSuffix(l.Key, ".label"); ok {
			labels[key] = l.Value
		}
	}
	for _, l := range lines {
		name, index := xmlfile.Path(l.Key)
		switch {
		case strings.HasSuffix(l.Key, ".label"):
		case name == "fkey":
			if keys == nil {
				keys = root.Add("functionKeys", "e", "2")
			}
			keys.Add("fkey", "idx", index, "context", "active", "label", labels[l.Key], "perm", "R").Text = l.Value
		case name == "certificate":
			if certificates == nil {
				certificates = root.Add("certificates")
			}
			certificates.Add("certificate").Text = l.Value
		case index == "":
			phoneSettings.Add(name, "perm", "R").Text = l.Value
		default:
			phoneSettings.Add(name, "idx", index, "perm", "R").Text = l.Value
		}
	}
	return root.Encode(), nil
}

// Parse reads a file as the phone does.
func (Brand) Parse(content []byte) ([]phone.Line, error) {
	root, err := xmlfile.Decode(content)
	if err != nil {
		return nil, err
	}
	if root.Name != "settings" {
		return nil, fmt.Errorf("%w: the root is not settings", xmlfile.ErrForm)
	}
	var lines []phone.Line
	for _, section := range root.Children {
		for i, c := range section.Children {
			if len(c.Children) > 0 {
				return nil, fmt.Errorf("%w: element %s has children", xmlfile.ErrForm, c.Name)
			}
			key := c.Name
			if index, ok := c.Attr("idx"); ok {
				key += "[" + index + "]"
			}
			switch section.Name {
			case "phone-settings":
				lines = append(lines, phone.Line{Key: key, Value: c.Text})
			case "functionKeys":
				label, _ := c.Attr("label")
				lines = append(lines, phone.Line{Key: key, Value: c.Text}, phone.Line{Key: key + ".label", Value: label})
			case "certificates":
				lines = append(lines, phone.Line{Key: fmt.Sprintf("%s[%d]", c.Name, i+1), Value: c.Text})
			default:
				return nil, fmt.Errorf("%w: section %s", xmlfile.ErrForm, section.Name)
			}
		}
	}
	return lines, nil
}

// Resync makes a phone fetch its file without a restart.
func (Brand) Resync() phone.Resync {
	return phone.Resync{Event: "check-sync;reboot=false", Reboot: "check-sync;reboot=true"}
}
