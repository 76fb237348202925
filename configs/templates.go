package configs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"linehall/internal/setting"
	"linehall/provisioning/inventory"
)

// templates checks that the template of every terminal exists for some brand.
func (c *checker) templates() {
	var names []string
	loaded := false
	for _, row := range c.config.inventory {
		if row.Template == "" {
			continue
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
