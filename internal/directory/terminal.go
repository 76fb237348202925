package directory

import (
	"encoding/hex"
	"fmt"
	"strings"

	"linehall/internal/site"
)

// State says whether a terminal is in use.
type State = string

// The states of a row of terminals.csv.
const (
	Active   State = "active"
	Spare    State = "spare"    // a phone in stock; it may have no extension yet
	Disabled State = "disabled" // known, but may not register
)

// Digest algorithms of RFC 7616 that a terminal can be challenged with.
const (
	MD5    = "MD5"
	SHA256 = "SHA-256"
)

// Terminal is one row of terminals.csv: a desk phone, or a softphone when it has no MAC.
type Terminal struct {
	Extension   string
	DisplayName string
	Site        site.ID // configured site; where its packets come from is site.Atlas's word
	MAC         string  // 00:15:65:00:00:01, lower case; "" for a softphone
	Model       string
	Template    string
	State       State // "" means Active
	Notes       string
	AuthUser    string // "" means the extension
	Digest      string // MD5 (also when "") or SHA-256
	Class       string // class of service, see sip/dialplan; "" = unrestricted
}

// MayRegister reports whether the terminal is in use.
func (t Terminal) MayRegister() bool { return t.State == Active && t.Extension != "" }

// NormalMAC brings 00-15-65-AA-BB-CC, 0015.65aa.bbcc, 001565aabbcc and the like to 00:15:65:aa:bb:cc.
func NormalMAC(text string) (string, error) {
	digits := strings.NewReplacer(":", "", "-", "", ".", "", " ", "").Replace(strings.ToLower(text))
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != 6 {
		return "", fmt.Errorf("%q is no MAC address of six bytes", text)
	}
	parts := make([]string, len(raw))
	for i := range raw {
		parts[i] = digits[2*i : 2*i+2]
	}
	return strings.Join(parts, ":"), nil
}

// normal fills the defaults and checks one row.
func (t Terminal) normal() (Terminal, error) {
	if t.MAC != "" {
		mac, err := NormalMAC(t.MAC)
		if err != nil {
			return t, fmt.Errorf("terminal %s: %w", t.Extension, err)
		}
		t.MAC = mac
	}
	switch t.State {
	case "":
		t.State = Active
	case Active, Spare, Disabled:
	default:
		return t, fmt.Errorf("terminal %s: state %q: want %s, %s or %s", t.Extension, t.State, Active, Spare, Disabled)
	}
	switch t.Digest {
	case "":
		t.Digest = MD5
	case MD5, SHA256:
	default:
		return t, fmt.Errorf("terminal %s: digest %q: want %s or %s", t.Extension, t.Digest, MD5, SHA256)
	}
	if t.AuthUser == "" {
		t.AuthUser = t.Extension
	}
	if t.Extension == "" && t.State == Active {
		return t, fmt.Errorf("terminal %s: an active terminal needs an extension", t.MAC)
	}
	return t, nil
}
