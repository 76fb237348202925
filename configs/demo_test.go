package configs_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"linehall/configs"
)

func TestDemoIsTheOrganisationOfTheContract(t *testing.T) {
	config, err := configs.Load(configs.Options{Path: "linehall.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	perSite := map[string]int{}
	for _, row := range config.Inventory() {
		perSite[string(row.Site)]++
		if row.Extension[:1] != prefixOf(config, string(row.Site)) {
			t.Errorf("extension %s does not carry the prefix of %s", row.Extension, row.Site)
		}
	}
	if len(config.Inventory()) != 120 || perSite["hq"] != 70 || perSite["branch5"] != 10 {
		t.Errorf("terminals per site: %v", perSite)
	}
	for i, want := range []int64{0, 2e6, 4e6, 8e6, 10e6, 20e6} {
		s := config.SiteList()[i]
		if (s.Line == nil) != (want == 0) || (s.Line != nil && (s.Line.Up != want || s.Line.Down != want)) {
			t.Errorf("site %s has line %+v, want %d", s.ID, s.Line, want)
		}
	}
}

func prefixOf(config configs.Config, id string) string {
	for _, s := range config.Sites {
		if string(s.ID) == id {
			return s.Prefix
		}
	}
	return ""
}

func TestMissingFileIsAProblemWithAPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "linehall.yaml")
	_, err := configs.Load(configs.Options{Path: path})
	var failed *configs.Error
	if !errors.As(err, &failed) || failed.Error() != path+":1:1: the file does not exist" {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("loading made a file")
	}
}
