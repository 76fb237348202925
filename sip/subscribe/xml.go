package subscribe

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// document writes XML without reflection: lamps are written thousands of times a second.
type document struct{ b []byte }

const xmlHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

func (d *document) raw(s string) { d.b = append(d.b, s...) }

// attr writes name="value".
func (d *document) attr(name, value string) {
	d.raw(" ")
	d.raw(name)
	d.raw(`="`)
	d.text(value)
	d.raw(`"`)
}

func (d *document) number(name string, value uint64) {
	d.raw(" ")
	d.raw(name)
	d.raw(`="`)
	d.b = strconv.AppendUint(d.b, value, 10)
	d.raw(`"`)
}

// text escapes for content and attribute values; what XML 1.0 §2.2 has no character for
// becomes U+FFFD.
func (d *document) text(s string) {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			i++
			switch {
			case c == '<':
				d.raw("&lt;")
			case c == '>':
				d.raw("&gt;")
			case c == '&':
				d.raw("&amp;")
			case c == '"':
				d.raw("&quot;")
			case c < ' ':
				d.raw("\uFFFD")
			default:
				d.b = append(d.b, c)
			}
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == 0xFFFE || r == 0xFFFF {
			r = utf8.RuneError
		}
		d.b = utf8.AppendRune(d.b, r)
		i += size
	}
}

// element writes <name>text</name>.
func (d *document) element(name, text string) {
	d.raw("<")
	d.raw(name)
	d.raw(">")
	d.text(text)
	d.raw("</")
	d.raw(name)
	d.raw(">")
}

func (d *document) bytes() []byte { return bytes.Clone(d.b) }
