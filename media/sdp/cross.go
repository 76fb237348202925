package sdp

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// ErrNothingInCommon is the error of Cross when the two offers share no medium.
var ErrNothingInCommon = errors.New("the offers have nothing in common")

// Crossed is what Cross made of two offers.
type Crossed struct {
	ToA, ToB *Document // the answers, each in the order of the offer that it answers
	Pairs    []int     // by section of A: the section of B that it is joined to, or -1
}

// Cross makes two answers out of two offers (RFC 3264 has no such thing: both phones have offered, and each of them waits
// for an answer, because one picked up a call that the other one makes). Each gets what the other one wrote, less what
// they do not share:
//
//	sections   paired by medium and transport, in A's order; the others are rejected
//	codecs     those of both, in A's order of preference. Each keeps the payload types of its writer, who wants to
//	           receive them; one whose number means something else to the reader is left out. Without a codec for
//	           speech or pictures in common the section is rejected
//	SDES keys  one suite that both offered (RFC 4568 §5.1.2), with the tag of the reader's line and the key of the
//	           writer's: each encrypts with the key that it has offered
//	direction  what the writer is willing to send and the reader to receive, and the other way round
//	the rest   ptime and addresses as they are; what only makes sense between offer and answer (bundles, header
//	           extensions, rtcp-mux that only one asked for) goes
func Cross(a, b *Document) (Crossed, error) {
	c := Crossed{ToA: b.Clone(), ToB: a.Clone(), Pairs: make([]int, len(a.media))}
	taken := make([]bool, len(b.media))
	joined := false
	for i, m := range a.media {
		c.Pairs[i] = -1
		for j, o := range b.media {
			if taken[j] || !alike(m, o) {
				continue
			}
			if join(m, o, c.ToB.media[i], c.ToA.media[j]) {
				c.Pairs[i], taken[j], joined = j, true, true
				break
			}
			// What failed to join is as it was, and may fit another section.
			*c.ToB.media[i], *c.ToA.media[j] = *a.Clone().media[i], *b.Clone().media[j]
			c.ToB.media[i].session, c.ToA.media[j].session = &c.ToB.session, &c.ToA.session
		}
	}
	if !joined {
		return Crossed{}, ErrNothingInCommon
	}
	c.ToA.arrange(a, c.Pairs)
	back := make([]int, len(b.media))
	for j := range back {
		back[j] = slices.Index(c.Pairs, j)
	}
	c.ToB.arrange(b, back)
	return c, nil
}

// alike reports whether two sections can be joined at all.
func alike(a, b *Media) bool {
	return a.Port() != 0 && b.Port() != 0 && a.Kind() == b.Kind() && strings.EqualFold(a.Proto(), b.Proto())
}

// arrange puts the sections into the order of the offer that they answer; from says for each of its sections which one of
// ours it is joined to.
func (d *Document) arrange(offer *Document, from []int) {
	own := d.media
	d.media = make([]*Media, len(from))
	for i, j := range from {
		if j >= 0 {
			d.media[i] = own[j]
			continue
		}
		m := &Media{session: &d.session}
		m.lines = append(m.lines, offer.media[i].lines[0])
		m.Reject()
		d.media[i] = m
	}
	d.endLines()
	d.session.remove(func(text string) bool {
		return attributeOf(text, "group") || attributeOf(text, "extmap-allow-mixed") || direction(text) != ""
	})
}

// endLines gives every line an end: the last one of a document may have had none.
func (d *Document) endLines() {
	for _, s := range d.sections() {
		for i := range s.lines {
			if s.lines[i].end == "" {
				s.lines[i].end = "\r\n"
			}
		}
	}
}

func attributeOf(text, name string) bool {
	rest, ok := strings.CutPrefix(text, "a="+name)
	return ok && (rest == "" || rest[0] == ':' || rest[0] == ' ')
}

// join restricts two sections to what both can do: toB is a copy of a's section, toA one of b's.
func join(a, b, toB, toA *Media) bool {
	if a.IsRTP() && !joinCodecs(a, b, toB, toA) {
		return false
	}
	switch {
	case a.IsSecure():
		if !joinKeys(a, b, toB, toA) {
			return false
		}
	case a.SDES() && b.SDES() && joinKeys(a, b, toB, toA):
	default: // under RTP/AVP keys are a choice (RFC 8643)
		for _, m := range []*Media{toA, toB} {
			m.remove(func(text string) bool { return attributeOf(text, "crypto") })
		}
	}
	aDirection, bDirection := a.Direction(), b.Direction()
	toA.SetDirection(meet(bDirection, aDirection))
	toB.SetDirection(meet(aDirection, bDirection))
	if a.RTCPMux() != b.RTCPMux() {
		for _, m := range []*Media{toA, toB} {
			m.remove(func(text string) bool { return attributeOf(text, "rtcp-mux") })
		}
	}
	joinIdentity(a, b, toB, toA)
	return true
}

