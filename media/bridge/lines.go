package bridge

import (
	"linehall/media/codec"
	"linehall/media/mix"
	"linehall/media/packet"
	"linehall/media/sdp"
)

// Lines are how a party sends and is spoken to.
type Lines struct {
	Sends, Gets mix.Line
	Silent      bool // it wants to hear nothing
}

func (l Lines) usable() bool { return l.Sends.Format.Clock != 0 && l.Gets.Format.Clock != 0 }

func (l Lines) same(o Lines) bool {
	if len(l.Sends.Others) != len(o.Sends.Others) || l.Silent != o.Silent {
		return false
	}
	for i, v := range l.Sends.Others {
		if v != o.Sends.Others[i] {
			return false
		}
	}
	return sameLine(l.Sends, o.Sends) && sameLine(l.Gets, o.Gets)
}

func sameLine(a, b mix.Line) bool {
	return a.Format == b.Format && a.Type == b.Type && a.Event == b.Event && a.Noise == b.Noise
}

// Agreed reads from the two descriptions of a session what each party sends and how it can be spoken to: in the formats that
// both have, a party sends by the payload types that the other one wrote (RFC 3264 §5.1), and some by their own.
func Agreed(caller, callee []byte) [2]Lines {
	a, b := audioOf(caller), audioOf(callee)
	if a == nil || b == nil {
		return [2]Lines{}
	}
	return [2]Lines{lines(a, b), lines(b, a)}
}

func audioOf(description []byte) *sdp.Media {
	doc, err := sdp.Parse(description)
	if err != nil {
		return nil
	}
	for _, m := range doc.Media() {
		if m.Kind() == "audio" && m.Port() != 0 && m.IsRTP() {
			return m
		}
	}
	return nil
}

// lines are those of the party that wrote own.
func lines(own, other *sdp.Media) Lines {
	l := Lines{Silent: own.OnHold()}
	mine, theirs := own.Codecs(), other.Codecs()
	for _, list := range [][2][]sdp.Codec{{theirs, mine}, {mine, theirs}} {
		for _, c := range list[0] {
			if has(list[1], c) {
				l.Sends = withSent(l.Sends, c)
			}
		}
	}
	for _, c := range mine {
		f, known := codec.Find(c.Name, c.ClockRate)
		if l.Gets.Format.Clock == 0 && known && f.CanEncode() && has(theirs, c) {
			l.Gets.Format, l.Gets.Type = f, packet.PayloadType(c.PayloadType)
		}
	}
	l.Gets = withAuxiliary(l.Gets, mine)
	l.Sends = withAuxiliary(l.Sends, theirs)
	return l
}

// withSent adds a format that a party may send.
func withSent(line mix.Line, c sdp.Codec) mix.Line {
	f, known := codec.Find(c.Name, c.ClockRate)
	t := packet.PayloadType(c.PayloadType & 0x7f)
	switch {
	case !known:
	case line.Format.Clock == 0:
		line.Format, line.Type = f, t
	default:
		for _, v := range append([]mix.Voice{{Format: line.Format, Type: line.Type}}, line.Others...) {
			if v.Type == t {
				return line
			}
		}
		line.Others = append(line.Others, mix.Voice{Format: f, Type: t})
	}
	return line
}

// withAuxiliary adds the types of keys and of comfort noise.
func withAuxiliary(line mix.Line, codecs []sdp.Codec) mix.Line {
	line.Event = eventOf(codecs)
	for _, c := range codecs {
		if c.Is("CN") && c.ClockRate == line.Format.Clock && line.Noise == 0 {
			line.Noise = packet.PayloadType(c.PayloadType)
		}
	}
	return line
}

// eventOf is the type of telephone-event at the clock of telephones.
func eventOf(codecs []sdp.Codec) packet.PayloadType {
	for _, c := range codecs {
		if c.Is("telephone-event") && c.ClockRate == 8000 {
			return packet.PayloadType(c.PayloadType)
		}
	}
	return 0
}

func has(list []sdp.Codec, c sdp.Codec) bool {
	for _, other := range list {
		if other.Is(c.Name) && other.ClockRate == c.ClockRate {
			return true
		}
	}
	return false
}
