package forward

// A publisher may send its resolutions as spatial layers of one stream (VP9, RFC 9628 §3): each of them is then a [Layer] of
// its own for whoever chooses, and a view of the stream for the packet path.

// root is the stream that a layer's packets come in: itself, unless it is a view.
func (l *Layer) root() *Layer {
	if l.of != nil {
		return l.of
	}
	return l
}

// noteSpatial takes the heights of the spatial layers from a keyframe and makes the views for them.
func (l *Layer) noteSpatial(f *frame) {
	count := 0
	for count < maxSpatial && f.sizes[count] != 0 {
		count++
	}
	if count < 2 || l.rid != Low {
		l.upper.Store(0)
		return
	}
	l.size.Store(uint64(f.sizes[0]))
	t := l.track
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := 1; i < count; i++ {
		if t.views[i] == nil {
			t.views[i] = &Layer{track: t, rid: [maxSpatial]string{Low, Medium, High}[i], video: true, spatial: uint8(i), of: l} //nolint:gosec // below maxSpatial
		}
		t.views[i].size.Store(uint64(f.sizes[i]))
	}
	l.upper.Store(int32(count - 1)) //nolint:gosec // below maxSpatial
}

// cut says whether a packet belongs to a spatial layer above the one that the slot was given, and else whether the picture
// ends with it for the receiver. Down it goes with any picture, up only where nothing is predicted from what was not sent: at
// a keyframe. The caller holds mu.
func (s *Slot) cut(p *packet) (drop, ends bool) {
	f := &p.frame
	if p.codec != VP9 {
		return false, p.marker
	}
	if !p.late && (f.keyframe || f.start && s.spatial > s.below) {
		s.spatial = s.below
	}
	if f.spatial > s.spatial {
		return true, false
	}
	return false, p.marker || f.end && f.spatial == s.spatial
}
