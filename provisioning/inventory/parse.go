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

	"linehall/internal/setting"
	"linehall/internal/site"
)

// maxRows bounds what a broken file can cost.
const maxRows = 20_000

// Parse reads terminals.csv. It returns the rows that could be read and every
// problem, sorted by place; rows with a problem are returned as well, so that
// the caller can compare what is left of them.
func Parse(content []byte) ([]Row, []Problem) {
	text, err := decode(content)
	if err != nil {
		return nil, []Problem{{Position{1, 1}, err.Error()}}
	}
	p := &parser{lines: bytes.Split(text, []byte("\n")), macs: map[string]Position{}, extensions: map[string]Position{}}
	p.reader = csv.NewReader(bytes.NewReader(text))
	p.reader.FieldsPerRecord = -1
	p.reader.Comment = '#'
	p.reader.Comma = separator(text)
	if p.header() {
		p.rows()
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return p.found, p.problems
}

// decode returns UTF-8: the content without its byte order mark, or GB18030
// (what a Chinese Excel writes) converted.
func decode(content []byte) ([]byte, error) {
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(content, []byte("\xff\xfe")) || bytes.HasPrefix(content, []byte("\xfe\xff")) {
		return nil, errors.New("the file is UTF-16; save it as CSV UTF-8")
	}
	if utf8.Valid(content) {
		return content, nil
	}
	text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(content)
	if err != nil || bytes.ContainsRune(text, utf8.RuneError) {
		return nil, errors.New("the file is neither UTF-8 nor GB18030; save it as CSV UTF-8")
	}
	return text, nil
}

// separator is the semicolon when the header has only those.
func separator(text []byte) rune {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 0 || line[0] == '#' {
			continue
		}
		if bytes.ContainsRune(line, ';') && !bytes.ContainsRune(line, ',') {
			return ';'
		}
		break
	}
	return ','
}

type parser struct {
	lines  [][]byte
	reader *csv.Reader
	names  []string // of the columns, "" for one that is not ours

	found      []Row
	problems   []Problem
	macs       map[string]Position
	extensions map[string]Position
}

func (p *parser) add(at Position, format string, args ...any) {
	p.problems = append(p.problems, Problem{at, fmt.Sprintf(format, args...)})
}

// position counts characters where the reader counts bytes.
func (p *parser) position(field int) Position {
	return p.characters(p.reader.FieldPos(field))
}

func (p *parser) characters(line, column int) Position {
	if line < 1 || line > len(p.lines) {
		return Position{max(line, 1), max(column, 1)}
	}
	text := p.lines[line-1]
	return Position{line, 1 + utf8.RuneCount(text[:min(max(column-1, 0), len(text))])}
}

// next returns the next record; it skips and reports those that are no CSV.
func (p *parser) next() ([]string, bool) {
	for {
		record, err := p.reader.Read()
		var syntax *csv.ParseError
		switch {
		case err == nil:
			return record, true
		case errors.Is(err, io.EOF):
			return nil, false
		case errors.As(err, &syntax):
			p.add(p.characters(syntax.Line, syntax.Column), "no CSV here: %s", syntax.Err)
			if len(p.problems) > maxRows {
				return nil, false
			}
		default:
			p.add(Position{1, 1}, "reading: %s", err)
			return nil, false
		}
	}
}

func (p *parser) header() bool {
	record, ok := p.next()
	if !ok {
		p.add(Position{1, 1}, "the file is empty; its first line is %q", strings.Join(Header(), ","))
		return false
	}
	for i, name := range record {
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !slices.Contains(columns(), name):
			p.add(p.position(i), "unknown column %q%s", name, setting.Hint(name, columns()))
			name = ""
		case slices.Contains(p.names, name):
			p.add(p.position(i), "column %q is there twice", name)
			name = ""
		}
		p.names = append(p.names, name)
	}
	line := p.position(0).Line
	complete := true
	for _, name := range required() {
		if !slices.Contains(p.names, name) {
			p.add(Position{line, 1}, "column %q is missing; the first line is %q", name, strings.Join(Header(), ","))
			complete = false
		}
	}
	return complete
}

