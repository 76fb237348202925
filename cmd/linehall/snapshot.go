package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"linehall/configs"
	"linehall/provisioning/inventory"
)

// A file of a snapshot is named by what it is and where it lay: "list:/etc/linehall/terminals.csv".
const (
	kindSettings = "settings"
	kindList     = "list"
	kindTemplate = "template"
)

// maxConfigFile bounds one file of a snapshot.
const maxConfigFile = 4 << 20

// configurationFiles reads the files that make the configuration: the settings, the list of terminals, the templates.
func configurationFiles(config configs.Config, path string) (map[string][]byte, error) {
	files := map[string][]byte{}
	read := func(kind, path string) error {
		whole, err := filepath.Abs(path)
		if err != nil {
			return fmt.Errorf("snapshot of %s: %w", path, err)
		}
		content, err := os.ReadFile(whole) //nolint:gosec // the configuration names the file
		if err == nil && len(content) > maxConfigFile {
			err = errors.New("too large")
		}
		if err != nil {
			return fmt.Errorf("snapshot of %s: %w", path, err)
		}
		files[kind+":"+whole] = content
		return nil
	}
	if err := errors.Join(read(kindSettings, path), read(kindList, config.Terminals.File)); err != nil {
		return nil, err
	}
	templates, err := filepath.Glob(filepath.Join(config.Terminals.Templates, "*", "*"+inventory.TemplateSuffix))
	if err != nil {
		return nil, fmt.Errorf("snapshot of templates: %w", err)
	}
	for _, template := range templates {
		if err := read(kindTemplate, template); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// overlay loads the files of a snapshot without touching those in use: in a folder where they lie beside links to
// everything else of the configuration's folder.
func overlay(options configs.Options, files map[string][]byte) (config configs.Config, err error) {
	folder, err := os.MkdirTemp("", "linehall-snapshot-")
	if err != nil {
		return config, fmt.Errorf("snapshot: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	settings, list, templates := filepath.Join(folder, filepath.Base(options.Path)), filepath.Join(folder, ".list.csv"), filepath.Join(folder, ".templates")
	if err := linkAll(filepath.Dir(options.Path), folder, settings); err != nil {
		return config, fmt.Errorf("snapshot: %w", err)
	}
	for name, content := range files {
		kind, path, _ := strings.Cut(name, ":")
		to := map[string]string{
			kindSettings: settings, kindList: list, kindTemplate: filepath.Join(templates, filepath.Base(filepath.Dir(path)), filepath.Base(path)),
		}[kind]
		if to == "" {
			return config, fmt.Errorf("snapshot has an unknown file %q", name)
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, content, 0o600)); err != nil {
			return config, fmt.Errorf("snapshot: %w", err)
		}
	}
	flags := map[string]string{"terminals.file": list, "terminals.templates": templates}
	maps.Copy(flags, options.Flags)
	return configs.Load(configs.Options{Path: settings, Flags: flags})
}

// linkAll puts links to everything in one folder into another, but for one name.
func linkAll(from, into, but string) error {
	home, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(home)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if link := filepath.Join(into, entry.Name()); link != but {
			if err := os.Symlink(filepath.Join(home, entry.Name()), link); err != nil {
				return err
			}
		}
	}
	return nil
}

// restore writes the files of a snapshot where they lay, the settings to where they are now; each at once, and what was
// there is kept beside it.
func restore(options configs.Options, files map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		kind, path, _ := strings.Cut(name, ":")
		if kind == kindSettings {
			path = options.Path
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return fmt.Errorf("restoring: %w", err)
		}
		if err := inventory.Write(path, files[name]); err != nil {
			return err
		}
	}
	return nil
}
