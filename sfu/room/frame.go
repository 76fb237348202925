package room

import "linehall/sfu/signal"

// programmeHeight is asked for on behalf of a page that does not say how tall it shows the programme.
const programmeHeight = 360

// frame works out what the participant is to be sent: what its page wants, as far as the order of the meeting lets it, and
// the programme in any case.
func (p *participant) frame() {
	if p.watch != nil {
		p.frameWatched()
		return
	}
	p.shown = p.shown[:0]
	if p.control || p.room.meeting == nil {
		p.shown = append(p.shown, p.views...)
		return
	}
	scene := p.room.meeting.Scene(p.member)
	main := p.room.seatOf(scene.Main)
	if main != nil {
		p.shown = append(p.shown, signal.View{Participant: main.id, Media: signal.MediaCamera, Height: p.wanted(main.id)})
	}
	for _, v := range p.views {
		if len(p.shown) == len(p.video) {
			break // a page that wants more than there are m-lines does not push out the programme
		}
		if v.Media == signal.MediaCamera {
			if main != nil && v.Participant == main.id || scene.Others == 0 && main != nil {
				continue
			}
			v.Height = min(v.Height, scene.Others)
		}
		p.shown = append(p.shown, v)
	}
}

// wanted is how tall the page shows a camera.
func (p *participant) wanted(id string) int {
	for _, v := range p.views {
		if v.Participant == id && v.Media == signal.MediaCamera {
			return v.Height
		}
	}
	return programmeHeight
}

// seatOf finds the participant that is seen and heard as a member.
func (r *Room) seatOf(member string) *participant {
	if member == "" {
		return nil
	}
	for _, p := range r.participants {
		if !p.hidden() && p.member == member {
			return p
		}
	}
	return nil
}