func (p *parser) rows() {
	for {
		record, ok := p.next()
		if !ok {
			return
		}
		if len(p.found) >= maxRows {
			p.add(p.position(0), "more than %d terminals", maxRows)
			return
		}
		if strings.TrimSpace(strings.Join(record, "")) == "" {
			continue // a spreadsheet's empty line
		}
		p.row(record)
	}
}

func (p *parser) row(record []string) {
	row := Row{State: StateActive, Digest: "MD5", line: p.position(0).Line, at: map[string]Position{}}
	if len(record) > len(p.names) {
		p.add(p.position(len(p.names)), "%d fields, but the header has %d columns", len(record), len(p.names))
		record = record[:len(p.names)]
	} else if len(record) < len(p.names) {
		p.add(Position{row.line, 1}, "%d fields, but the header has %d columns", len(record), len(p.names))
	}
	for i, value := range record {
		name := p.names[i]
		if name == "" {
			continue
		}
		row.at[name] = p.position(i)
		p.field(&row, name, strings.TrimSpace(value))
	}
	p.unique(row)
	p.found = append(p.found, row)
}

// field checks one value and puts it into the row; what cannot be used stays
// empty, so that it is not complained about twice.
func (p *parser) field(row *Row, name, value string) {
	at := row.at[name]
	if name == ColumnLamps { // longer than any other text
		lamps, err := parseLamps(value)
		if err != nil {
			p.add(at, "%s %s", name, err)
		}
		row.Lamps = lamps
		return
	}
	if err := validText(value); err != nil {
		p.add(at, "%s %s", name, err)
		return
	}
	switch name {
	case ColumnMAC:
		if value == "" {
			return
		}
		mac, err := ParseMAC(value)
		if err != nil {
			p.add(at, "%s", err)
		}
		row.MAC = mac
	case ColumnModel:
		row.Model = value
	case ColumnSite:
		if value == "" {
			p.add(at, "the terminal needs a site")
		}
		row.Site = site.ID(value)
	case ColumnExtension:
		row.Extension = value
	case ColumnDisplayName:
		row.DisplayName = value
	case ColumnTemplate:
		if !validTemplate(value) {
			p.add(at, "template %q must be letters, digits, _ and -", value)
			return
		}
		row.Template = value
	case ColumnState:
		p.oneOf(&row.State, name, strings.ToLower(value), States(), at)
	case ColumnNotes:
		row.Notes = value
	case ColumnDigest:
		p.oneOf(&row.Digest, name, strings.ToUpper(value), Digests(), at)
	case ColumnClass:
		row.Class = value
	}
}

func (p *parser) oneOf(target *string, name, value string, accepted []string, at Position) {
	switch {
	case value == "": // keeps the default
	case slices.Contains(accepted, value):
		*target = value
	default:
		p.add(at, "unknown %s %q%s", name, value, setting.Hint(value, accepted))
	}
}

// unique checks what needs the whole row, and what must not be there twice.
func (p *parser) unique(row Row) {
	at := row.At(ColumnExtension)
	switch err := validExtension(row.Extension); {
	case row.Extension == "" && row.State == StateSpare && row.MAC != "":
	case row.Extension == "":
		p.add(at, "the terminal needs an extension; only a spare with a MAC address may go without")
	case err != nil:
		p.add(at, "extension %q %s", row.Extension, err)
	default:
		if first, taken := p.extensions[row.Extension]; taken {
			p.add(at, "extension %q is that of line %d column %d already", row.Extension, first.Line, first.Column)
		} else {
			p.extensions[row.Extension] = at
		}
	}
	if row.MAC == "" {
		return
	}
	at = row.At(ColumnMAC)
	if first, taken := p.macs[row.MAC]; taken {
		p.add(at, "MAC address %q is that of line %d column %d already", row.MAC, first.Line, first.Column)
		return
	}
	p.macs[row.MAC] = at
}
