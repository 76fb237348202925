package inventory

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// Sheet is a list of terminals that is changed cell by cell: comments, order,
// quotes, encoding and line ends stay as they are,
// and so does every byte of the other rows.
type Sheet struct {
	text    []byte // UTF-8, without byte order mark
	bom     bool
	gb      bool
	newline string
	comma   rune

	names   []string // of the columns in lower case
	records []record
}

// record is a row with the places of its cells in the text.
type record struct {
	cells      []string
	spans      [][2]int // [from, to) of each cell
	begin, end int      // of its lines, line end included
}

// ErrSheet means that a change is not possible; its text says why, in words
// for the operator.
var ErrSheet = errors.New("terminals.csv stays as it is")

// OpenSheet reads a list that Parse has no complaint about.
func OpenSheet(content []byte) (*Sheet, error) {
	if _, problems := Parse(content); len(problems) > 0 {
		p := problems[0]
		return nil, fmt.Errorf("%w: line %d column %d: %s", ErrSheet, p.Line, p.Column, p.Message)
	}
	s := &Sheet{bom: bytes.HasPrefix(content, []byte("\xef\xbb\xbf")), newline: "\n"}
	text, err := decode(content)
	if err != nil {
		return nil, err
	}
	s.gb = !utf8.Valid(content)
	if bytes.Contains(text, []byte("\r\n")) {
		s.newline = "\r\n"
	}
	s.comma = separator(text)
	return s, s.index(text)
}

// index finds the cells of a text.
func (s *Sheet) index(text []byte) error {
	s.text, s.names, s.records = text, nil, nil
	lines := []int{0}
	for i, c := range text {
		if c == '\n' {
			lines = append(lines, i+1)
		}
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord, r.Comment, r.Comma = -1, '#', s.comma
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSheet, err)
		}
		one := record{cells: cells, end: int(r.InputOffset())}
		last := len(bytes.TrimRight(text[:one.end], "\r\n"))
		for i := range cells {
			line, column := r.FieldPos(i)
			from := lines[line-1] + column - 1
			if i == 0 {
				one.begin = lines[line-1]
			} else {
				one.spans[i-1][1] = from - 1
			}
			one.spans = append(one.spans, [2]int{from, last})
		}
		if s.names == nil {
			for _, name := range cells {
				s.names = append(s.names, strings.ToLower(strings.TrimSpace(name)))
			}
			continue
		}
		s.records = append(s.records, one)
	}
}

// Bytes is the list in its own encoding.
func (s *Sheet) Bytes() ([]byte, error) {
	text := s.text
	if s.gb {
		encoded, err := simplifiedchinese.GB18030.NewEncoder().Bytes(text)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSheet, err)
		}
		return encoded, nil
	}
	if s.bom {
		text = append([]byte("\xef\xbb\xbf"), text...)
	}
	return text, nil
}

// column is where a column stands, -1 for one that the list has not.
func (s *Sheet) column(name string) int { return slices.Index(s.names, name) }

func (s *Sheet) cell(r record, name string) string {
	if i := s.column(name); i >= 0 && i < len(r.cells) {
		return strings.TrimSpace(r.cells[i])
	}
	return ""
}

// find is the row of a MAC address or an extension, -1 for none.
func (s *Sheet) find(mac, extension string) int {
	return slices.IndexFunc(s.records, func(r record) bool {
		if mac != "" {
			own, err := ParseMAC(s.cell(r, ColumnMAC))
			return err == nil && own == mac
		}
		return s.cell(r, ColumnExtension) == extension
	})
}

// quoted writes a value as a cell.
func (s *Sheet) quoted(value string) string {
	if strings.ContainsRune(value, s.comma) || strings.ContainsAny(value, "\"\r\n") || strings.HasPrefix(value, " ") || strings.HasPrefix(value, "#") {
		return `"` + strings.ReplaceAll(value, `"`, `""`) + `"`
	}
	return value
}

// set changes cells of a row. Columns that the list does not have are left out
// if they may be; rows that are shorter than the header are refused by Parse.
func (s *Sheet) set(row int, values map[string]string) error {
	r := s.records[row]
	text := s.text
	for i, name := range slices.Backward(s.names) { // from the end, so that places stay right
		value, wanted := values[name]
		if !wanted || i >= len(r.spans) || strings.TrimSpace(r.cells[i]) == value {
			continue
		}
		span := r.spans[i]
		text = slices.Concat(text[:span[0]], []byte(s.quoted(value)), text[span[1]:])
	}
	return s.replace(text)
}

