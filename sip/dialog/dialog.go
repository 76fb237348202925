// Package dialog keeps one SIP dialog (RFC 3261 §12): tags, route set, remote target, CSeq in
// each direction, and the session description identity that the peer at its end sees
// (RFC 3264 §8).
//
// It is pure state: no sockets, timers or goroutines. A Dialog is owned by the goroutine that
// owns its call and is not safe for concurrent use. It is serialised as JSON, so that a call
// survives a restart. It does not route: the caller decides over which flow a request leaves.
//
//	d, err := dialog.Accept(invite, localTag)      // we are the UAS
//	early, err := dialog.Fork(invite, response)    // we are the UAC: one per To-tag
//	bye := d.Request(sip.BYE)
//	err = d.Receive(request)                       // ErrOutOfOrder -> 500
//	body, err := d.Session.Send(offer)             // the o= line and m-line order of this leg
package dialog

import (
	"errors"
	"fmt"

	"github.com/emiago/sipgo/sip"
)

// Errors that callers branch on.
var (
	// ErrOutOfOrder: the request's CSeq is lower than one seen before (RFC 3261 §12.2.2: 500).
	ErrOutOfOrder = errors.New("request out of order in its dialog")
	// ErrIncomplete: a header that a dialog needs is missing or useless (400).
	ErrIncomplete = errors.New("message cannot form a dialog")
)

// ID names a dialog as this end sees it.
type ID struct {
	CallID    string `json:"call_id"`
	LocalTag  string `json:"local_tag"`
	RemoteTag string `json:"remote_tag"`
}

// Party is the address of one end, as it stands in From and To.
type Party struct {
	Display string `json:"display,omitempty"`
	URI     string `json:"uri"`
}

// Dialog is one dialog's state. The zero value is not useful; see Accept and Fork.
type Dialog struct {
	ID     ID    `json:"id"`
	Local  Party `json:"local"`
	Remote Party `json:"remote"`
	// Target is the remote target: the peer's Contact, which becomes the Request-URI.
	Target string `json:"target"`
	// Routes is the route set in the order in which requests visit it.
	Routes []string `json:"routes,omitempty"`
	// LocalSeq is the CSeq of the last request sent, RemoteSeq of the last one received
	// (HasRemoteSeq says whether there was one: zero is a legal number).
	LocalSeq     uint32 `json:"local_seq"`
	RemoteSeq    uint32 `json:"remote_seq"`
	HasRemoteSeq bool   `json:"has_remote_seq"`
	Confirmed    bool   `json:"confirmed"`
	// Initiator: our INVITE opened the dialog, so its Call-ID is ours (RFC 3261 §14.1).
	Initiator bool `json:"initiator,omitempty"`
	// Session is the identity of the session descriptions sent into this dialog.
	Session Session `json:"session"`
}

// Accept builds the UAS's side of the dialog that invite asks for (RFC 3261 §12.1.1).
func Accept(invite *sip.Request, localTag string) (*Dialog, error) {
	from, to, seq, id := invite.From(), invite.To(), invite.CSeq(), invite.CallID()
	contact := invite.Contact()
	if from == nil || to == nil || seq == nil || id == nil {
		return nil, fmt.Errorf("%w: a mandatory header is missing", ErrIncomplete)
	}
	if !usableTarget(contact) {
		return nil, fmt.Errorf("%w: no usable Contact", ErrIncomplete)
	}
	return &Dialog{
		ID:           ID{CallID: id.Value(), LocalTag: localTag, RemoteTag: tag(from.Params)},
		Local:        Party{Display: to.DisplayName, URI: to.Address.String()},
		Remote:       Party{Display: from.DisplayName, URI: from.Address.String()},
		Target:       withoutHeaders(&contact.Address),
		Routes:       recordRoutes(invite, false),
		RemoteSeq:    seq.SeqNo,
		HasRemoteSeq: true,
		Session:      NewSession(),
	}, nil
}

// Possible reports whether a request carries what a dialog with its sender needs, beyond the
// headers that every request has: a Contact that can stand in a request line.
func Possible(req *sip.Request) bool { return usableTarget(req.Contact()) }

// Fork builds the UAC's side of the dialog that res opens for the INVITE we sent (RFC 3261
// §12.1.2). Each To-tag is a dialog of its own. A response without tag cannot open one.
func Fork(invite *sip.Request, res *sip.Response) (*Dialog, error) {
	from, to, seq, id := invite.From(), res.To(), invite.CSeq(), invite.CallID()
	if from == nil || to == nil || seq == nil || id == nil {
		return nil, fmt.Errorf("%w: a mandatory header is missing", ErrIncomplete)
	}
	remoteTag := tag(to.Params)
	if remoteTag == "" {
		return nil, fmt.Errorf("%w: no To-tag", ErrIncomplete)
	}
	d := &Dialog{
		ID:       ID{CallID: id.Value(), LocalTag: tag(from.Params), RemoteTag: remoteTag},
		Local:    Party{Display: from.DisplayName, URI: from.Address.String()},
		Remote:   Party{Display: to.DisplayName, URI: to.Address.String()},
		Target:   invite.Recipient.String(),
		LocalSeq: seq.SeqNo, Initiator: true,
		Session: NewSession(),
	}
	d.Confirm(res)
	return d, nil
}

// Confirm takes over what a later response of the same INVITE says about the dialog: the
// target, and the route set, which is recomputed by the 2xx (RFC 3261 §13.2.2.4).
func (d *Dialog) Confirm(res *sip.Response) {
	if d.Confirmed {
		return
	}
	d.Routes = recordRoutes(res, true)
	d.Refresh(res.Contact())
	d.Confirmed = res.IsSuccess()
}

// Refresh replaces the remote target by contact, if that is one (RFC 3261 §12.2: target
// refresh by INVITE, UPDATE and their 2xx). The route set never changes this way.
func (d *Dialog) Refresh(contact *sip.ContactHeader) {
	if usableTarget(contact) {
		d.Target = withoutHeaders(&contact.Address)
	}
}

// Receive checks and takes over the CSeq of a request that arrived in the dialog. ACK and
// CANCEL repeat their INVITE's number and change nothing.
func (d *Dialog) Receive(req *sip.Request) error {
	seq := req.CSeq()
	if seq == nil {
		return fmt.Errorf("%w: no CSeq", ErrIncomplete)
	}
	if req.IsAck() || req.IsCancel() {
		return nil
	}
	if d.HasRemoteSeq && seq.SeqNo <= d.RemoteSeq {
		return ErrOutOfOrder
	}
	d.RemoteSeq, d.HasRemoteSeq = seq.SeqNo, true
	return nil
}

func tag(params sip.HeaderParams) string {
	value, _ := params.Get("tag")
	return value
}

// usableTarget: a Contact that can stand in a request line. "*" and other schemes cannot.
func usableTarget(contact *sip.ContactHeader) bool {
	if contact == nil || contact.Address.Wildcard || contact.Address.Host == "" {
		return false
	}
	return contact.Address.Scheme == "sip" || contact.Address.Scheme == "sips"
}
