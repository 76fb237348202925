// Package yealink writes the configuration files of Yealink desk phones (T2x
// to T5x, firmware V81 and later) and knows the names that they ask for.
//
// A phone asks for MAC.boot, y000000000000.boot, y000000000NNN.cfg (NNN is its
// model's number) and MAC.cfg, in this order. There is no boot file: where one
// is found, only the files it names are fetched. The format is lines of
// "key = value" after the fixed first line; an empty value means the factory
// default, %NULL% the empty text. Output is deterministic, because the phone
// compares the checksum of a file with that of the last one and applies it
// only when they differ: no times, no random order.
//
// Known keys come from published templates of other systems and from manuals;
// nothing here was tried on a real phone yet.
//
//	brand := yealink.Brand{}
//	file, ok := brand.File("001565abcdef.cfg")
//	content, err := brand.Render(file, settings)
//
// Everything is a pure function and safe for concurrent use.
package yealink

import (
	_ "embed" // lines.tmpl and models.csv
	"fmt"
	"regexp"
	"slices"
	"strings"

	"linehall/provisioning/phone"
	"linehall/provisioning/phone/sheet"
)

// Brand answers for all Yealink desk phones.
type Brand struct{}

// Name is the brand's name in lists and metrics.
func (Brand) Name() string { return phone.Yealink }

// Models lists the desk phones.
func (Brand) Models() []phone.Model { return form.Models() }

//go:embed lines.tmpl
var lines string

//go:embed models.csv
var models string

var form = sheet.Must(lines, models, clean)

var (
	deviceName = regexp.MustCompile(`^(?i)([0-9a-f]{12})(-local)?\.(cfg|boot)$`)
	commonName = regexp.MustCompile(`^(?i)y0{9}([0-9]{3})\.cfg$`)
	bootName   = regexp.MustCompile(`^(?i)y0{12}\.boot$`)
)

// File recognises a name that a Yealink phone asks for.
func (Brand) File(name string) (phone.File, bool) {
	if groups := deviceName.FindStringSubmatch(name); groups != nil {
		mac, ok := phone.MACInName(name)
		if !ok {
			return phone.File{}, false
		}
		switch {
		case groups[2] != "":
			return phone.File{Kind: phone.Local, MAC: mac}, true
		case strings.EqualFold(groups[3], "boot"):
			return phone.File{Kind: phone.Boot, MAC: mac}, true
		}
		return phone.File{Kind: phone.Device, MAC: mac}, true
	}
	if bootName.MatchString(name) {
		return phone.File{Kind: phone.Boot}, true
	}
	if groups := commonName.FindStringSubmatch(name); groups != nil {
		number := strings.TrimPrefix(groups[1], "0")
		i := slices.IndexFunc(form.Models(), func(m phone.Model) bool { return m.File == number })
		if i < 0 {
			return phone.File{}, false
		}
		return phone.File{Kind: phone.Common, Model: form.Models()[i].Name}, true
	}
	return phone.File{}, false
}

// Render writes the file. Boot and local files do not exist.
func (b Brand) Render(file phone.File, settings phone.Settings) ([]byte, error) {
	note := ""
	switch file.Kind {
	case phone.Device:
		note = comment(settings)
	case phone.Common: // the address of a phone's own file comes with that file
		settings.Account, settings.Provisioning = nil, phone.Provisioning{}
	case phone.Boot, phone.Local:
		return nil, fmt.Errorf("yealink phones have no such file with us: kind %d", file.Kind)
	default:
		return nil, fmt.Errorf("unknown kind %d of file", file.Kind)
	}
	lines, err := b.Lines(settings)
	if err != nil {
		return nil, err
	}
	return write(note, lines), nil
}

// Lines are the settings in the phone's words.
func (Brand) Lines(settings phone.Settings) ([]phone.Line, error) { return form.Lines(settings) }

// Resync makes a phone fetch its file; it restarts when that needs it.
func (Brand) Resync() phone.Resync {
	return phone.Resync{Event: "check-sync;reboot=false", Reboot: "check-sync;reboot=true"}
}