// add puts a row at the end.
func (s *Sheet) add(values map[string]string) error {
	var b strings.Builder
	if len(s.text) > 0 && s.text[len(s.text)-1] != '\n' {
		b.WriteString(s.newline)
	}
	for i, name := range s.names {
		if i > 0 {
			b.WriteRune(s.comma)
		}
		b.WriteString(s.quoted(values[name]))
	}
	b.WriteString(s.newline)
	return s.replace(slices.Concat(s.text, []byte(b.String())))
}

// remove takes a row out.
func (s *Sheet) remove(row int) error {
	r := s.records[row]
	return s.replace(slices.Concat(s.text[:r.begin], s.text[r.end:]))
}

// replace takes a text that is still a list without a mistake.
func (s *Sheet) replace(text []byte) error {
	if _, problems := Parse(text); len(problems) > 0 {
		p := problems[0]
		return fmt.Errorf("%w: line %d column %d would be wrong: %s", ErrSheet, p.Line, p.Column, p.Message)
	}
	return s.index(text)
}

// Claim gives a phone to an extension: to its row, if that has no phone yet,
// else to a new row at the end.
func (s *Sheet) Claim(phone Stranger, extension, name string) error {
	if extension == "" {
		return fmt.Errorf("%w: an extension is needed", ErrSheet)
	}
	if row := s.find(phone.MAC, ""); row >= 0 {
		r := s.records[row]
		if s.state(r) != StatePool || s.cell(r, ColumnExtension) == extension {
			return fmt.Errorf("%w: the phone %s is in the list already, extension %q", ErrSheet, phone.MAC, s.cell(r, ColumnExtension))
		}
		// It was only lent a number of the pool, which is free again.
		if err := s.set(row, map[string]string{ColumnMAC: "", ColumnModel: ""}); err != nil {
			return err
		}
	}
	row := s.find("", extension)
	if row < 0 {
		return s.add(map[string]string{
			ColumnMAC: phone.MAC, ColumnModel: phone.Model, ColumnSite: string(phone.Site), ColumnExtension: extension, ColumnDisplayName: name, ColumnState: StateActive,
		})
	}
	r := s.records[row]
	values := map[string]string{ColumnMAC: phone.MAC}
	switch {
	case s.cell(r, ColumnMAC) != "":
		return fmt.Errorf("%w: extension %s has the phone %s; `linehall terminal replace` exchanges it", ErrSheet, extension, s.cell(r, ColumnMAC))
	case s.state(r) == StateDisabled:
		return fmt.Errorf("%w: extension %s is disabled", ErrSheet, extension)
	}
	if phone.Model != "" {
		values[ColumnModel] = phone.Model
	}
	if name != "" {
		values[ColumnDisplayName] = name
	}
	if s.state(r) == StateSpare {
		values[ColumnState] = StateActive
	}
	return s.set(row, values)
}

// Replace gives the row of a broken phone to another one. A spare that the
// list has in the cupboard leaves it; its model, or the one that is known of
// the new phone, goes into the row.
func (s *Sheet) Replace(broken string, by Stranger) (extension string, err error) {
	row := s.find(broken, "")
	switch {
	case row < 0:
		return "", fmt.Errorf("%w: no row has the MAC address %s", ErrSheet, broken)
	case broken == by.MAC:
		return "", fmt.Errorf("%w: both are the phone %s", ErrSheet, broken)
	}
	model := by.Model
	if spare := s.find(by.MAC, ""); spare >= 0 {
		r := s.records[spare]
		if s.state(r) != StateSpare || s.cell(r, ColumnExtension) != "" {
			return "", fmt.Errorf("%w: the phone %s is in use already, extension %q", ErrSheet, by.MAC, s.cell(r, ColumnExtension))
		}
		if own := s.cell(r, ColumnModel); own != "" {
			model = own
		}
		if err := s.remove(spare); err != nil {
			return "", err
		}
		row = s.find(broken, "")
	}
	values := map[string]string{ColumnMAC: by.MAC}
	if model != "" {
		values[ColumnModel] = model
	}
	extension = s.cell(s.records[row], ColumnExtension)
	return extension, s.set(row, values)
}

// Lend gives a phone that nobody knows the first free number of its site's
// pool. ok is false when there is none.
func (s *Sheet) Lend(phone Stranger) (extension string, ok bool, err error) {
	row := slices.IndexFunc(s.records, func(r record) bool {
		return s.state(r) == StatePool && s.cell(r, ColumnMAC) == "" && s.cell(r, ColumnSite) == string(phone.Site)
	})
	if row < 0 {
		return "", false, nil
	}
	extension = s.cell(s.records[row], ColumnExtension)
	return extension, true, s.set(row, map[string]string{ColumnMAC: phone.MAC, ColumnModel: phone.Model})
}

func (s *Sheet) state(r record) string {
	if state := strings.ToLower(s.cell(r, ColumnState)); state != "" {
		return state
	}
	return StateActive
}
