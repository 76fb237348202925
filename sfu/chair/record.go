package chair

import (
	"crypto/rand"
	"time"
)

// Recording says that the programme of the meeting is being recorded. A restart carries it on under the same id.
type Recording struct {
	ID     string    `json:"id"`
	Since  time.Time `json:"since"`
	By     string    `json:"by"` // member
	ByName Name      `json:"by_name"`
	Tracks bool      `json:"tracks"` // everybody's picture and voice too, each in a file of its own
}

// startRecord begins to record the programme; On: and everybody by themselves.
func (m *Meeting) startRecord(a Act, by Actor, now time.Time) (Outcome, string, error) {
	if m.s.Recording != nil {
		return Outcome{}, "", ErrRecording
	}
	m.s.Recording = &Recording{ID: m.s.Meeting + "-" + rand.Text()[:4], Since: now, By: by.Member, ByName: by.Name, Tracks: a.On}
	if a.On {
		return Outcome{}, "tracks", nil
	}
	return Outcome{}, "", nil
}

func (m *Meeting) stopRecord(Act, Actor, time.Time) (Outcome, string, error) {
	if m.s.Recording == nil {
		return Outcome{}, "", ErrNotNow
	}
	m.s.Recording = nil
	return Outcome{}, "", nil
}

// RecordingLost notes that the recording of that id ended by itself; it may have been ended meanwhile.
func (m *Meeting) RecordingLost(id, why string, now time.Time) Outcome {
	if m.s.Recording == nil || m.s.Recording.ID != id {
		return Outcome{}
	}
	m.s.Recording = nil
	return Outcome{Minutes: []Minute{{At: now, Action: RecordLost, Detail: why}}}
}
