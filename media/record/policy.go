package record

import (
	"fmt"
	"os"
	"slices"
)

// Policy is what the rules say about a call.
type Policy struct {
	Mode     Mode
	Rule     string // that decided; "" for the default
	Keys     Keys
	announce *cue
}

// Announces reports whether both parties are told.
func (p Policy) Announces() bool { return p.announce != nil }

// rules are a configuration with its sounds.
type rules struct {
	config Config
	class  string // of terminals whose row names none
	sounds map[string]*cue
}

// Prepared is a configuration that can be installed.
type Prepared struct{ rules *rules }

// Prepare reads the sounds that a configuration names; class is the one of terminals whose row names none.
func (r *Recorder) Prepare(c Config, class string) (Prepared, error) {
	n := &rules{config: c, class: class, sounds: map[string]*cue{"": nil, NoAnnouncement: nil}}
	var err error
	if n.sounds[ToneAnnouncement], err = announcementTone(); err != nil {
		return Prepared{}, err
	}
	for _, file := range c.Files() {
		content, err := os.ReadFile(file) //nolint:gosec // the operator names it
		if err != nil {
			return Prepared{}, fmt.Errorf("recording: %w", err)
		}
		if n.sounds[file], err = wavCue(content); err != nil {
			return Prepared{}, fmt.Errorf("recording: %s: %w", file, err)
		}
	}
	return Prepared{n}, nil
}

// Install makes a prepared configuration the one in use. Calls keep the policy that they began with.
func (r *Recorder) Install(p Prepared) { r.rules.Store(p.rules) }

// Idle reports whether no call at all is to be recorded.
func (r *Recorder) Idle() bool {
	c := &r.rules.Load().config
	return c.Default == Never && len(c.Rules) == 0
}

// Policy asks the rules about a call between these parties.
func (r *Recorder) Policy(parties ...Party) Policy {
	now := r.rules.Load()
	c := now.config
	for i := range parties {
		if parties[i].Class == "" && parties[i].Trunk == "" {
			parties[i].Class = now.class
		}
	}
	for _, rule := range c.Rules {
		if !slices.ContainsFunc(parties, rule.matches) {
			continue
		}
		out := Policy{Mode: rule.Mode, Rule: rule.Name, Keys: c.Keys, announce: now.sounds[c.Announce]}
		if rule.Announce != "" {
			out.announce = now.sounds[rule.Announce]
		}
		if rule.Keys != "" {
			out.Keys = rule.Keys
		}
		return out
	}
	return Policy{Mode: c.Default, Keys: c.Keys, announce: now.sounds[c.Announce]}
}
