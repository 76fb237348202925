package cdr

import "time"

// Seconds are the opinion scores of each second of what a party sent, as it reached us.
type Seconds struct {
	Rated   int     `json:"rated"` // seconds in which something was sent
	Mean    float64 `json:"mean"`
	Worst   float64 `json:"worst"`
	WorstAt int     `json:"worst_at"` // seconds after the first one
	// Kinds counts them by what users make of them (ITU-T G.107 annex B): satisfied, some dissatisfied, many, nearly all, not
	// recommended.
	Kinds [5]int `json:"kinds"`
	// Lowest is the course: the lowest score in each Step seconds, 0 where there is none. It is left out when all are satisfied.
	Step   int       `json:"step,omitempty"`
	Lowest []float64 `json:"lowest,omitempty"`
}

// Heard is what a party's last extended report said of what it heard (RFC 3611 §4.7). It is the phone's word, as a Quality is.
type Heard struct {
	At              time.Time     `json:"at"`
	MOS             float64       `json:"mos"` // listening; 0: not given
	MOSConversation float64       `json:"mos_conversation"`
	R               int           `json:"r"`
	LossPercent     float64       `json:"loss_percent"`
	DiscardPercent  float64       `json:"discard_percent"`
	BurstPercent    float64       `json:"burst_percent"` // missing inside bursts
	Burst           time.Duration `json:"burst_ns"`      // mean length
	GapPercent      float64       `json:"gap_percent"`
	Gap             time.Duration `json:"gap_ns"`
	RoundTrip       time.Duration `json:"round_trip_ns"`
	EndSystem       time.Duration `json:"end_system_ns"`
}
