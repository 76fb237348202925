package subscribe

import "strings"

// Lists of lamps (RFC 4662): one subscription of a phone for all its keys. The body is
// multipart/related: an rlmi document that names the resources, then a document for each one
// that there is something to say about.
//
// Over UDP a NOTIFY should stay below the path MTU. The first one lists every resource, with as
// many documents as fit; a resource whose document follows in the next NOTIFY has no instance
// yet (RFC 4662 §5.3 and its example). Later ones carry what has changed (fullState="false").
//
// Where not even the names fit, the list grows: the first NOTIFY is a full one of the resources in
// it, each of the next adds some (RFC 4662 §5.2: a partial document may name new ones). When the
// watcher has the same list already, because it has refreshed, all of them are partial: a full one
// of some would take the others away for a moment.
//
// What is around the documents is as short as it may be: a call with its identities is half a datagram. A body part without a
// Content-Transfer-Encoding is binary in SIP (RFC 5621 §8).

const (
	rlmiType     = "application/rlmi+xml"
	listBoundary = "list"
)

// listPart is one resource in a NOTIFY.
type listPart struct {
	number string
	body   []byte // nil: it follows later
}

// listDocument is a whole body.
type listDocument struct {
	domain   string
	list     string // user part of the list's URI
	version  uint32
	full     bool
	partType string
	parts    []listPart
}

const rlmiID = "rlmi@l"

func (l *listDocument) write() (contentType string, body []byte) {
	var d document
	l.head(&d)
	for _, p := range l.parts {
		l.resource(&d, p)
	}
	l.middle(&d)
	for _, p := range l.parts {
		l.part(&d, p)
	}
	l.foot(&d)
	return `multipart/related;type="` + rlmiType + `";start="<` + rlmiID + `>";boundary="` + listBoundary + `"`, d.bytes()
}

func (l *listDocument) head(d *document) {
	d.raw("--" + listBoundary + "\r\nContent-ID: <" + rlmiID + ">\r\nContent-Type: " + rlmiType + "\r\n\r\n")
	d.raw(xmlHead + `<list xmlns="urn:ietf:params:xml:ns:rlmi"`)
	d.attr("uri", "sip:"+l.list+"@"+l.domain)
	d.number("version", uint64(l.version))
	if l.full {
		d.raw(` fullState="true">`)
	} else {
		d.raw(` fullState="false">`)
	}
}

func (l *listDocument) resource(d *document, p listPart) {
	d.raw("<resource")
	d.attr("uri", "sip:"+p.number+"@"+l.domain)
	if p.body == nil {
		d.raw("/>")
		return
	}
	d.raw(`><instance id="1" state="active"`)
	d.attr("cid", l.cid(p.number))
	d.raw("/></resource>")
}

func (l *listDocument) middle(d *document) { d.raw("</list>\r\n") }

func (l *listDocument) part(d *document, p listPart) {
	if p.body == nil {
		return
	}
	d.raw("--" + listBoundary + "\r\nContent-ID: <" + l.cid(p.number) + ">\r\nContent-Type: " + l.partType + "\r\n\r\n")
	d.b = append(d.b, p.body...)
	d.raw("\r\n")
}

func (l *listDocument) foot(d *document) { d.raw("--" + listBoundary + "--\r\n") }

// frame is what a body costs without its resources, cost what one of them adds.
func (l *listDocument) frame() int {
	var d document
	l.head(&d)
	l.middle(&d)
	l.foot(&d)
	return len(d.b)
}

func (l *listDocument) cost(p listPart) int {
	var d document
	l.resource(&d, p)
	l.part(&d, p)
	return len(d.b)
}

// cid is a Content-ID; * and # of feature codes are not allowed to stay as they are in one.
func (l *listDocument) cid(number string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '.' || r == '_' {
			return r
		}
		return 'x'
	}, number) + "@l"
}

// listSuffix marks the URI of a terminal's own list: sip:8001-list@domain.
const listSuffix = "-list"

func listOwner(user string) (string, bool) { return strings.CutSuffix(user, listSuffix) }
