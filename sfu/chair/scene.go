package chair

// stripHeight is the most lines of a picture beside the programme.
const stripHeight = 180

// Scene is what one member is to be shown.
type Scene struct {
	Main   string // this member's camera in any case; "": nobody's
	Others int    // most lines of everybody else's picture; 0: not at all; AnyHeight: as the page likes
}

// AnyHeight means no limit.
const AnyHeight = 1 << 20

// Scene says what a member is to be shown: the programme, and how much of the others the layout leaves. The chair sees whom
// it chose to view, and is not bound by the layout.
func (m *Meeting) Scene(member string) Scene {
	s := &m.s
	scene := Scene{Main: s.OnAir, Others: AnyHeight}
	leads := s.Chair != "" && member == s.Chair
	if leads && s.View != "" {
		scene.Main = s.View
	}
	if scene.Main == member { // who is on air sees the chair
		scene.Main = s.Chair
	}
	if scene.Main == member || !m.Present(scene.Main) {
		scene.Main = ""
	}
	if leads || !s.Forced || scene.Main == "" {
		return scene
	}
	switch s.Layout {
	case Single, Corner:
		scene.Others = 0
	case Speaker:
		scene.Others = stripHeight
	case Lecture:
		if member != s.OnAir {
			scene.Others = 0
		}
	case Grid:
		scene.Main = ""
	case Auto:
	}
	return scene
}
