package subscribe

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"linehall/sip/call"
)

// The event package "presence" (RFC 3856) with PIDF documents (RFC 3863) and the activities of
// RPID (RFC 4480). What a phone publishes (RFC 3903) stands beside what we know ourselves.

const pidfType = "application/pidf+xml"

// presenceState is what we know of a number.
type presenceState struct {
	Registered   bool
	DoNotDisturb bool
	Dialogs      []call.DialogInfo
	Published    []pidf
}

// activity of RPID that follows from calls and settings; "" when there is none.
func (p *presenceState) activity() string {
	switch {
	case slices.ContainsFunc(p.Dialogs, func(d call.DialogInfo) bool { return d.State == call.DialogConfirmed || d.Initiator }):
		return "on-the-phone"
	case p.DoNotDisturb:
		return "busy"
	}
	return ""
}

func (p *presenceState) note() string {
	switch {
	case !p.Registered:
		return "Offline"
	case p.activity() == "on-the-phone":
		return "On the phone"
	case p.DoNotDisturb:
		return "Do not disturb"
	case len(p.Dialogs) > 0:
		return "Ringing"
	}
	return "Ready"
}

// writePresence appends the document. The contact is the presentity itself: phones dial it.
func writePresence(d *document, entity string, p *presenceState) {
	d.raw(xmlHead)
	d.raw(`<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid"`)
	d.attr("entity", entity)
	d.raw(">")
	writeTuple(d, "line", p.Registered, entity, p.note())
	activities := p.activity()
	for i, pub := range p.Published {
		writeTuple(d, "published"+string(rune('0'+i%10)), pub.Open, entity, pub.Note)
		if activities == "" {
			activities = pub.Activity
		}
	}
	if activities != "" {
		d.raw(`<dm:person id="person"><rpid:activities><rpid:` + activities + `/></rpid:activities></dm:person>`)
	}
	d.raw("</presence>\n")
}

func writeTuple(d *document, id string, open bool, contact, note string) {
	d.raw("<tuple")
	d.attr("id", id)
	d.raw("><status><basic>")
	if open {
		d.raw("open")
	} else {
		d.raw("closed")
	}
	d.raw("</basic></status>")
	d.element("contact", contact)
	if note != "" {
		d.element("note", note)
	}
	d.raw("</tuple>")
}

// pidf is what we take from a published document.
type pidf struct {
	Open     bool
	Note     string
	Activity string // one of activities
}

// activities are those of RFC 4480 §3.2 that people use; others are not passed on.
var activities = []string{ //nolint:gochecknoglobals // a constant list
	"appointment", "away", "breakfast", "busy", "dinner", "holiday", "in-transit", "lunch", "meal", "meeting", "on-the-phone",
	"other", "permanent-absence", "presentation", "sleeping", "steering", "travel", "tv", "unknown", "vacation", "working", "worship",
}

// Bounds of documents that phones send.
const (
	maxDocument = 16 << 10
	maxDepth    = 16
	maxNote     = 200
)

var errDocument = errors.New("the document cannot be read")

// parsePIDF reads a published document (RFC 3863): the best basic status, the first note, the
// first known activity.
func parsePIDF(body []byte) (pidf, error) {
	var p pidf
	found := false
	err := walkXML(body, func(path []xml.Name, start bool, text string) {
		name := path[len(path)-1].Local
		switch {
		case start && len(path) > 1 && path[len(path)-2].Local == "activities":
			if p.Activity == "" && slices.Contains(activities, name) {
				p.Activity = name
			}
		case start:
		case name == "basic":
			found = true
			p.Open = p.Open || strings.EqualFold(strings.TrimSpace(text), "open")
		case name == "note" && p.Note == "":
			p.Note = shorten(strings.TrimSpace(text), maxNote)
		}
	})
	if err != nil {
		return pidf{}, err
	}
	if !found {
		return pidf{}, fmt.Errorf("%w: no basic status", errDocument)
	}
	return p, nil
}

// walkXML calls f at the start of each element and, with its own text, at its end. It is
// bounded in size and depth and knows no entities but the five of XML.
func walkXML(body []byte, f func(path []xml.Name, start bool, text string)) error {
	if len(body) > maxDocument {
		return fmt.Errorf("%w: %d bytes", errDocument, len(body))
	}
	dec := xml.NewDecoder(bytes.NewReader(body))
	dec.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errDocument }
	var path []xml.Name
	var texts []string
	roots := 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errDocument, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(path) == 0 {
				roots++
			}
			if len(path) >= maxDepth || roots > 1 {
				return fmt.Errorf("%w: too deep or several roots", errDocument)
			}
			path, texts = append(path, t.Name), append(texts, "")
			f(path, true, "")
		case xml.EndElement:
			f(path, false, texts[len(texts)-1])
			path, texts = path[:len(path)-1], texts[:len(texts)-1]
		case xml.CharData:
			if len(texts) > 0 {
				texts[len(texts)-1] += string(t)
			}
		case xml.Directive:
			return fmt.Errorf("%w: a DTD", errDocument)
		}
	}
	if roots != 1 || len(path) != 0 {
		return fmt.Errorf("%w: no root", errDocument)
	}
	return nil
}

// shorten cuts a text to at most n bytes of whole characters.
func shorten(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}
