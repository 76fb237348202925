package subscribe

import (
	"slices"
	"strings"

	"linehall/sip/call"
)

// The event package "dialog" (RFC 4235): busy lamps. Every document is small and names
// everything that a phone needs to pick up the call: Call-ID and both tags (Replaces), the
// direction, and both parties with display name and target (Poly and Yealink ignore a lamp
// without them).

const dialogInfoType = "application/dialog-info+xml"

// seenLamp is the state of one number as a watcher knows it.
type seenLamp struct {
	version uint32 // of the last document
	dialogs []seenDialog
	stale   bool // a full document is owed to it
}

// seenDialog is a dialog as a watcher knows it.
type seenDialog struct {
	id    string
	state call.DialogState
	held  bool
	local string // tag: it appears when the phone rings
}

func seen(dialogs []call.DialogInfo) []seenDialog {
	if len(dialogs) == 0 {
		return nil
	}
	out := make([]seenDialog, len(dialogs))
	for i := range dialogs {
		out[i] = seenOf(&dialogs[i])
	}
	return out
}

// lamp is the state of one number for one document.
type lamp struct {
	domain  string
	number  string
	version uint32
	dialogs []call.DialogInfo
	before  []seenDialog // what the watcher has acknowledged
	full    bool         // tell everything
}

// write appends the document. A full one lists every dialog; those that have ended since the
// last one appear once more as terminated. A partial one (RFC 4235 §4.1) leaves out what the
// watcher knows.
func (l *lamp) write(d *document) {
	l.head(d)
	for i := range l.dialogs {
		if x := &l.dialogs[i]; l.full || !slices.Contains(l.before, seenOf(x)) {
			l.dialog(d, x)
		}
	}
	for _, old := range l.before {
		if !l.has(old.id) {
			terminated(d, old.id)
		}
	}
	d.raw(lampFoot)
}

// writeWithin appends a document of at most so many bytes, of one dialog at least, which may have more. It returns what the
// watcher knows with it, and whether that is not all: a partial document says the rest.
func (l *lamp) writeWithin(d *document, budget, alone int) (known []seenDialog, rest bool) {
	begin := len(d.b)
	l.head(d)
	told := 0
	size := func() int { return len(d.b) - begin + len(lampFoot) }
	fits := func(write func()) bool {
		mark := len(d.b)
		if write(); told > 0 && size() > budget {
			d.b, rest = d.b[:mark], true
			return false
		}
		told++
		return true
	}
	for i := range l.dialogs {
		x := &l.dialogs[i]
		switch now := seenOf(x); {
		case !l.full && slices.Contains(l.before, now), fits(func() { l.dialogWithin(d, x, alone-size()) }):
			known = append(known, now)
		case !l.full: // it stays what it was
			if at := slices.IndexFunc(l.before, func(old seenDialog) bool { return old.id == x.ID }); at >= 0 {
				known = append(known, l.before[at])
			}
		}
	}
	for _, old := range l.before {
		if !l.full && !l.has(old.id) && !fits(func() { terminated(d, old.id) }) {
			known = append(known, old)
		}
	}
	d.raw(lampFoot)
	return known, rest
}

// dialogWithin leaves out what makes a dialog too long for a datagram: the name, then what Replaces needs. Pickup by number
// works without.
func (l *lamp) dialogWithin(d *document, x *call.DialogInfo, size int) {
	mark := len(d.b)
	if l.dialog(d, x); len(d.b)-mark <= size {
		return
	}
	short := *x
	short.RemoteDisplay = ""
	d.b = d.b[:mark]
	if l.dialog(d, &short); len(d.b)-mark <= size {
		return
	}
	short.CallID, short.LocalTag, short.RemoteTag = "", "", ""
	d.b = d.b[:mark]
	l.dialog(d, &short)
}

const lampFoot = "</dialog-info>\n"

func seenOf(x *call.DialogInfo) seenDialog { return seenDialog{x.ID, x.State, x.Held, x.LocalTag} }

func (l *lamp) has(id string) bool {
	return slices.ContainsFunc(l.dialogs, func(x call.DialogInfo) bool { return x.ID == id })
}

func terminated(d *document, id string) {
	d.raw("<dialog")
	d.attr("id", id)
	d.raw("><state>terminated</state></dialog>")
}

func (l *lamp) head(d *document) {
	d.raw(xmlHead)
	d.raw(`<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info"`)
	d.number("version", uint64(l.version))
	if l.full {
		d.raw(` state="full"`)
	} else {
		d.raw(` state="partial"`)
	}
	d.raw(` entity="`)
	l.uri(d, l.number)
	d.raw(`">`)
}

func (l *lamp) uri(d *document, number string) {
	d.raw("sip:")
	if number == "anonymous" { // who is hidden has no address here (RFC 3323 §4.1.1.3)
		d.raw("anonymous@anonymous.invalid")
		return
	}
	if strings.Contains(number, "#") { // RFC 3261 §25.1 allows it escaped only
		number = strings.ReplaceAll(number, "#", "%23")
	}
	d.text(number)
	d.raw("@")
	d.text(l.domain)
}

func (l *lamp) dialog(d *document, x *call.DialogInfo) {
	d.raw("<dialog")
	d.attr("id", x.ID)
	if x.CallID != "" {
		d.attr("call-id", x.CallID)
	}
	if x.LocalTag != "" {
		d.attr("local-tag", x.LocalTag)
	}
	if x.RemoteTag != "" {
		d.attr("remote-tag", x.RemoteTag)
	}
	if x.Initiator {
		d.raw(` direction="initiator"`)
	} else {
		d.raw(` direction="recipient"`)
	}
	d.raw(">")
	d.element("state", string(x.State))
	// The targets are addresses of record: a watcher reaches both parties through us, whatever
	// network it is in, and a phone's own Contact is nobody else's business.
	l.party(d, "local", x.Extension, "", x.Held)
	l.party(d, "remote", x.RemoteExtension, x.RemoteDisplay, false)
	d.raw("</dialog>")
}

func (l *lamp) party(d *document, side, number, display string, held bool) {
	if number == "" {
		return
	}
	d.raw("<" + side + "><identity")
	if display != "" {
		d.attr("display", display)
	}
	d.raw(">")
	l.uri(d, number)
	d.raw(`</identity><target uri="`)
	l.uri(d, number)
	if held { // RFC 4235 §4.1.6.2, RFC 3840: a party on hold renders nothing
		d.raw(`"><param pname="+sip.rendering" pval="no"/></target></` + side + ">")
		return
	}
	d.raw(`"/></` + side + ">")
}
