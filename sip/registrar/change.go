package registrar

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"linehall/internal/site"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// errOutOfOrder: a REGISTER that is older than the binding it wants to change.
var errOutOfOrder = errors.New("cseq out of order")

// change is one REGISTER as a function on an AOR's bindings. It is applied all
// or nothing (RFC 3261 §10.3 step 7).
type change struct {
	aor    string
	wish   wish
	now    time.Time
	flow   stack.Flow
	site   site.ID
	callID string
	cseq   uint32
	// challenged is when the nonce of the request's credentials was made.
	challenged time.Time
	path       []string
	userAgent  string

	added, removed []location.Binding // what apply did, for the log
}

func (c *change) apply(before []location.Binding) ([]location.Binding, error) {
	c.added, c.removed = nil, nil
	if c.wish.all {
		if slices.ContainsFunc(before, c.stale) {
			return nil, errOutOfOrder
		}
		c.removed = before
		return nil, nil
	}
	after := append([]location.Binding(nil), before...)
	for i := range c.wish.contacts {
		var err error
		if after, err = c.applyOne(after, &c.wish.contacts[i]); err != nil {
			return nil, err
		}
	}
	return after, nil
}

// stale is the rule of step 7: within one Call-ID the CSeq must rise, so that a
// request that was long on its way undoes nothing. A phone that derives its
// Call-ID from its MAC address and counts from 1 again after a restart would be
// kept out until its old binding expires. Its credentials tell the two apart: a
// nonce that was made after the binding was last changed cannot be in a request
// that was sent before, and nobody but the phone could compute the response.
func (c *change) stale(b location.Binding) bool {
	return b.CallID == c.callID && c.cseq <= b.CSeq && !c.challenged.After(b.Updated)
}

func (c *change) applyOne(list []location.Binding, k *contact) ([]location.Binding, error) {
	since, known := c.now, false
	kept := list[:0:0]
	for _, b := range list {
		same := sameContact(b, k)
		switch {
		case !same && !c.replaces(b, k):
			kept = append(kept, b)
			continue
		case same && c.stale(b):
			return nil, errOutOfOrder
		}
		if same {
			since, known = b.Since, true
		}
		if k.expires == 0 || !same {
			c.removed = append(c.removed, b)
		}
	}
	if k.expires == 0 {
		return kept, nil
	}
	b := location.Binding{
		AOR: c.aor, Contact: k.uri, ContactParams: k.params, Flow: reach(c.flow, &k.parsed, c.path), Path: c.path,
		Expires: c.now.Add(k.expires), Since: since, Updated: c.now, Instance: k.instance, RegID: k.regID,
		CallID: c.callID, CSeq: c.cseq, Q: k.q, UserAgent: c.userAgent, Site: c.site,
	}
	if !known {
		c.added = append(c.added, b)
	}
	return append(kept, b), nil
}

// sameContact reports whether the contact refreshes the binding: its URI is the
// same (RFC 3261 §10.3 step 7), unless both are flows, whose URI is no name: a
// phone may use one URI over two flows (RFC 5626 §6).
func sameContact(b location.Binding, k *contact) bool {
	if b.RegID != "" && k.regID != "" && (b.RegID != k.regID || b.Instance != k.instance) {
		return false
	}
	if b.Contact == k.uri {
		return true
	}
	var uri sip.Uri
	return sip.ParseUri(b.Contact, &uri) == nil && sameURI(&uri, &k.parsed)
}

// replaces reports whether the contact takes the place of a binding with
// another URI: the same instance and reg-id (RFC 5626 §6), registered by
// another request. Contacts of one request never replace each other.
func (c *change) replaces(b location.Binding, k *contact) bool {
	if k.instance == "" || b.Instance != k.instance || b.RegID != k.regID {
		return false
	}
	return !c.stale(b)
}

// split parts the bindings that this request registered from the others, the
// former in the order of the request.
func (c *change) split(bindings []location.Binding) (own, others []location.Binding) {
	mine := make(map[int]bool)
	for i := range c.wish.contacts {
		for j, b := range bindings {
			if !mine[j] && b.CallID == c.callID && b.CSeq == c.cseq && b.Contact == c.wish.contacts[i].uri {
				mine[j] = true
				own = append(own, b)
			}
		}
	}
	for j, b := range bindings {
		if !mine[j] {
			others = append(others, b)
		}
	}
	return own, others
}

// reach is the flow that requests to the contact take. Streams use their
// connection and phones behind a NAT or a proxy the address they were seen at.
// A UDP phone whose contact names the very address it sent from is believed
// about the port.
func reach(f stack.Flow, uri *sip.Uri, path []string) stack.Flow {
	if f.Stream() || len(path) > 0 {
		return f
	}
	host, err := netip.ParseAddr(strings.Trim(uri.Host, "[]"))
	if err != nil || host.Unmap() != f.Remote.Addr() {
		return f
	}
	port := uri.Port
	if port == 0 {
		port = sip.DefaultUdpPort
	}
	f.Remote = netip.AddrPortFrom(f.Remote.Addr(), uint16(port)) //nolint:gosec // parseURI checked the range
	return f
}
