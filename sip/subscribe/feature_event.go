package subscribe

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The event package "as-feature-event" of BroadSoft, which Cisco, Poly and Yealink phones speak
// ("feature key synchronisation"): do not disturb and forwarding are settings of the exchange,
// and every phone of an extension shows and changes the same. Documents are those of ECMA-323
// (CSTA) edition 3. A SUBSCRIBE with a body changes a setting; NOTIFYs report all of them.

const (
	featureType = "application/x-as-feature-event+xml"
	cstaSpace   = "http://www.ecma-international.org/standards/ecma-323/csta/ed3"
)

// ForwardKind says when a call is forwarded.
type ForwardKind string

// The kinds of forwarding, as CSTA names them.
const (
	ForwardAlways   ForwardKind = "forwardImmediate"
	ForwardBusy     ForwardKind = "forwardBusy"
	ForwardNoAnswer ForwardKind = "forwardNoAns"
)

// forwardKinds in the order in which they are reported.
var forwardKinds = []ForwardKind{ForwardAlways, ForwardBusy, ForwardNoAnswer} //nolint:gochecknoglobals // a constant list

// Forward is one forwarding setting.
type Forward struct {
	On    bool
	To    string
	Rings int // before a ForwardNoAnswer; 0: the exchange's default
}

// Settings are an extension's own.
type Settings struct {
	DoNotDisturb bool
	Forwards     map[ForwardKind]Forward
}

// ErrNotAllowed is wrapped by Features when the change is understood and refused (403).
var ErrNotAllowed = errors.New("setting not allowed")

// Features keeps the settings of extensions. Whoever changes one by other means calls
// Service.Changed, so that phones hear of it.
type Features interface {
	Settings(extension string) (s Settings, ok bool) // ok false: the extension has none
	SetDoNotDisturb(ctx context.Context, extension string, on bool) error
	SetForward(ctx context.Context, extension string, kind ForwardKind, f Forward) error
}

// NoFeatures is an exchange whose phones keep these settings themselves.
type NoFeatures struct{}

// Settings says that there are none.
func (NoFeatures) Settings(string) (Settings, bool) { return Settings{}, false }

// SetDoNotDisturb refuses.
func (NoFeatures) SetDoNotDisturb(context.Context, string, bool) error { return ErrNotAllowed }

// SetForward refuses.
func (NoFeatures) SetForward(context.Context, string, ForwardKind, Forward) error {
	return ErrNotAllowed
}

// featureBoundary separates the parts of a report; no part contains it.
const featureBoundary = "linehall-features"

// writeFeatures returns the body that reports all settings, one part each.
func writeFeatures(extension string, s Settings) (contentType string, body []byte) {
	var d document
	part := func(write func()) {
		d.raw("--" + featureBoundary + "\r\nContent-Type: " + featureType + "\r\n\r\n")
		write()
		d.raw("\r\n")
	}
	part(func() {
		d.raw(xmlHead + `<DoNotDisturbEvent xmlns="` + cstaSpace + `">`)
		d.element("device", extension)
		d.element("doNotDisturbOn", strconv.FormatBool(s.DoNotDisturb))
		d.raw("</DoNotDisturbEvent>")
	})
	for _, kind := range forwardKinds {
		f := s.Forwards[kind]
		part(func() {
			d.raw(xmlHead + `<ForwardingEvent xmlns="` + cstaSpace + `">`)
			d.element("device", extension)
			d.element("forwardingType", string(kind))
			d.element("forwardStatus", strconv.FormatBool(f.On))
			if f.To != "" {
				d.element("forwardTo", f.To)
			}
			if kind == ForwardNoAnswer && f.Rings > 0 {
				d.element("ringCount", strconv.Itoa(f.Rings))
			}
			d.raw("</ForwardingEvent>")
		})
	}
	d.raw("--" + featureBoundary + "--\r\n")
	return "multipart/mixed;boundary=" + featureBoundary, d.bytes()
}

// featureChange is what a phone wants changed.
type featureChange struct {
	device       string
	doNotDisturb *bool
	kind         ForwardKind // "" when it is no forwarding
	forward      Forward
}

// parseFeatureChange reads the body of a SUBSCRIBE.
func parseFeatureChange(body []byte) (featureChange, error) {
	var c featureChange
	var root string
	values := map[string]string{}
	err := walkXML(bytes.TrimSpace(body), func(path []xml.Name, start bool, text string) {
		name := path[len(path)-1].Local
		if len(path) == 1 && start {
			root = name
		}
		if len(path) == 2 && !start {
			if _, twice := values[name]; !twice {
				values[name] = strings.TrimSpace(text)
			}
		}
	})
	if err != nil {
		return c, err
	}
	c.device = values["device"]
	switch root {
	case "SetDoNotDisturb":
		on, err := parseSwitch(values["doNotDisturbOn"])
		c.doNotDisturb = &on
		return c, err
	case "SetForwarding":
		return c.withForward(values)
	}
	return c, fmt.Errorf("%w: element %q", errDocument, shorten(root, 40))
}

func (c featureChange) withForward(values map[string]string) (featureChange, error) {
	for _, k := range forwardKinds {
		if strings.EqualFold(values["forwardingType"], string(k)) {
			c.kind = k
		}
	}
	if c.kind == "" {
		return c, fmt.Errorf("%w: forwarding type %q", errDocument, shorten(values["forwardingType"], 40))
	}
	on, err := parseSwitch(values["activateForward"])
	if err != nil {
		return c, err
	}
	c.forward = Forward{On: on, To: forwardTarget(values["forwardDN"])}
	if n, err := strconv.Atoi(values["ringCount"]); err == nil && n > 0 && n <= 30 {
		c.forward.Rings = n
	}
	if on && c.forward.To == "" {
		return c, fmt.Errorf("%w: no number to forward to", errDocument)
	}
	return c, nil
}

// forwardTarget takes the number out of what phones write there: 8002, sip:8002@host, tel:8002.
func forwardTarget(text string) string {
	for _, scheme := range []string{"sip:", "sips:", "tel:"} {
		if len(text) > len(scheme) && strings.EqualFold(text[:len(scheme)], scheme) {
			text = text[len(scheme):]
		}
	}
	text, _, _ = strings.Cut(text, "@")
	text, _, _ = strings.Cut(text, ";")
	if len(text) > 32 || strings.ContainsFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789*#+", r) }) {
		return ""
	}
	return text
}

func parseSwitch(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("%w: %q is neither true nor false", errDocument, shorten(text, 40))
}

// apply makes the change.
func (c featureChange) apply(ctx context.Context, f Features, extension string) error {
	if c.device != "" && c.device != extension && forwardTarget(c.device) != extension {
		return fmt.Errorf("%w: the device is another's", ErrNotAllowed)
	}
	if c.doNotDisturb != nil {
		return f.SetDoNotDisturb(ctx, extension, *c.doNotDisturb)
	}
	return f.SetForward(ctx, extension, c.kind, c.forward)
}
