package phone

import (
	"context"
	"encoding/xml"

	"github.com/emiago/sipgo/sip"
)

// Dialog names somebody's dialog as that phone knows it.
type Dialog struct {
	CallID, LocalTag, RemoteTag string
	EarlyOnly                   bool // replace it only while it rings
}

// replaces is the value of the Replaces header for the phone's peer (RFC 3891 §6.1): there the remote tag is the local one.
func (d Dialog) replaces() string {
	value := d.CallID + ";to-tag=" + d.RemoteTag + ";from-tag=" + d.LocalTag
	if d.EarlyOnly {
		value += ";early-only"
	}
	return value
}

// Dialog names the dialog of this call.
func (c *Call) Dialog() Dialog {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := Dialog{CallID: c.id}
	d.LocalTag, _ = c.local.Params.Get("tag")
	d.RemoteTag, _ = c.remote.Params.Get("tag")
	return d
}

// CallReplacing dials a number to take the place of one party in a dialog (RFC 3891), otherwise as Call.
func (p *Phone) CallReplacing(ctx context.Context, number string, d Dialog, sound Sound) (*Call, error) {
	return p.dial(ctx, number, sound, sip.NewHeader("Require", "replaces"), sip.NewHeader("Replaces", d.replaces()))
}

// Ringing names the dialog that rings at a watched extension, as the last document says: what a lit lamp key picks up.
func (s *Subscription) Ringing() (Dialog, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var d dialogInfo
	if err := xml.Unmarshal([]byte(s.body), &d); err != nil {
		return Dialog{}, false
	}
	for _, x := range d.Dialogs {
		if x.State == "early" && x.Direction == "recipient" {
			return Dialog{CallID: x.CallID, LocalTag: x.LocalTag, RemoteTag: x.RemoteTag, EarlyOnly: true}, true
		}
	}
	return Dialog{}, false
}
