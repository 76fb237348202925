package phone

import "strings"

// Brand is what one vendor's package offers.
type Brand interface {
	Name() string
	// Models lists what the brand's package knows about its phones.
	Models() []Model
	// File recognises the name of a file that the brand's phones ask for. A
	// name can be that of several brands: 001565abcdef.cfg is.
	File(name string) (File, bool)
	// Render writes a file; the same settings give the same bytes.
	Render(file File, settings Settings) ([]byte, error)
	// Lines are the settings of a device's file in the brand's words.
	Lines(settings Settings) ([]Line, error)
	// Parse reads a file as strictly as the strictest phone.
	Parse(content []byte) ([]Line, error)
	// Resync says how a phone is told to fetch its file again.
	Resync() Resync
}

// Model is a row of a brand's models.csv.
type Model struct {
	Name   string // as its User-Agent has it: T54W, GRP2614
	File   string // its part in the name of the model's common file; "" = the name itself
	Lines  int    // accounts; 0 = unknown, then only the second one is cleared
	Keys   int    // programmable keys of the phone itself; 0 = unknown, then none is written
	Format string // the brand's dialect for it; "" = the usual one
	Plain  bool   // cannot fetch by HTTPS from a server with our certificate
}

// Resync is the NOTIFY (RFC 6665) that makes a phone fetch its file.
type Resync struct {
	Event  string // of the Event header: fetches again, without a restart where it can
	Reboot string // restarts
	// Restarts says that the phone restarts whenever its file differs.
	Restarts bool
}

// Find returns the model that a row of the list of terminals means, however
// it is written: "VVX 450", "VVX_450" and "Polycom VVX450" are one.
func Find(models []Model, name string) (Model, bool) {
	folded := fold(name)
	for _, m := range models {
		if folded != "" && fold(m.Name) == folded {
			return m, true
		}
	}
	return Model{}, false
}

// SameModel reports whether two names mean the same model.
func SameModel(a, b string) bool { return fold(a) == fold(b) && fold(a) != "" }

// fold drops what people write in front of a model's name, and separators.
func fold(name string) string {
	name = strings.ToUpper(name)
	for _, prefix := range []string{"YEALINK", "GRANDSTREAM", "FANVIL", "SNOM", "CISCO", "LINKSYS", "POLYCOM", "POLY", "HTEK"} {
		name = strings.TrimLeft(strings.TrimPrefix(name, prefix), " -_")
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "SIP-"), "CP-")
	return strings.NewReplacer(" ", "", "-", "", "_", "", "3PCC", "").Replace(name)
}

// BrandOf finds the brand whose phone asks for a file: that of the model in
// the list of terminals, else that which its User-Agent or MAC address hints
// at, else the only one whose phones ask for such a name. It is nil for none.
func BrandOf(brands []Brand, model, hint, name string) Brand {
	var asking Brand
	several := false
	for _, b := range brands {
		if _, ok := Find(b.Models(), model); ok {
			return b
		}
		if _, ok := b.File(name); ok {
			several = several || asking != nil
			asking = b
		}
	}
	for _, b := range brands {
		if b.Name() == hint {
			return b
		}
	}
	if several {
		return nil
	}
	return asking
}
