package trace

import (
	"bytes"
	"strings"
	"time"

	"linehall/sip/stack"
)

// Message is one SIP message as it crossed one of our sockets.
type Message struct {
	At   time.Time
	In   bool // received; else sent
	Flow stack.Flow
	Text []byte // masked, whole; nobody writes to it
}

// StartLine is the first line without its line end.
func (m Message) StartLine() string {
	line, _, _ := bytes.Cut(m.Text, []byte("\n"))
	return strings.ToValidUTF8(strings.TrimSuffix(string(line), "\r"), "?")
}

// header returns the value of the first header with one of these names (lower case), or "". It reads what is there and
// forgives everything; folded lines are not joined.
func (m Message) header(names ...string) string { return string(headerValue(m.Text, names...)) }

func headerValue(text []byte, names ...string) []byte {
	first := true
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if first {
			first = false
			continue
		}
		if len(line) == 0 {
			return nil
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		name = bytes.TrimSpace(name)
		for _, wanted := range names {
			if named(name, wanted) {
				return bytes.TrimSpace(value)
			}
		}
	}
	return nil
}

// callIDOf is the Call-ID that a message is kept under.
func callIDOf(text []byte) []byte { return headerValue(text, "call-id", "i") }

// user is the user part of the URI in a From or To header, for people.
func user(header string) string {
	_, uri, bracket := strings.Cut(header, "<")
	if !bracket {
		uri = header
	}
	_, rest, scheme := strings.Cut(uri, ":")
	name, _, at := strings.Cut(rest, "@")
	if !scheme || !at {
		return ""
	}
	name, _, _ = strings.Cut(name, ";")
	return strings.ToValidUTF8(name, "?")
}
