// Package fanvil writes the configuration files of Fanvil desk phones (X and V
// series, firmware 2.x) and knows the names that they ask for.
//
// A phone asks for a common file of its hardware (f0X4hw1.100.cfg), which does
// not exist with us, and for MAC.cfg. The format is XML under sysConf with
// numbered parts; a setting's key here is its path: sip/line[1]/Transport. The
// phone applies a file when its contents differ (digest mode of current
// firmware), so the Version element never changes.
//
// Known keys come from published templates of other systems; nothing here was
// tried on a real phone yet. Phones of the older text format are not served.
//
//	content, err := fanvil.Brand{}.Render(file, settings)
//
// Everything is a pure function and safe for concurrent use.
package fanvil

import (
	_ "embed" // lines.tmpl and models.csv
	"fmt"
	"regexp"
	"strings"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/sheet"
	"linehall/provisioning/phone/xmlfile"
)

// Brand answers for all Fanvil desk phones.
type Brand struct{}

//go:embed lines.tmpl
var lines string

//go:embed models.csv
var models string

// form: some firmware stumbles over marks in labels, escaped or not.
var form = sheet.Must(lines, models, func(text string) string { return phone.Widen(text, `&<>"'`) })

// Name is the brand's name in lists and metrics.
func (Brand) Name() string { return phone.Fanvil }

// Models lists the desk phones.
func (Brand) Models() []phone.Model { return form.Models() }

var (
	deviceName = regexp.MustCompile(`^(?i)([0-9a-f]{12})\.cfg$`)
	commonName = regexp.MustCompile(`^(?i)(f0[a-z0-9.]*\.cfg|fanvil_[a-z0-9_]+\.txt)$`)
)

// File recognises a name that a Fanvil phone asks for.
func (Brand) File(name string) (phone.File, bool) {
	if deviceName.MatchString(name) {
		mac, ok := phone.MACInName(name)
		return phone.File{Kind: phone.Device, MAC: mac}, ok
	}
	return phone.File{Kind: phone.Boot}, commonName.MatchString(name)
}

// Lines are the settings in the phone's words.
func (Brand) Lines(settings phone.Settings) ([]phone.Line, error) { return form.Lines(settings) }

// version must not change: the phone compares what the file says, not when it
// was written.
const version = "2.0002"

// Render writes a phone's own file; there are no others.
func (b Brand) Render(file phone.File, settings phone.Settings) ([]byte, error) {
	if file.Kind != phone.Device {
		return nil, fmt.Errorf("fanvil phones have no such file with us: kind %d", file.Kind)
	}
	lines, err := b.Lines(settings)
	if err != nil {
		return nil, err
	}
	root := xmlfile.New("sysConf")
	root.Add("Version").Text = version
	for _, l := range lines {
		at := root
		for step := range strings.SplitSeq(l.Key, "/") {
			at = at.Child(xmlfile.Path(step))
		}
		at.Text = l.Value
	}
	return root.Encode(), nil
}

// Parse reads a file as the phone does.
func (Brand) Parse(content []byte) ([]phone.Line, error) {
	root, err := xmlfile.Decode(content)
	if err != nil {
		return nil, err
	}
	if root.Name != "sysConf" || len(root.Children) == 0 || root.Children[0].Name != "Version" {
		return nil, fmt.Errorf("%w: want sysConf with its Version", xmlfile.ErrForm)
	}
	var lines []phone.Line
	var walk func(at string, n *xmlfile.Node)
	walk = func(at string, n *xmlfile.Node) {
		if index, ok := n.Attr("index"); ok {
			at += "[" + index + "]"
		}
		if len(n.Children) == 0 {
			lines = append(lines, phone.Line{Key: at, Value: n.Text})
		}
		for _, c := range n.Children {
			walk(at+"/"+c.Name, c)
		}
	}
	for _, c := range root.Children[1:] {
		walk(c.Name, c)
	}
	return lines, nil
}

// Resync makes a phone fetch its file.
func (Brand) Resync() phone.Resync {
	return phone.Resync{Event: "check-sync", Reboot: "check-sync;reboot=true"}
}
