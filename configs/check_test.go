package configs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"linehall/configs"
)

// want is how a bad file says what must be found in it: lines at its end.
const want = "# want: "

func TestBadFilesAreExplained(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yaml"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var body, expected strings.Builder
			for line := range strings.Lines(string(content)) {
				if message, ok := strings.CutPrefix(line, want); ok {
					expected.WriteString(message)
				} else {
					body.WriteString(line)
				}
			}
			var found strings.Builder
			for _, p := range configs.Check(configs.Options{Path: file}) {
				found.WriteString(strings.TrimPrefix(p.String(), "testdata/") + "\n")
			}
			if os.Getenv("UPDATE_WANT") != "" {
				rewritten := body.String() + want + strings.ReplaceAll(strings.TrimSuffix(found.String(), "\n"), "\n", "\n"+want) + "\n"
				if err := os.WriteFile(file, []byte(rewritten), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if found.Len() == 0 {
				t.Error("nothing was found")
			}
			if diff := cmp.Diff(expected.String(), found.String()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGoodFilesAreAccepted(t *testing.T) {
	files, err := filepath.Glob("testdata/*.good.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no good files: %v", err)
	}
	for _, file := range files {
		for _, p := range configs.Check(configs.Options{Path: file}) {
			t.Error(p)
		}
	}
}
