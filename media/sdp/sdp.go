// Package sdp edits session descriptions (RFC 8866) without rewriting what it does not know.
//
// Parse keeps every line byte for byte and in order, also lines that are no SDP at all, and both kinds of line ends, so
// that Marshal of an unedited document equals the input. Only what makes a description unusable is an error: no v= line,
// an m= line that cannot be read, sizes beyond the limits. Accessors read what phones really send; setters change one
// line and leave the rest.
//
// It negotiates nothing (RFC 3264 is the business of the dialog) and validates no grammar. A Document is not safe for
// concurrent use; what accessors return are copies.
//
//	doc, err := sdp.Parse(body) // *sdp.ParseError{Line}
//	for _, m := range doc.Media() {
//		m.SetPort(20000)
//	}
//	doc.SetAddress(netip.MustParseAddr("192.0.2.1"))
//	body = doc.Marshal()
package sdp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Limits of what Parse accepts; a large offer of a browser with simulcast has about 12 KiB and 300 lines.
const (
	MaxSize  = 64 << 10
	MaxLines = 2000
	MaxMedia = 32
)

// ParseError says why a description cannot be used.
type ParseError struct {
	Line   int // counted from 1; 0: the description as a whole
	Reason string
}

func (e *ParseError) Error() string {
	if e.Line == 0 {
		return "sdp: " + e.Reason
	}
	return fmt.Sprintf("sdp line %d: %s", e.Line, e.Reason)
}

// Document is a session description: lines that hold for the session, then media sections.
type Document struct {
	session section
	media   []*Media
}

// section is a run of lines that begins a document or with an m= line.
type section struct {
	lines []line
}

// line is one line without its end; end is "\r\n", "\n" or, on the last line only, "".
type line struct {
	text, end string
}

// Parse reads a description. It keeps no reference to body.
func Parse(body []byte) (*Document, error) {
	if len(body) > MaxSize {
		return nil, &ParseError{Reason: fmt.Sprintf("%d bytes are more than %d", len(body), MaxSize)}
	}
	if before, _, found := bytes.Cut(body, []byte{0}); found {
		return nil, &ParseError{Line: bytes.Count(before, []byte("\n")) + 1, Reason: "a zero byte"}
	}
	d, text := &Document{}, string(body)
	current, version := &d.session, false
	for number := 1; text != ""; number++ {
		if number > MaxLines {
			return nil, &ParseError{Line: number, Reason: fmt.Sprintf("more than %d lines", MaxLines)}
		}
		var l line
		l, text = cut(text)
		switch {
		case strings.HasPrefix(l.text, "v="):
			version = true
		case strings.HasPrefix(l.text, "m="):
			if reason := checkMedia(l.text); reason != "" {
				return nil, &ParseError{Line: number, Reason: reason}
			}
			if len(d.media) == MaxMedia {
				return nil, &ParseError{Line: number, Reason: fmt.Sprintf("more than %d media sections", MaxMedia)}
			}
			m := &Media{session: &d.session}
			d.media = append(d.media, m)
			current = &m.section
		}
		current.lines = append(current.lines, l)
	}
	if !version {
		return nil, &ParseError{Reason: "no v= line"}
	}
	return d, nil
}

func cut(text string) (line, string) {
	i := strings.IndexByte(text, '\n')
	switch {
	case i < 0:
		return line{text: text}, ""
	case i > 0 && text[i-1] == '\r':
		return line{text: text[:i-1], end: "\r\n"}, text[i+1:]
	default:
		return line{text: text[:i], end: "\n"}, text[i+1:]
	}
}

// Marshal writes the description: what was not edited is byte for byte what Parse read.
func (d *Document) Marshal() []byte {
	var b bytes.Buffer
	for _, s := range d.sections() {
		for _, l := range s.lines {
			b.WriteString(l.text)
			b.WriteString(l.end)
		}
	}
	return b.Bytes()
}

