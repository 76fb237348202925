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
	for i, d := range dialogs {
		out[i] = seenDialog{d.ID, d.State, d.Held, d.LocalTag}
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
	for i := range l.dialogs {
		if x := &l.dialogs[i]; l.full || !slices.Contains(l.before, seenDialog{x.ID, x.State, x.Held, x.LocalTag}) {
			l.dialog(d, x)
		}
	}
	for _, old := range l.before {
		if !slices.ContainsFunc(l.dialogs, func(x call.DialogInfo) bool { return x.ID == old.id }) {
			d.raw("<dialog")
			d.attr("id", old.id)
			d.raw("><state>terminated</state></dialog>")
		}
	}
	d.raw("</dialog-info>\n")
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
	d.raw(`">`)
	if held { // RFC 4235 §4.1.6.2, RFC 3840: a party on hold renders nothing
		d.raw(`<param pname="+sip.rendering" pval="no"/>`)
	}
	d.raw("</target></" + side + ">")
}
