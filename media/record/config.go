package record

import (
	"slices"
	"strings"

	"linehall/internal/setting"
	"linehall/internal/site"
)

// Config is the section "recording".
type Config struct {
	// Default is what holds for calls that no rule is about.
	Default Mode `yaml:"default"`
	// Rules say which calls are recorded; the first one that is about either party decides.
	Rules []RuleConfig `yaml:"rules"`
	// Announce is what both parties hear before a recording begins: none, tone, or the name of a WAV file.
	Announce string `yaml:"announce"`
	// Keys says what becomes of keys that are pressed, which may be the numbers of cards: keep or omit.
	Keys Keys `yaml:"keys"`
	// Encrypt encrypts the files.
	Encrypt bool `yaml:"encrypt"`
	// KeepDays is after how many days a recording is deleted; 0: never.
	KeepDays int `yaml:"keep_days"`
	// MaxShare is how much of the disk recordings may take; then the oldest ones are deleted.
	MaxShare setting.Share `yaml:"max_share"`
	// Reserve is how many megabytes of the disk recordings leave free.
	Reserve int `yaml:"reserve"`
}

// RuleConfig is one rule. All of what it names must be true of the same party; what it leaves empty is true of everybody.
type RuleConfig struct {
	Name       string   `yaml:"name"`
	Extensions []string `yaml:"extensions"` // X stands for any digit
	Sites      []string `yaml:"sites"`
	Classes    []string `yaml:"classes"` // of service, as in terminals.csv
	Trunks     []string `yaml:"trunks"`  // * stands for any
	Mode       Mode     `yaml:"mode"`
	Announce   string   `yaml:"announce"` // "": as for all
	Keys       Keys     `yaml:"keys"`     // "": as for all
}

// Mode says whether a call is recorded.
type Mode string

// The modes.
const (
	Never    Mode = "never"
	OnDemand Mode = "on_demand" // when somebody asks for it
	Always   Mode = "always"    // when it can be
	Required Mode = "required"  // a call that cannot be is not connected
)

// Modes lists the accepted values of "mode".
func Modes() []string {
	return []string{string(Never), string(OnDemand), string(Always), string(Required)}
}

// Keys says what becomes of pressed keys in a recording.
type Keys string

// The ways.
const (
	KeepKeys Keys = "keep"
	OmitKeys Keys = "omit"
)

// Values of announce; everything else is a file.
const (
	NoAnnouncement   = "none"
	ToneAnnouncement = "tone"
)

// DefaultConfig records nothing, and encrypts and announces what is recorded.
func DefaultConfig() Config {
	return Config{Default: Never, Announce: ToneAnnouncement, Keys: KeepKeys, Encrypt: true, KeepDays: 90, MaxShare: 0.5, Reserve: 1024}
}

// DefaultRule holds what a rule has when its keys are absent.
func DefaultRule() RuleConfig { return RuleConfig{Mode: Always} }

// Validate reports every value out of range; what sites, classes and trunks there are is configs' business.
func (c Config) Validate() error {
	var found setting.Complaints
	found.OneOf("default", string(c.Default), Modes())
	found.OneOf("keys", string(c.Keys), []string{string(KeepKeys), string(OmitKeys)})
	if c.Announce == "" {
		found.Add("announce", "what is announced needs a word: none, tone, or the name of a WAV file")
	}
	if c.KeepDays < 0 || c.KeepDays > 36500 {
		found.Add("keep_days", "%d is not between 0 and 36500 days", c.KeepDays)
	}
	if c.MaxShare <= 0 {
		found.Add("max_share", "recordings need a part of the disk, like 50%%")
	}
	if c.Reserve < 100 || c.Reserve > 1<<20 {
		found.Add("reserve", "%d is not between 100 and 1048576 megabytes", c.Reserve)
	}
	for i, r := range c.Rules {
		found.Merge(setting.Index("rules", i), r.validate())
	}
	return found.Err()
}

func (r RuleConfig) validate() error {
	var found setting.Complaints
	found.OneOf("mode", string(r.Mode), Modes())
	if r.Keys != "" {
		found.OneOf("keys", string(r.Keys), []string{string(KeepKeys), string(OmitKeys)})
	}
	for i, e := range r.Extensions {
		if e == "" || strings.Trim(e, "0123456789X") != "" {
			found.Add(setting.Index("extensions", i), "%q is no extension; write it like 8001, or 80XX for all that begin with 80", e)
		}
	}
	return found.Err()
}

// Files lists the WAV files that the section names, by the path of the setting.
func (c Config) Files() map[string]string {
	files := map[string]string{}
	if named(c.Announce) {
		files["announce"] = c.Announce
	}
	for i, r := range c.Rules {
		if named(r.Announce) {
			files[setting.Index("rules", i)+".announce"] = r.Announce
		}
	}
	return files
}

// Resolved returns the section with the names of its files as resolve makes them.
func (c Config) Resolved(resolve func(string) string) Config {
	if named(c.Announce) {
		c.Announce = resolve(c.Announce)
	}
	c.Rules = slices.Clone(c.Rules)
	for i := range c.Rules {
		if named(c.Rules[i].Announce) {
			c.Rules[i].Announce = resolve(c.Rules[i].Announce)
		}
	}
	return c
}

func named(announce string) bool {
	return announce != "" && announce != NoAnnouncement && announce != ToneAnnouncement
}

// Party is one side of a call as rules see it.
type Party struct {
	Extension string  `json:"extension"` // or the number outside
	Name      string  `json:"name,omitempty"`
	Site      site.ID `json:"site,omitempty"`
	Class     string  `json:"class,omitempty"` // of service
	Trunk     string  `json:"trunk,omitempty"`
}

// matches reports whether a rule is about a party.
func (r RuleConfig) matches(p Party) bool {
	return some(r.Extensions, func(e string) bool { return p.Trunk == "" && like(e, p.Extension) }) &&
		some(r.Sites, func(s string) bool { return s == string(p.Site) }) &&
		some(r.Classes, func(c string) bool { return c == p.Class && p.Trunk == "" }) &&
		some(r.Trunks, func(t string) bool { return p.Trunk != "" && (t == "*" || t == p.Trunk) })
}

// some is true of an empty list.
func some(list []string, is func(string) bool) bool {
	return len(list) == 0 || slices.ContainsFunc(list, is)
}

func like(pattern, number string) bool {
	if len(pattern) != len(number) {
		return false
	}
	for i := range len(pattern) {
		if pattern[i] != number[i] && pattern[i] != 'X' {
			return false
		}
	}
	return true
}