// Clone returns an independent copy.
func (d *Document) Clone() *Document {
	c := &Document{session: section{lines: slices.Clone(d.session.lines)}}
	for _, m := range d.media {
		c.media = append(c.media, &Media{section: section{lines: slices.Clone(m.lines)}, session: &c.session})
	}
	return c
}

// Media returns the media sections in order. The elements are live: setters on them edit the document.
func (d *Document) Media() []*Media { return slices.Clone(d.media) }

// Append adds a copy of a media section at the end, for instance a rejected one that keeps m-lines in step
// (RFC 3264 §8). What it had from its session, like the connection line, it has from d now.
func (d *Document) Append(m *Media) *Media {
	s := d.sections()
	if last := s[len(s)-1]; len(last.lines) > 0 {
		if end := &last.lines[len(last.lines)-1].end; *end == "" {
			*end = d.session.lineEnd()
		}
	}
	c := &Media{section: section{lines: slices.Clone(m.lines)}, session: &d.session}
	for i := range c.lines {
		c.lines[i].end = d.session.lineEnd()
	}
	d.media = append(d.media, c)
	return c
}

func (d *Document) sections() []*section {
	out := []*section{&d.session}
	for _, m := range d.media {
		out = append(out, &m.section)
	}
	return out
}

// lineEnd is how new lines end: as the first line does.
func (s *section) lineEnd() string {
	if len(s.lines) > 0 && s.lines[0].end != "" {
		return s.lines[0].end
	}
	return "\r\n"
}

// value returns what follows prefix on the first line that begins with it.
func (s *section) value(prefix string) (string, bool) {
	if i := s.index(prefix); i >= 0 {
		return strings.TrimSpace(s.lines[i].text[len(prefix):]), true
	}
	return "", false
}

func (s *section) values(prefix string) []string {
	var out []string
	for _, l := range s.lines {
		if strings.HasPrefix(l.text, prefix) {
			out = append(out, strings.TrimSpace(l.text[len(prefix):]))
		}
	}
	return out
}

func (s *section) index(prefix string) int {
	return slices.IndexFunc(s.lines, func(l line) bool { return strings.HasPrefix(l.text, prefix) })
}

// attribute finds a=name or a=name:value; the value of a flag is "".
func (s *section) attribute(name string) (int, string) {
	for i, l := range s.lines {
		rest, ok := strings.CutPrefix(l.text, "a="+name)
		if !ok {
			continue
		}
		if value, found := strings.CutPrefix(rest, ":"); found {
			return i, strings.TrimSpace(value)
		}
		if strings.TrimSpace(rest) == "" {
			return i, ""
		}
	}
	return -1, ""
}

// set replaces the text of line i, or with i < 0 inserts it where the order of RFC 8866 §5 wants its type.
func (s *section) set(i int, text string) {
	if i >= 0 {
		s.lines[i].text = text
		return
	}
	at := len(s.lines)
	for at > 0 && rank(s.lines[at-1].text) > rank(text) {
		at--
	}
	end := s.lineEnd()
	if at > 0 && s.lines[at-1].end == "" {
		s.lines[at-1].end = end
	}
	s.lines = slices.Insert(s.lines, at, line{text: text, end: end})
}

// rank orders the types of lines inside a section; unknown ones stay at the end.
func rank(text string) int {
	const order = "vomsiuepcbtrzka"
	if text == "" {
		return len(order)
	}
	if i := strings.IndexByte(order, text[0]); i >= 0 {
		return i
	}
	return len(order)
}

// remove deletes every line for which drop is true and reports whether there was one. It keeps the first line.
func (s *section) remove(drop func(text string) bool) bool {
	before := len(s.lines)
	kept := s.lines[:0:0]
	for i, l := range s.lines {
		if i == 0 || !drop(l.text) {
			kept = append(kept, l)
		}
	}
	s.lines = kept
	return len(kept) != before
}
