package room

import (
	"cmp"
	"slices"
	"time"

	"linehall/sfu/forward"
	"linehall/sfu/signal"
)

const (
	// speakingLevel is -50 dBov: above it somebody speaks, below it a room hums.
	speakingLevel = 77
	// heardBonus keeps a heard voice on its m-line unless another is clearly louder.
	heardBonus = 6
)

// updateVoices gives the loudest voices to everyone's audio m-lines and tells who speaks.
func (r *Room) updateVoices(now time.Time) {
	type voice struct {
		p    *participant
		loud float64
	}
	list := make([]voice, 0, len(r.participants))
	for _, p := range r.participants {
		if u := p.peer.Uplink(); u != nil && !p.silent() && u.Track(forward.Microphone).Live(now) {
			list = append(list, voice{p, u.Track(forward.Microphone).Loudness(now)})
		}
	}
	var speaking []string
	slices.SortStableFunc(list, func(a, b voice) int { return cmp.Compare(b.loud, a.loud) })
	for _, v := range list {
		v.p.speaking = v.loud >= speakingLevel
		if v.p.speaking {
			speaking = append(speaking, v.p.id)
		}
	}
	ranking := make([]*participant, 0, len(list))
	for _, v := range list {
		ranking = append(ranking, v.p)
	}
	r.listen(ranking)
	loudest, most := "", 0.0
	for _, v := range list {
		loud := v.loud
		if v.p.member == r.speaker.member {
			loud += heardBonus // whoever is shown stays so unless another is clearly louder
		}
		if v.p.speaking && loud > most {
			loudest, most = v.p.member, loud
		}
	}
	if r.speaker.note(loudest, now) {
		r.dirty = true
	}
	for _, p := range r.participants {
		heard := func(o *participant) float64 {
			if slices.ContainsFunc(p.audio, func(a audioSlot) bool { return a.participant == o.id }) {
				return heardBonus
			}
			return 0
		}
		own := slices.DeleteFunc(slices.Clone(list), func(v voice) bool {
			return v.p == p || p.watch != nil && p.watch.member != "" && v.p.member != p.watch.member
		})
		slices.SortStableFunc(own, func(a, b voice) int { return cmp.Compare(b.loud+heard(b.p), a.loud+heard(a.p)) })
		chosen := make([]*participant, 0, p.voices)
		for _, v := range own[:min(p.voices, len(own))] {
			chosen = append(chosen, v.p)
		}
		p.hear(chosen)
	}
	if !slices.Equal(speaking, r.speaking) {
		r.speaking = speaking
		ids := append([]string{}, speaking...)
		for _, p := range r.participants {
			p.send(signal.Speaking{Type: "speaking", Participants: ids})
		}
	}
}

// hear puts the chosen voices on the audio m-lines; those on one already stay there.
func (p *participant) hear(chosen []*participant) {
	if follow(p.peer.AudioSlots(), p.audio, chosen) {
		p.sendSlots()
	}
}

func (p *participant) microphone() *forward.Layer {
	return p.peer.Uplink().Track(forward.Microphone).Layer("")
}

// sendSlots tells the client who is in which m-line, if that changed.
func (p *participant) sendSlots() {
	if p.watch != nil {
		p.tellCast()
		return
	}
	m := signal.Slots{Type: "slots", Video: make([]signal.VideoSlot, 0, len(p.video)), Audio: make([]signal.AudioSlot, 0, len(p.audio))}
	for i, s := range p.peer.VideoSlots() {
		if mid := p.peer.MID(s); mid != "" {
			v := p.video[i]
			m.Video = append(m.Video, signal.VideoSlot{MID: mid, Participant: v.participant, Media: v.media, RID: v.rid, Reason: v.reason})
		}
	}
	for i, s := range p.peer.AudioSlots() {
		if mid := p.peer.MID(s); mid != "" {
			m.Audio = append(m.Audio, signal.AudioSlot{MID: mid, Participant: p.audio[i].participant})
		}
	}
	if len(m.Audio)+len(m.Video) == 0 || slices.Equal(m.Video, p.sent.slots.Video) && slices.Equal(m.Audio, p.sent.slots.Audio) {
		return
	}
	p.sent.slots = m
	p.send(m)
}
