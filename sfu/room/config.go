package room

import (
	"slices"
	"strings"

	"linehall/internal/setting"
	"linehall/internal/site"
)

// Config is the section "conference".
type Config struct {
	Rooms  []Settings    `yaml:"rooms"`
	Venues []VenueConfig `yaml:"venues"`
}

// Settings are a standing meeting room's.
type Settings struct {
	Number string         `yaml:"number"` // dialled by phones, and the last part of /room/{number}
	Name   string         `yaml:"name"`
	PIN    setting.Secret `yaml:"pin"` // asked of guests; "" = none
	// ChairPIN lets whoever knows it be chair; "" = nobody besides Chairs and people who lead meetings by their role.
	ChairPIN setting.Secret `yaml:"chair_pin"`
	// Class is the class of service of the telephone numbers that its chair calls into a meeting; "" = the default class.
	Class  string   `yaml:"class"`
	Chairs []string `yaml:"chairs"` // ids of the venues that may be chair; none = those of the main site
	Voices int      `yaml:"voices"` // how many of the loudest are forwarded; 1 to MaxVoices
	// Codec is what cameras send where everybody in the room can show it: vp8, vp9, h264 or av1. Else it is VP8.
	Codec  string   `yaml:"codec"`
	Venues []string `yaml:"venues"` // ids of the venues that belong to it
}

// VenueConfig is a place with a camera: a main or branch meeting room.
type VenueConfig struct {
	ID   string    `yaml:"id"`
	Site site.ID   `yaml:"site"`
	Name VenueName `yaml:"name"`
}

// VenueName is a venue's name in both languages of the console.
type VenueName struct {
	Zh string `yaml:"zh"`
	En string `yaml:"en"`
}

const (
	// DefaultVoices is the number of forwarded voices when the key is absent.
	DefaultVoices = 3
	// MaxVoices is the most audio m-lines that a subscriber gets.
	MaxVoices = 8
	// MaxVenues bounds a room: each venue is a video slot somewhere.
	MaxVenues = 64
)

// DefaultRoom holds what a room has when its keys are absent.
func DefaultRoom() Settings { return Settings{Voices: DefaultVoices, Codec: codecNames[0]} }

// codecNames are the values of Settings.Codec.
var codecNames = []string{"vp8", "vp9", "h264", "av1"}

// Validate reports what is wrong within the section; sites and the number plan
// are compared by the configs package.
func (c Config) Validate() error {
	var found setting.Complaints
	known := map[string]int{}
	ids := make([]string, 0, len(c.Venues))
	for i, v := range c.Venues {
		path := setting.Index("venues", i)
		if !validVenue(v.ID) {
			found.Add(path+".id", "venue id %q must be lower-case letters, digits and hyphens, at most 32", v.ID)
		} else if first, taken := known[v.ID]; taken {
			found.Add(path+".id", "venue %q is there already as entry %d", v.ID, first+1)
		} else {
			known[v.ID] = i
			ids = append(ids, v.ID)
		}
		if v.Name.Zh == "" && v.Name.En == "" {
			found.Add(path+".name", "venue %q needs a name in at least one language", v.ID)
		}
	}
	for i, r := range c.Rooms {
		found.Merge(setting.Index("rooms", i), r.validate(ids))
	}
	return found.Err()
}

func (r Settings) validate(venues []string) error {
	var found setting.Complaints
	if r.Number == "" || strings.Trim(r.Number, "0123456789") != "" || len(r.Number) > 16 {
		found.Add("number", "room number %q must be 1 to 16 digits", r.Number)
	}
	if r.Name == "" {
		found.Add("name", "room %q needs a name", r.Number)
	}
	if pin := r.PIN.Reveal(); pin != "" && (len(pin) < 4 || strings.Trim(pin, "0123456789") != "") {
		found.Add("pin", "the PIN of room %q must be at least 4 digits: it is typed on phones", r.Number)
	}
	if pin := r.ChairPIN.Reveal(); pin != "" {
		switch {
		case len(pin) < 4 || strings.Trim(pin, "0123456789") != "":
			found.Add("chair_pin", "the chair's PIN of room %q must be at least 4 digits", r.Number)
		case pin == r.PIN.Reveal():
			found.Add("chair_pin", "the chair's PIN of room %q must differ from the guests'", r.Number)
		}
	}
	for i, id := range r.Chairs {
		if !slices.Contains(r.Venues, id) {
			found.Add(setting.Index("chairs", i), "venue %q does not belong to room %q%s", id, r.Number, setting.Hint(id, r.Venues))
		}
	}
	if r.Voices < 1 || r.Voices > MaxVoices {
		found.Add("voices", "%d voices is not between 1 and %d", r.Voices, MaxVoices)
	}
	if r.Codec != "" && !slices.Contains(codecNames, r.Codec) {
		found.Add("codec", "codec %q is none of %s%s", r.Codec, strings.Join(codecNames, ", "), setting.Hint(r.Codec, codecNames))
	}
	if len(r.Venues) > MaxVenues {
		found.Add("venues", "%d venues are more than %d", len(r.Venues), MaxVenues)
	}
	seen := map[string]bool{}
	for i, id := range r.Venues {
		path := setting.Index("venues", i)
		if !slices.Contains(venues, id) {
			found.Add(path, "unknown venue %q%s", id, setting.Hint(id, venues))
		} else if seen[id] {
			found.Add(path, "venue %q is in room %q twice", id, r.Number)
		}
		seen[id] = true
	}
	return found.Err()
}

func validVenue(id string) bool {
	return id != "" && len(id) <= 32 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
