package record

import (
	"linehall/media/codec"
	"linehall/media/packet"
	"linehall/media/sdp"
)

// Format is what a payload type of a party means.
type Format struct {
	Type  packet.PayloadType `json:"type"`
	Name  string             `json:"name"`
	Clock int                `json:"clock"`
}

// Formats are those of the caller and of the callee.
type Formats [2][]Format

// use is what is done with a payload type.
type use uint8

const (
	useUnknown use = iota
	useALaw
	useMuLaw
	useG722
	useVoice // decoded when somebody listens, not encoded: no announcement can ride on it
	useEvent // RFC 4733
	useNoise // RFC 3389: silence
)

// table is Formats by payload type.
type table [2][128]use

func useOf(f Format) use {
	switch found, ok := codec.Find(f.Name, f.Clock); {
	case ok && found == codec.PCMA:
		return useALaw
	case ok && found == codec.PCMU:
		return useMuLaw
	case ok && found == codec.G722:
		return useG722
	case ok:
		return useVoice
	}
	switch c := (sdp.Codec{Name: f.Name}); {
	case c.Is("telephone-event"):
		return useEvent
	case c.Is("CN"):
		return useNoise
	}
	return useUnknown
}

func (f Formats) table() *table {
	t := &table{}
	for leg := range f {
		for _, one := range f[leg] {
			t[leg][one.Type&0x7f] = useOf(one)
		}
	}
	return t
}

// silent lists the codecs of which nothing will be heard.
func (f Formats) silent() []string {
	var names []string
	for leg := range f {
		if len(f[leg]) > 0 && useOf(f[leg][0]) == useUnknown {
			names = append(names, f[leg][0].Name)
		}
	}
	return names
}

// announceable reports whether a sound can ride on the packets of a leg: on each of its voices.
func (f Formats) announceable(leg int) bool {
	some := false
	for _, one := range f[leg] {
		switch useOf(one) {
		case useALaw, useMuLaw, useG722:
			some = true
		case useUnknown, useVoice:
			return false
		default:
		}
	}
	return some
}

// read takes from two session descriptions what each party may send: a party sends by the payload types that the other one
// wrote (RFC 3264 §5.1), and some by their own.
func read(caller, callee []byte) Formats {
	a, b := audioOf(caller), audioOf(callee)
	return Formats{common(b, a), common(a, b)}
}

func audioOf(description []byte) []Format {
	doc, err := sdp.Parse(description)
	if err != nil {
		return nil
	}
	for _, m := range doc.Media() {
		if m.Kind() != "audio" || m.Port() == 0 || !m.IsRTP() {
			continue
		}
		var out []Format
		for _, c := range m.Codecs() {
			out = append(out, Format{packet.PayloadType(c.PayloadType & 0x7f), c.Name, c.ClockRate})
		}
		return out
	}
	return nil
}

// common keeps of the receiver's formats those that the sender has as well, by name, and adds the sender's own numbers.
func common(receiver, sender []Format) []Format {
	var out []Format
	taken := map[packet.PayloadType]bool{}
	for _, list := range [][2][]Format{{receiver, sender}, {sender, receiver}} {
		for _, f := range list[0] {
			if !taken[f.Type] && has(list[1], f) {
				taken[f.Type] = true
				out = append(out, f)
			}
		}
	}
	return out
}

func has(list []Format, f Format) bool {
	for _, other := range list {
		if (sdp.Codec{Name: other.Name}).Is(f.Name) && other.Clock == f.Clock {
			return true
		}
	}
	return false
}
