package configs

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"linehall/internal/setting"
	"linehall/provisioning/inventory"
	"linehall/provisioning/phone"
)

// templates checks that the template of every terminal exists for some brand.
func (c *checker) templates() {
	var names []string
	loaded := false
	read := map[string]bool{}
	for _, row := range c.config.inventory {
		if row.Template == "" {
			continue
		}
		if !read[row.Template] {
			read[row.Template] = true
			c.templateLines(row.Template)
		}
		if !loaded {
			names, loaded = templateNames(c.config.Terminals.Templates), true
		}
		if !slices.Contains(names, row.Template) {
			c.addRow(row, inventory.ColumnTemplate, "no template %q in %s%s",
				row.Template, c.config.Terminals.Templates, setting.Hint(row.Template, names))
		}
	}
}

// templateLines checks that each file of that name holds lines that can be
// laid over a phone's.
func (c *checker) templateLines(name string) {
	found, err := filepath.Glob(filepath.Join(c.config.Terminals.Templates, "*", name+inventory.TemplateSuffix))
	if err != nil {
		return // as below
	}
	for _, path := range found {
		content, message := readFile(path)
		if message == "" {
			_, err := phone.ParseLines(content)
			if err == nil {
				continue
			}
			message = err.Error()
		}
		line := 1
		if rest, ok := strings.CutPrefix(message, "line "); ok {
			number, text, _ := strings.Cut(rest, ": ")
			if n, err := strconv.Atoi(number); err == nil {
				line, message = n, text
			}
		}
		c.document.problems = append(c.document.problems, Problem{path, line, 1, message})
	}
}

// templateNames lists the templates of all brands: FOLDER/BRAND/NAME.cfg.
func templateNames(folder string) []string {
	found, err := filepath.Glob(filepath.Join(folder, "*", "*"+inventory.TemplateSuffix))
	if err != nil {
		return nil // only a malformed pattern; a folder with brackets in its name has no templates
	}
	names := make([]string, 0, len(found))
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			names = append(names, strings.TrimSuffix(filepath.Base(path), inventory.TemplateSuffix))
		}
	}
	return names
}
