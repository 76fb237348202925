package rtcp

// Seconds is the opinion score of every second of a call, in bounded space: how many there were of each kind, the worst
// one, and a course whose slots grow longer with the call. The zero value is ready; it is no more than a value, copied by
// assignment.
type Seconds struct {
	Rated   uint32         `json:"rated"` // seconds with a score: those in which something was sent
	Sum     float64        `json:"sum"`   // of the scores
	Worst   float64        `json:"worst"`
	WorstAt uint32         `json:"worst_at"` // seconds after the first one
	Bands   [bands]uint32  `json:"bands"`    // see Band
	Step    uint32         `json:"step"`     // seconds per slot
	Slots   uint32         `json:"slots"`
	Lowest  [slots]TenthOf `json:"lowest"` // the lowest score of each slot
}

// TenthOf is a score in tenths, 0 for none.
type TenthOf uint8

// Score is the score as a number.
func (t TenthOf) Score() float64 { return float64(t) / 10 }

const (
	bands = 5
	slots = 60 // a minute in seconds, an hour in minutes
)

// Band says what users make of a score (ITU-T G.107 annex B, table B.1): 0 satisfied or better, 1 some dissatisfied, 2 many
// dissatisfied, 3 nearly all dissatisfied, 4 not recommended.
func Band(mos float64) int {
	for i, lowest := range [bands - 1]float64{4.03, 3.60, 3.10, 2.58} {
		if mos >= lowest {
			return i
		}
	}
	return bands - 1
}

// Mean is the mean score, 0 without any.
func (s *Seconds) Mean() float64 {
	if s.Rated == 0 {
		return 0
	}
	return s.Sum / float64(s.Rated)
}

// Add takes the score of a second; at counts seconds from the first one and never falls.
func (s *Seconds) Add(at uint32, mos float64) {
	if s.Rated == 0 || mos < s.Worst {
		s.Worst, s.WorstAt = mos, at
	}
	s.Rated++
	s.Sum += mos
	s.Bands[Band(mos)]++
	s.Step = max(s.Step, 1)
	for at/s.Step >= slots {
		s.halve()
	}
	slot := at / s.Step
	s.Slots = max(s.Slots, slot+1)
	s.Lowest[slot] = lower(s.Lowest[slot], TenthOf(10*mos+0.5))
}

// halve joins every two slots.
func (s *Seconds) halve() {
	for i := range s.Lowest {
		var a, b TenthOf
		if 2*i+1 < slots {
			a, b = s.Lowest[2*i], s.Lowest[2*i+1]
		}
		s.Lowest[i] = lower(a, b)
	}
	s.Step, s.Slots = 2*s.Step, (s.Slots+1)/2
}

// lower is the lower one of two scores of which either may not be there.
func lower(a, b TenthOf) TenthOf {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}
