package line

// Class orders what crosses a line, most important first. The zero Class is not a class; the ledger treats it as Voice,
// so that a forgotten class is neither never refused nor starved.
type Class uint8

// The classes, in the order in which they give way (the last one first).
const (
	Emergency       Class = iota + 1 // never refused
	Priority                         // calls with a Precedence: RFC 4412 or a terminal's class; they may end lower ones
	Voice                            // calls between two phones
	ConferenceAudio                  // the voices of a meeting; has a floor that calls cannot eat
	Content                          // shared screens
	Video                            // cameras
	Bulk                             // firmware, recordings, files

	classes = int(Bulk) + 1 // length of a table indexed by Class
)

// Classes returns every class, most important first.
func Classes() []Class {
	return []Class{Emergency, Priority, Voice, ConferenceAudio, Content, Video, Bulk}
}

// String returns the label that metrics and JSON use.
func (c Class) String() string {
	switch c {
	case Emergency:
		return "emergency"
	case Priority:
		return "priority"
	case Voice:
		return "voice"
	case ConferenceAudio:
		return "conference_audio"
	case Content:
		return "content"
	case Video:
		return "video"
	case Bulk:
		return "bulk"
	default:
		return "voice"
	}
}

// known maps everything that is not a class to Voice.
func (c Class) known() Class {
	if c < Emergency || c > Bulk {
		return Voice
	}
	return c
}

// isCall reports whether c is held back from the conference audio floor.
func (c Class) isCall() bool { return c != Emergency && c != ConferenceAudio }

// Direction of a line, seen from the branch.
type Direction uint8

// The directions.
const (
	Up   Direction = iota // sent by the branch
	Down                  // received by the branch

	directions = 2
)

// String returns the label that metrics and JSON use.
func (d Direction) String() string {
	if d == Up {
		return "up"
	}
	return "down"
}