// joinIdentity settles what offer and answer agree on beside the codecs: the reader's name for its section, and who
// opens DTLS (RFC 5763 §5; of two that would take either part one must be told).
func joinIdentity(a, b, toB, toA *Media) {
	for _, x := range []struct{ answer, offer *Media }{{toA, a}, {toB, b}} {
		x.answer.remove(func(text string) bool { return attributeOf(text, "mid") || attributeOf(text, "extmap") })
		if mid, ok := x.offer.Attribute("mid"); ok {
			x.answer.set(-1, "a=mid:"+mid)
		}
	}
	setupA, okA := a.Attribute("setup")
	setupB, okB := b.Attribute("setup")
	if !okA || !okB {
		return
	}
	toAIs, toBIs := "active", "passive" // B opens
	if setupB == "passive" || setupA == "active" {
		toAIs, toBIs = toBIs, toAIs
	}
	i, _ := toA.attribute("setup")
	toA.set(i, "a=setup:"+toAIs)
	i, _ = toB.attribute("setup")
	toB.set(i, "a=setup:"+toBIs)
}

// meet is the direction of an answer that writer gives to reader.
func meet(writer, reader Direction) Direction {
	sends := (writer == SendRecv || writer == SendOnly) && (reader == SendRecv || reader == RecvOnly)
	receives := (writer == SendRecv || writer == RecvOnly) && (reader == SendRecv || reader == SendOnly)
	switch {
	case sends && receives:
		return SendRecv
	case sends:
		return SendOnly
	case receives:
		return RecvOnly
	default:
		return Inactive
	}
}

// joinCodecs keeps the common codecs in a's order.
func joinCodecs(a, b, toB, toA *Media) bool {
	codecsA, codecsB := a.Codecs(), b.Codecs()
	var keepA, keepB []string
	main := false
	used := make([]bool, len(codecsB))
	for _, x := range codecsA {
		j := slices.IndexFunc(codecsB, x.sameAs)
		if j < 0 || used[j] || clash(codecsA, codecsB[j], x) || clash(codecsB, x, codecsB[j]) {
			continue
		}
		used[j] = true
		keepA = append(keepA, strconv.Itoa(int(x.PayloadType)))
		keepB = append(keepB, strconv.Itoa(int(codecsB[j].PayloadType)))
		main = main || !x.Auxiliary()
	}
	if !main {
		return false
	}
	toB.keepFormats(keepA)
	toA.keepFormats(keepB)
	return true
}

// sameAs compares what a codec is, not its number.
func (c Codec) sameAs(o Codec) bool {
	return c.Name != "" && c.Is(o.Name) && c.ClockRate == o.ClockRate && c.Channels == o.Channels && c.mode() == o.mode()
}

// mode is what of a codec's parameters makes two formats incompatible: H.264's packetization mode (RFC 6184 §8.2.2).
func (c Codec) mode() string {
	if !c.Is("H264") {
		return ""
	}
	for p := range strings.SplitSeq(c.Parameters, ";") {
		if name, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(name, "packetization-mode") {
			return v
		}
	}
	return "0"
}

// clash reports whether the number of a foreign codec stands for another codec than own in a list.
func clash(list []Codec, foreign, own Codec) bool {
	return slices.ContainsFunc(list, func(c Codec) bool {
		return c.PayloadType == foreign.PayloadType && c.PayloadType != own.PayloadType
	})
}

// keepFormats reduces the section to some payload types, in that order, and drops the attributes of the others.
func (m *Media) keepFormats(formats []string) {
	m.SetFormats(formats)
	m.remove(func(text string) bool {
		for _, name := range []string{"a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"} {
			if rest, ok := strings.CutPrefix(text, name); ok {
				format, _, _ := strings.Cut(rest, " ")
				return format != "*" && !slices.Contains(formats, format)
			}
		}
		return false
	})
}

// crypto is an a=crypto line (RFC 4568 §9.1).
type crypto struct {
	tag, suite, keys, params string
}

func (m *Media) cryptos() []crypto {
	var out []crypto
	for _, v := range m.Attributes("crypto") {
		f := strings.Fields(v)
		if len(f) < 3 {
			continue
		}
		out = append(out, crypto{f[0], f[1], f[2], strings.Join(f[3:], " ")})
	}
	return out
}

// joinKeys keeps one suite of both in a's order of preference; sections without SDES (DTLS) join when neither has any.
func joinKeys(a, b, toB, toA *Media) bool {
	keysA, keysB := a.cryptos(), b.cryptos()
	if len(keysA) == 0 && len(keysB) == 0 {
		return true
	}
	for _, x := range keysA {
		for _, y := range keysB {
			if !strings.EqualFold(x.suite, y.suite) || x.params != y.params {
				continue
			}
			toA.onlyCrypto(crypto{x.tag, x.suite, y.keys, y.params})
			toB.onlyCrypto(crypto{y.tag, y.suite, x.keys, x.params})
			return true
		}
	}
	return false
}

func (m *Media) onlyCrypto(c crypto) {
	m.remove(func(text string) bool { return attributeOf(text, "crypto") })
	m.set(-1, strings.TrimSpace("a=crypto:"+c.tag+" "+c.suite+" "+c.keys+" "+c.params))
}
