package setting

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Rate is a bit rate in bit/s, written with its unit: 512kbps, 2Mbps, 1.5Mbps.
// A bare number is refused: nobody can tell bits from bytes in it.
type Rate int64

// rateUnits are decimal, as line contracts are.
func rateUnits() []rateUnit {
	return []rateUnit{{"kbps", 1e3}, {"Mbps", 1e6}, {"Gbps", 1e9}, {"bps", 1}}
}

type rateUnit struct {
	name   string
	factor float64
}

// UnmarshalText reads "2Mbps"; a space before the unit is allowed, and K, M
// and G may be small or capital. A capital B means bytes and is refused.
func (r *Rate) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	digits := strings.TrimRight(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/")
	unit := s[len(digits):]
	if unit == "" {
		return fmt.Errorf("rate %q has no unit; write it like 2Mbps or 512kbps", s)
	}
	if strings.HasSuffix(unit, "B") || strings.Contains(unit, "Bp") {
		return fmt.Errorf("rate %q is in bytes; line rates are in bits, like 2Mbps", s)
	}
	for _, known := range rateUnits() {
		if !strings.EqualFold(unit, known.name) {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || value < 0 || math.IsNaN(value) || value*known.factor > 1e15 {
			return fmt.Errorf("%q is no rate; write it like 2Mbps or 512kbps", s)
		}
		*r = Rate(math.Round(value * known.factor))
		return nil
	}
	return fmt.Errorf("unknown unit %q in rate %q%s", unit, s, Hint(unit, []string{"kbps", "Mbps", "Gbps"}))
}

// MarshalText writes the largest unit that needs no fraction.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String returns the text form.
func (r Rate) String() string {
	switch {
	case r != 0 && r%1e9 == 0:
		return fmt.Sprintf("%dGbps", r/1e9)
	case r != 0 && r%1e6 == 0:
		return fmt.Sprintf("%dMbps", r/1e6)
	case r != 0 && r%1e3 == 0:
		return fmt.Sprintf("%dkbps", r/1e3)
	}
	return fmt.Sprintf("%dbps", int64(r))
}

// Share is a part of a whole, 0 to 1, written as a percentage: 15%.
type Share float64

// UnmarshalText reads "15%".
func (s *Share) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	digits, ok := strings.CutSuffix(word, "%")
	if !ok {
		return fmt.Errorf("share %q has no %%; write it like 15%%", word)
	}
	value, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil || math.IsNaN(value) {
		return fmt.Errorf("%q is no share; write it like 15%%", word)
	}
	if value < 0 || value > 100 {
		return fmt.Errorf("share %q is not between 0%% and 100%%", word)
	}
	*s = Share(value / 100)
	return nil
}

// MarshalText writes the percentage.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns the text form.
func (s Share) String() string {
	return strconv.FormatFloat(math.Round(float64(s)*1e6)/1e4, 'f', -1, 64) + "%"
}
