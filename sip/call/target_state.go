package call

import (
	"time"

	"linehall/internal/directory"
	"linehall/internal/site"
	"linehall/sip/location"
	"linehall/sip/stack"
)

// savedTarget is a target of a stage.
type savedTarget struct {
	Terminal directory.Terminal `json:"terminal"`
	Binding  location.Binding   `json:"binding"`
	Attempt  *savedAttempt      `json:"attempt,omitempty"`
	Number   string             `json:"number,omitempty"`
	Wave     int                `json:"wave,omitempty"`
}

// savedAttempt is an Attempt without what cannot be written: its connection is there or gone.
type savedAttempt struct {
	Trunk    string        `json:"trunk"`
	Gateway  string        `json:"gateway"`
	URI      string        `json:"uri"`
	To       string        `json:"to,omitempty"`
	Routes   []string      `json:"routes,omitempty"`
	Flow     stack.Flow    `json:"flow"`
	Site     site.ID       `json:"site"`
	From     Identity      `json:"from"`
	Asserted Identity      `json:"asserted"`
	Contact  string        `json:"contact"`
	Headers  [][2]string   `json:"headers,omitempty"`
	Patience time.Duration `json:"patience,omitempty"`
	SRTP     string        `json:"srtp,omitempty"`
	Most     Capacity      `json:"most,omitzero"`
}

func (t *target) saved() savedTarget {
	s := savedTarget{Terminal: t.terminal, Binding: t.binding, Number: t.number, Wave: t.wave}
	if a := t.attempt; a != nil {
		s.Attempt = &savedAttempt{a.Trunk, a.Gateway, a.URI, a.To, a.Routes, a.Flow, a.Site, a.From, a.Asserted, a.Contact, a.Headers, a.Patience, a.SRTP, a.Most}
	}
	return s
}

func (s *savedTarget) restored() target {
	t := target{terminal: s.Terminal, binding: s.Binding, number: s.Number, wave: s.Wave}
	if a := s.Attempt; a != nil {
		t.attempt = &Attempt{
			Trunk: a.Trunk, Gateway: a.Gateway, URI: a.URI, To: a.To, Routes: a.Routes, Flow: a.Flow, Site: a.Site,
			From: a.From, Asserted: a.Asserted, Contact: a.Contact, Headers: a.Headers, Patience: a.Patience, SRTP: a.SRTP, Most: a.Most,
		}
	}
	return t
}
