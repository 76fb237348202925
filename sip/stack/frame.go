package stack

import (
	"bytes"
	"strconv"
	"strings"
)

// frameKind is what the framer found in a stream.
type frameKind uint8

const (
	frameNone     frameKind = iota // more bytes are needed
	frameMessage                   // a whole message
	framePing                      // CRLF CRLF between messages, RFC 5626 §3.5.1
	frameLost                      // headers without a usable Content-Length: the end is unknown
	frameGarbage                   // no SIP at all
	frameTooLarge                  // beyond the limits
)

// framer cuts a byte stream into messages (RFC 3261 §7.5 and §18.3). It looks
// only at line ends and Content-Length; the parser sees whole messages, so a
// malformed one over TCP gets the same answer as over UDP.
type framer struct {
	limits  Limits
	buf     []byte
	scanned int // bytes in which no end of headers was found
}

func newFramer(l Limits) *framer { return &framer{limits: l} }

// add appends bytes of the stream; data is borrowed.
func (f *framer) add(data []byte) { f.buf = append(f.buf, data...) }

// partial reports whether a message has begun.
func (f *framer) partial() bool { return len(f.buf) > 0 }

// next returns the next frame. Its bytes are valid until add is called.
func (f *framer) next() ([]byte, frameKind) {
	if f.scanned == 0 {
		if kind := f.leading(); kind != frameMessage {
			return nil, kind
		}
	}
	end := f.headEnd()
	if end < 0 {
		if len(f.buf) > f.limits.HeaderBytes {
			return nil, frameTooLarge
		}
		return nil, frameNone
	}
	if end > f.limits.HeaderBytes {
		return nil, frameTooLarge
	}
	head := f.buf[:end]
	length, ok := contentLength(head)
	if !ok {
		return f.take(end), frameLost
	}
	if length > f.limits.MessageBytes-end {
		return nil, frameTooLarge
	}
	if len(f.buf) < end+length {
		f.scanned = max(0, end-4)
		return nil, frameNone
	}
	return f.take(end + length), frameMessage
}

// leading skips the CRLFs before a start line and answers pings; it returns
// frameMessage when a plausible message begins.
func (f *framer) leading() frameKind {
	for {
		switch {
		case len(f.buf) == 0:
			f.buf = nil
			return frameNone
		case bytes.HasPrefix(f.buf, []byte("\r\n\r\n")):
			f.take(4)
			return framePing
		case string(f.buf) == "\r\n":
			f.take(2) // a lone CRLF: the pong of a phone, or half of a ping that came in two
			return frameNone
		case string(f.buf) == "\r", string(f.buf) == "\r\n\r":
			return frameNone
		case f.buf[0] == '\r' || f.buf[0] == '\n' || f.buf[0] == 0:
			f.take(1)
		default:
			return f.plausible()
		}
	}
}

// plausible looks at the start line as far as it has arrived.
func (f *framer) plausible() frameKind {
	line, _, whole := bytes.Cut(f.buf, []byte("\r\n"))
	if !whole {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	for _, c := range line {
		if c < 0x20 || c == 0x7f {
			return frameGarbage
		}
	}
	switch {
	case whole && looksLikeSIP(f.buf):
		return frameMessage
	case whole, len(line) > longestStartLine:
		return frameGarbage
	}
	return frameNone
}

func (f *framer) headEnd() int {
	i := bytes.Index(f.buf[f.scanned:], []byte("\r\n\r\n"))
	if i < 0 {
		f.scanned = max(0, len(f.buf)-3)
		return -1
	}
	return f.scanned + i + 4
}

func (f *framer) take(n int) []byte {
	frame := f.buf[:n:n]
	f.buf = f.buf[n:]
	f.scanned = 0
	return frame
}

// contentLength finds the one Content-Length of a header section; two that
// differ, none, or one that is no number leave the end of the message unknown.
func contentLength(head []byte) (int, bool) {
	found := -1
	for name, value := range headerLines(head) {
		if !strings.EqualFold(name, "Content-Length") && !strings.EqualFold(name, "l") {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil || found >= 0 && found != int(n) {
			return 0, false
		}
		found = int(n)
	}
	return found, found >= 0
}

// headerLines iterates over name and value of the header lines after the start
// line, continuation lines folded in (RFC 3261 §7.3.1).
func headerLines(head []byte) func(yield func(name, value string) bool) {
	return func(yield func(string, string) bool) {
		_, rest, _ := bytes.Cut(head, []byte("\r\n"))
		for len(rest) > 0 {
			var line []byte
			line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
			for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
				var more []byte
				more, rest, _ = bytes.Cut(rest, []byte("\r\n"))
				line = append(append(bytes.Clone(line), ' '), bytes.TrimSpace(more)...)
			}
			if len(line) == 0 {
				return
			}
			name, value, ok := bytes.Cut(line, []byte(":"))
			if !ok {
				continue
			}
			if !yield(string(bytes.TrimSpace(name)), string(bytes.TrimSpace(value))) {
				return
			}
		}
	}
}
