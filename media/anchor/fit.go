package anchor

import (
	"strconv"

	"linehall/media/sdp"
)

// book reserves what may come of an offer. Where a line has no room for all of it, the offer makes do (makeDo changes
// it) before anybody else has to give way: a call without a picture is better than none, and a phone that puts a call on
// hold repeats the whole list of its codecs although only one of them is in use.
func (p *Path) book(doc *sdp.Document) error {
	p.want = p.agreedWant().worst(p.weigh(offered(doc)))
	if p.agreed == nil && !pictured(doc) {
		return p.call.reserve()
	}
	if p.call.try() == nil {
		return nil
	}
	t := offered(doc)
	for _, i := range p.makeDo(doc) {
		t[i] = [2]sdp.Stream{}
	}
	for i, m := range doc.Media() {
		if !usable(m) {
			t[i] = [2]sdp.Stream{}
		}
	}
	p.want = p.agreedWant().worst(p.weigh(t))
	return p.call.reserve()
}

// makeDo takes out of an offer what would need more of the lines than is agreed and is not worth a call: new pictures,
// and beside an agreed codec the larger ones. It returns the m-lines that make do with what they have.
func (p *Path) makeDo(doc *sdp.Document) (content []int) {
	for i, m := range doc.Media() {
		now := p.agreedAt(i)
		switch {
		case !usable(m):
		case m.Kind() == "video" && now == (sdp.Stream{}):
			m.Reject()
		case m.Kind() == "video", now != (sdp.Stream{}) && m.IsRTP() && narrow(m, now):
			content = append(content, i)
		}
	}
	return content
}

// agreedAt is the larger of both sides' streams of an m-line.
func (p *Path) agreedAt(i int) sdp.Stream {
	want := p.agreedWant()
	if i >= len(want) {
		return sdp.Stream{}
	}
	return want[i][Caller].Worse(want[i][Callee])
}

// narrow leaves the codecs that can do with a stream and reports whether there are any; if not, the section stays.
func narrow(m *sdp.Media, stream sdp.Stream) bool {
	var formats []string
	speech := false
	all := m.Formats()
	for _, c := range m.Codecs() {
		format := strconv.Itoa(int(c.PayloadType))
		m.SetFormats([]string{format})
		fits := stream.Worse(m.Worst(0)) == stream || stream.Worse(m.Worst(packetTime(m))) == stream
		if c.Auxiliary() || fits {
			formats = append(formats, format)
			speech = speech || !c.Auxiliary()
		}
	}
	if !speech {
		formats = all
	}
	m.SetFormats(formats)
	return speech
}

func pictured(doc *sdp.Document) bool {
	for _, m := range doc.Media() {
		if m.Kind() == "video" && usable(m) {
			return true
		}
	}
	return false
}
