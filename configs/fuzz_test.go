package configs

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzDecode reads any bytes as linehall.yaml: every problem has a place
// inside the file, and a file that is accepted is accepted again.
func FuzzDecode(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(seeds, "linehall.yaml") {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		config, d := Default(), newDocument("fuzz.yaml")
		d.decode(content, &config)
		lines := 1
		for _, c := range content {
			if c == '\n' || c == '\r' {
				lines++
			}
		}
		for _, p := range d.problems {
			if p.Line < 1 || p.Column < 1 || p.Line > lines || p.Message == "" {
				t.Errorf("problem without a place in %d lines: %s", lines, p)
			}
		}
		c := &checker{config: &config, document: d}
		config.Terminals.File = ""
		c.domains()
		c.compare()
	})
}
