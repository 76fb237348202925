package dialplan

import (
	"slices"
	"strings"

	"linehall/internal/setting"
)

// NumberingConfig is how the public network around the organisation writes numbers. The defaults
// are China's.
type NumberingConfig struct {
	Country       string `yaml:"country"`       // E.164 country code, 86
	Area          string `yaml:"area"`          // area code without the national prefix, like 471; "" when local numbers are not used
	National      string `yaml:"national"`      // dialled before an area code, 0
	International string `yaml:"international"` // dialled before a country code, 00
	// Mobile are patterns of numbers that have no area code.
	Mobile []string `yaml:"mobile"`
}

// DefaultNumbering holds the numbering of China.
func DefaultNumbering() NumberingConfig {
	return NumberingConfig{Country: "86", National: "0", International: "00", Mobile: []string{"1NXXXXXXXXX"}}
}

// Format is how a trunk wants numbers.
type Format string

// The formats.
const (
	E164        Format = "e164"       // +8613800000000
	NationalFmt Format = "national"   // 13800000000, 04715550000, 0012025550100
	AsDialled   Format = "as_dialled" // as the rule left it
	longestE164        = 15           // digits, ITU-T E.164 §6.1
	localLeast         = 7            // digits of a subscriber's number within its area
	localMost          = 8
)

// Formats lists the accepted values of a trunk's "format".
func Formats() []string { return []string{string(E164), string(NationalFmt), string(AsDialled)} }

// Normalise removes what people and address books put between digits (RFC 3966 §5.1.1 visual
// separators and the spaces of other scripts) and writes full-width digits as digits. Everything
// else stays, so that an unknown number can be shown as dialled.
func Normalise(dialled string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '０' && r <= '９':
			return r - '０' + '0'
		case r == '＋':
			return '+'
		case r == '＊':
			return '*'
		case r == '＃':
			return '#'
		}
		switch r {
		case '-', '.', '(', ')', ' ', '\t', '\u00a0', '\u3000', '\u2010', '\u2011', '\u2013', '（', '）', '－':
			return -1
		}
		return r
	}, dialled)
}

// Canonical returns the E.164 form of an outside number ("+" and digits). Numbers that have none,
// like service numbers (10086, 95588), are returned as they are, with false.
func (n NumberingConfig) Canonical(number string) (string, bool) {
	number = Normalise(number)
	if rest, ok := strings.CutPrefix(number, "+"); ok {
		return n.international(rest, number)
	}
	if !numberLike(number) {
		return number, false
	}
	if rest, ok := strings.CutPrefix(number, n.International); ok && n.International != "" {
		return n.international(rest, number)
	}
	if n.mobile(number) {
		return "+" + n.Country + number, true
	}
	if rest, ok := strings.CutPrefix(number, n.National); ok && n.National != "" {
		if n.mobile(rest) || (len(rest) > localLeast && !strings.HasPrefix(rest, "0") && fitsE164(n.Country+rest)) {
			return "+" + n.Country + rest, true
		}
		return number, false
	}
	if n.Area != "" && len(number) >= localLeast && len(number) <= localMost && !strings.HasPrefix(number, "0") {
		return "+" + n.Country + n.Area + number, true
	}
	return number, false
}

// international reads what follows + or 00. People write the national prefix after the country
// code: +86 (0)471.
func (n NumberingConfig) international(rest, whole string) (string, bool) {
	if after, ok := strings.CutPrefix(rest, n.Country); ok && n.National != "" {
		if short, ok := strings.CutPrefix(after, n.National); ok {
			rest = n.Country + short
		}
	}
	if !numberLike(rest) || !fitsE164(rest) || strings.HasPrefix(rest, "0") {
		return whole, false
	}
	return "+" + rest, true
}

func fitsE164(s string) bool { return len(s) >= localLeast && len(s) <= longestE164 }

// numberLike accepts digits and the letters of patterns, so that a DID pattern has an E.164 form too.
func numberLike(s string) bool { return s != "" && strings.Trim(s, "0123456789XZN") == "" }

func (n NumberingConfig) mobile(number string) bool {
	return slices.ContainsFunc(n.Mobile, func(text string) bool { return Pattern(text).Match(number) })
}

// Write returns an outside number in a trunk's format. asDialled is used by AsDialled, and for
// numbers that have no E.164 form.
func (n NumberingConfig) Write(format Format, number, asDialled string) string {
	if asDialled == "" {
		asDialled = number
	}
	canonical, ok := n.Canonical(number)
	if !ok {
		return asDialled
	}
	switch format {
	case AsDialled:
		return asDialled
	case NationalFmt:
		return n.nationalForm(canonical)
	case E164:
		return canonical
	}
	return canonical
}

// nationalForm writes an E.164 number as it is dialled within the country.
func (n NumberingConfig) nationalForm(canonical string) string {
	rest, ok := strings.CutPrefix(canonical, "+"+n.Country)
	switch {
	case !ok || n.Country == "":
		return n.International + strings.TrimPrefix(canonical, "+")
	case n.mobile(rest), len(rest) <= localLeast: // the latter is a service number, like 10086
		return rest
	}
	return n.National + rest
}

// forms lists the ways to write a dialled number, as dialled first: a block on "00." must not be
// passed by dialling "+".
func (n NumberingConfig) forms(number string) []string {
	forms := []string{number}
	canonical, ok := n.Canonical(number)
	if !ok {
		return forms
	}
	for _, form := range []string{canonical, n.nationalForm(canonical), n.International + canonical[1:]} {
		if !slices.Contains(forms, form) {
			forms = append(forms, form)
		}
	}
	return forms
}

// toll says how far an outside number is, as far as the number tells.
func (n NumberingConfig) toll(number string) Toll {
	canonical, ok := n.Canonical(number)
	if !ok {
		if strings.HasPrefix(number, "+") || (n.International != "" && strings.HasPrefix(number, n.International)) {
			return International
		}
		return Local // a service number
	}
	rest, home := strings.CutPrefix(canonical, "+"+n.Country)
	switch {
	case !home:
		return International
	case n.Area != "" && strings.HasPrefix(rest, n.Area) && !n.mobile(rest):
		return Local
	}
	return LongDistance
}

func (n NumberingConfig) validate() error {
	var found setting.Complaints
	if !digits(n.Country) || len(n.Country) > 3 || strings.HasPrefix(n.Country, "0") {
		found.Add("country", "country code %q must be 1 to 3 digits, like 86", n.Country)
	}
	if n.Area != "" && (!digits(n.Area) || strings.HasPrefix(n.Area, "0") || len(n.Area) > 5) {
		found.Add("area", "area code %q must be digits without the leading 0, like 471", n.Area)
	}
	for key, prefix := range map[string]string{"national": n.National, "international": n.International} {
		if prefix != "" && (!digits(prefix) || len(prefix) > 4) {
			found.Add(key, "prefix %q must be at most 4 digits", prefix)
		}
	}
	if n.National != "" && n.National == n.International {
		found.Add("international", "prefix %q is the national one too: no number could be told from another", n.International)
	}
	for i, text := range n.Mobile {
		if _, err := ParsePattern(text); err != nil {
			found.Add(setting.Index("mobile", i), "%s", err)
		}
	}
	return found.Err()
}
