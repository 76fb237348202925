package prompt

// Sequence plays programs one after the other; all of them hear the party while they play.
type Sequence []Program

// Frame implements Program.
func (s *Sequence) Frame(heard, said []int16, keys []byte) bool {
	for len(*s) > 0 {
		if (*s)[0].Frame(heard, said, keys) {
			return true
		}
		*s = (*s)[1:]
	}
	clear(said)
	return false
}

// Echo gives back what the party says until it presses #. A key that it presses comes back as its tones, so that both
// directions of keys are tested too.
type Echo struct{ key *Player }

// Frame implements Program.
func (e *Echo) Frame(heard, said []int16, keys []byte) bool {
	for _, k := range keys {
		if k == '#' {
			clear(said)
			return false
		}
		e.key = NewKey(k, 200*ms) // people press seldom
	}
	if e.key != nil {
		if e.key.Frame(nil, said, nil) {
			return true
		}
		e.key = nil
	}
	copy(said, heard)
	return true
}
