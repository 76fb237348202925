package inventory

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"linehall/internal/site"
)

// The columns of terminals.csv. The first eight are its standard header; the
// others may be added.
const (
	ColumnMAC         = "mac"
	ColumnModel       = "model"
	ColumnSite        = "site"
	ColumnExtension   = "extension"
	ColumnDisplayName = "display_name"
	ColumnTemplate    = "template"
	ColumnState       = "state"
	ColumnNotes       = "notes"
	ColumnDigest      = "digest"
	ColumnClass       = "class"
	ColumnLamps       = "lamps"
)

// Header lists the columns in their usual order, without the optional ones.
func Header() []string {
	return []string{
		ColumnMAC, ColumnModel, ColumnSite, ColumnExtension, ColumnDisplayName, ColumnTemplate, ColumnState, ColumnNotes,
	}
}

func columns() []string { return append(Header(), ColumnDigest, ColumnClass, ColumnLamps) }

func required() []string { return []string{ColumnMAC, ColumnSite, ColumnExtension} }

// The states of a terminal.
const (
	StateActive   = "active"   // registers and gets its file
	StateSpare    = "spare"    // in the cupboard: known, gets nothing
	StateDisabled = "disabled" // locked out
	StatePool     = "pool"     // a number that an unknown phone is lent until somebody claims another one at it
)

// States lists the accepted values of the column "state".
func States() []string { return []string{StateActive, StateSpare, StateDisabled, StatePool} }

// Digests lists the accepted values of the column "digest"; empty is MD5.
func Digests() []string { return []string{"MD5", "SHA-256"} }

// Position is a place in the file; lines and columns count from 1, columns in
// characters.
type Position struct{ Line, Column int }

// Problem is something wrong at a place in the file.
type Problem struct {
	Position

	Message string
}

// Row is one terminal as the file has it.
type Row struct {
	MAC         string // 00:15:65:ab:cd:ef; "" for a softphone
	Model       string
	Site        site.ID
	Extension   string // "" only for a spare
	DisplayName string
	Template    string
	State       string
	Notes       string
	Digest      string   // MD5 or SHA-256
	Class       string   // class of service, "" = unrestricted
	Lamps       []string // numbers on the phone's busy lamp keys, in their order

	line int
	at   map[string]Position
}

// At is where the row has the column; a column that the file does not have is
// at the beginning of the row.
func (r Row) At(column string) Position {
	if p, ok := r.at[column]; ok {
		return p
	}
	return Position{Line: r.line, Column: 1}
}

// Same reports whether two rows say the same, wherever they stand.
func (r Row) Same(other Row) bool {
	r.line, r.at, other.line, other.at = 0, nil, 0, nil
	return reflect.DeepEqual(r, other)
}

// Label is what the phone shows for its line.
func (r Row) Label() string {
	if r.DisplayName == "" {
		return r.Extension
	}
	return r.DisplayName
}

const (
	maxExtension = 8
	maxName      = 64
)

// maxLamps is three expansion modules of 60 keys.
const maxLamps = 180

// parseLamps splits the column "lamps": numbers with blanks between them.
func parseLamps(text string) ([]string, error) {
	numbers := strings.Fields(text)
	if len(numbers) > maxLamps {
		return nil, fmt.Errorf("names %d numbers; a phone has at most %d keys", len(numbers), maxLamps)
	}
	for i, number := range numbers {
		if len(number) > maxExtension || strings.Trim(number, "0123456789*#") != "" {
			return nil, fmt.Errorf("%q is no number; write numbers with blanks between them", number)
		}
		if slices.Contains(numbers[:i], number) {
			return nil, fmt.Errorf("number %q is there twice", number)
		}
	}
	return numbers, nil
}

func validExtension(number string) error {
	switch {
	case strings.Trim(number, "0123456789") != "":
		return errors.New("must be digits")
	case len(number) < 2 || len(number) > maxExtension:
		return errors.New("must have 2 to 8 digits")
	}
	return nil
}

// validText refuses what would inject a line into a phone's file or hide
// itself on a screen.
func validText(text string) error {
	if len([]rune(text)) > maxName {
		return errors.New("is longer than 64 characters")
	}
	for _, c := range text {
		if unicode.IsControl(c) || c == unicode.ReplacementChar || unicode.Is(unicode.Bidi_Control, c) {
			return errors.New("has a control character in it")
		}
	}
	return nil
}

func validTemplate(name string) bool {
	return len(name) <= 32 && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// validPhonePassword accepts what every phone's file can carry: # begins a
// comment in some formats, $ { } | ; are syntax in others.
func validPhonePassword(password string) error {
	if password == "" {
		return nil
	}
	if len(password) < 8 || len(password) > 32 {
		return errors.New("must have 8 to 32 characters")
	}
	for _, c := range password {
		if c > unicode.MaxASCII || (!unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("-_.+!", c)) {
			return errors.New("may only have letters, digits and - _ . + !: phones cannot take others from a file")
		}
	}
	return nil
}
