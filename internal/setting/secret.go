package setting

import "log/slog"

// Secret is a text that must not be shown. Beside every key of this type the
// configuration takes the same key with "_file", naming a file that holds it.
// Printing, logging and marshalling show only whether one is set.
type Secret string

// Reveal returns the text itself.
func (s Secret) Reveal() string { return string(s) }

// UnmarshalText takes any text.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = Secret(text)
	return nil
}

// String hides the text.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString hides the text from %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText hides the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue hides the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
