package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// compare reports every file of dist that differs from what the sources give, is missing or is left over.
func compare(dist string, wanted map[string][]byte) error {
	have, err := read(dist)
	if err != nil {
		return err
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		switch content, found := have[name]; {
		case !found:
			problems = append(problems, fmt.Errorf("dist/%s is missing", name))
		case !bytes.Equal(content, wanted[name]):
			problems = append(problems, fmt.Errorf("dist/%s differs from its sources", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if _, found := wanted[name]; !found {
			problems = append(problems, fmt.Errorf("dist/%s is left over", name))
		}
	}
	if len(problems) > 0 {
		return errors.Join(append(problems, errors.New("run `go run ./web/build` and commit web/dist"))...)
	}
	return nil
}

// write replaces dist by the given files.
func write(dist string, files map[string][]byte) error {
	have, err := read(dist)
	if err != nil {
		return err
	}
	for name := range have {
		if _, keep := files[name]; keep {
			continue
		}
		if err := os.Remove(filepath.Join(dist, filepath.FromSlash(name))); err != nil {
			return fmt.Errorf("old file of the bundle: %w", err)
		}
	}
	for name, content := range files {
		file := filepath.Join(dist, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // committed files that everybody may read
			return fmt.Errorf("folder of the bundle: %w", err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil { //nolint:gosec // committed files that everybody may read
			return fmt.Errorf("file of the bundle: %w", err)
		}
	}
	return nil
}

func read(dist string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	err := filepath.WalkDir(dist, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name) //nolint:gosec // a path below the folder that was asked for
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dist, name)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(rel)] = content
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	return files, nil
}
