package room

import (
	"testing"

	"linehall/internal/setting"
)

func TestConfigNamesThePlaceOfEveryMistake(t *testing.T) {
	venues := []VenueConfig{{ID: "main", Site: "hq", Name: VenueName{Zh: "主会场"}}}
	room := DefaultRoom()
	room.Number, room.Name, room.Venues = "9000", "全省例会", []string{"main"}
	if err := (Config{Rooms: []Settings{room}, Venues: venues}).Validate(); err != nil {
		t.Fatal(err)
	}
	for path, change := range map[string]func(*Settings){
		"rooms[0].number":    func(r *Settings) { r.Number = "" },
		"rooms[0].name":      func(r *Settings) { r.Name = "" },
		"rooms[0].pin":       func(r *Settings) { r.PIN = "abcd" },
		"rooms[0].voices":    func(r *Settings) { r.Voices = MaxVoices + 1 },
		"rooms[0].venues[0]": func(r *Settings) { r.Venues = []string{"mian"} },
		"rooms[0].venues[1]": func(r *Settings) { r.Venues = []string{"main", "main"} },
	} {
		bad := room
		change(&bad)
		found := setting.Unfold(Config{Rooms: []Settings{bad}, Venues: venues}.Validate())
		if len(found) != 1 || found[0].Path != path {
			t.Errorf("want one complaint about %s, got %v", path, found)
		}
	}
}
