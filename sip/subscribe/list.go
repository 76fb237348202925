package subscribe

import "strings"

// Lists of lamps (RFC 4662): one subscription of a phone for all its keys. The body is
// multipart/related: an rlmi document that names the resources, then a document for each one
// that there is something to say about.
//
// Over UDP a NOTIFY should stay below the path MTU. The first one lists every resource, with as
// many documents as fit; a resource whose document follows in the next NOTIFY has no instance
// yet (RFC 4662 §5.3 and its example). Later ones carry what has changed (fullState="false").

const (
	rlmiType     = "application/rlmi+xml"
	listBoundary = "linehall-list"
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

// partOverhead is about what one more part costs beside its document.
const partOverhead = 200

func (l *listDocument) write() (contentType string, body []byte) {
	var d document
	const rlmi = "rlmi@linehall"
	d.raw("--" + listBoundary + "\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <" + rlmi + ">\r\nContent-Type: " + rlmiType + ";charset=\"UTF-8\"\r\n\r\n")
	d.raw(xmlHead + `<list xmlns="urn:ietf:params:xml:ns:rlmi"`)
	d.attr("uri", "sip:"+l.list+"@"+l.domain)
	d.number("version", uint64(l.version))
	if l.full {
		d.raw(` fullState="true">`)
	} else {
		d.raw(` fullState="false">`)
	}
	for _, p := range l.parts {
		d.raw("<resource")
		d.attr("uri", "sip:"+p.number+"@"+l.domain)
		if p.body == nil {
			d.raw("/>")
			continue
		}
		d.raw(`><instance id="1" state="active"`)
		d.attr("cid", l.cid(p.number))
		d.raw("/></resource>")
	}
	d.raw("</list>\r\n")
	for _, p := range l.parts {
		if p.body == nil {
			continue
		}
		d.raw("--" + listBoundary + "\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <" + l.cid(p.number) + ">\r\nContent-Type: " + l.partType + "\r\n\r\n")
		d.b = append(d.b, p.body...)
		d.raw("\r\n")
	}
	d.raw("--" + listBoundary + "--\r\n")
	return `multipart/related;type="` + rlmiType + `";start="<` + rlmi + `>";boundary="` + listBoundary + `"`, d.bytes()
}

// cid is a Content-ID; * and # of feature codes are not allowed to stay as they are in one.
func (l *listDocument) cid(number string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '.' || r == '_' {
			return r
		}
		return 'x'
	}, number) + "@" + l.domain
}

// listSuffix marks the URI of a terminal's own list: sip:8001-list@domain.
const listSuffix = "-list"

func listOwner(user string) (string, bool) { return strings.CutSuffix(user, listSuffix) }
