package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// A page is one HTML file of the bundle: its template under src/html and the entry point that it starts.
type page struct {
	template string
	name     string
	entry    string
}

func pages() []page {
	return []page{
		{template: "index.html", name: "console", entry: "src/console/main.tsx"},
		{template: "room.html", name: "room", entry: "src/room/main.tsx"},
		{template: "chair.html", name: "chair", entry: "src/chair/main.tsx"},
	}
}

// bootEntry runs before the first paint (colour scheme and language), so it is a classic script and stands alone.
const bootEntry = "src/boot.ts"

// metafile is the part of esbuild's report that names what an entry point became and which packages went in.
type metafile struct {
	Inputs  map[string]struct{} `json:"inputs"`
	Outputs map[string]struct {
		EntryPoint string `json:"entryPoint"`
		CSSBundle  string `json:"cssBundle"`
		Imports    []struct {
			Path string `json:"path"`
			Kind string `json:"kind"`
		} `json:"imports"`
	} `json:"outputs"`
}

// bundle returns every file of the distribution by its path under dist.
func bundle(root string) (map[string][]byte, error) {
	files := make(map[string][]byte)
	entries := make([]api.EntryPoint, 0, len(pages()))
	for _, p := range pages() {
		entries = append(entries, api.EntryPoint{InputPath: p.entry, OutputPath: p.name})
	}
	modules, err := build(root, entries, files, func(o *api.BuildOptions) {
		o.Splitting = true
		o.Format = api.FormatESModule
	})
	if err != nil {
		return nil, err
	}
	boot, err := build(root, []api.EntryPoint{{InputPath: bootEntry, OutputPath: "boot"}}, files, func(o *api.BuildOptions) { o.Format = api.FormatIIFE })
	if err != nil {
		return nil, err
	}
	for _, p := range pages() {
		html, err := fill(root, p, modules, boot)
		if err != nil {
			return nil, err
		}
		files[p.template] = html
	}
	icon, err := os.ReadFile(filepath.Join(root, "src", "html", "favicon.svg"))
	if err != nil {
		return nil, fmt.Errorf("icon of the pages: %w", err)
	}
	files["favicon.svg"] = icon
	notices, err := licences(root, modules, boot)
	if err != nil {
		return nil, err
	}
	files["licenses.txt"] = notices
	return files, nil
}

func build(root string, entries []api.EntryPoint, into map[string][]byte, shape func(*api.BuildOptions)) (metafile, error) {
	options := api.BuildOptions{
		AbsWorkingDir: root, EntryPointsAdvanced: entries, Outdir: "dist/assets", Bundle: true, Write: false, Metafile: true,
		EntryNames: "[name]-[hash]", ChunkNames: "part-[hash]", AssetNames: "[name]-[hash]",
		MinifySyntax: true, MinifyWhitespace: true, MinifyIdentifiers: true, Target: api.ES2022, Charset: api.CharsetUTF8,
		JSX: api.JSXAutomatic, JSXImportSource: "preact", LegalComments: api.LegalCommentsNone, LogLevel: api.LogLevelSilent,
		Outbase: "src", TsconfigRaw: `{"compilerOptions":{"jsx":"react-jsx","jsxImportSource":"preact"}}`,
		Define: map[string]string{"process.env.NODE_ENV": `"production"`},
	}
	shape(&options)
	result := api.Build(options)
	if len(result.Errors) > 0 {
		messages := api.FormatMessages(result.Errors, api.FormatMessagesOptions{Kind: api.ErrorMessage})
		return metafile{}, errors.New(strings.TrimSpace(strings.Join(messages, "")))
	}
	for _, file := range result.OutputFiles {
		name, err := filepath.Rel(filepath.Join(root, "dist"), file.Path)
		if err != nil {
			return metafile{}, fmt.Errorf("name of an output: %w", err)
		}
		into[filepath.ToSlash(name)] = file.Contents
	}
	var report metafile
	if err := json.Unmarshal([]byte(result.Metafile), &report); err != nil {
		return metafile{}, fmt.Errorf("report of the bundler: %w", err)
	}
	return report, nil
}

// fill puts the hashed names into a page's template.
func fill(root string, p page, modules, boot metafile) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(root, "src", "html", p.template))
	if err != nil {
		return nil, fmt.Errorf("template of a page: %w", err)
	}
	script, style, shared := modules.entry(p.entry)
	bootScript, _, _ := boot.entry(bootEntry)
	if script == "" || style == "" || bootScript == "" {
		return nil, fmt.Errorf("%s: the bundle lacks its script or its style sheet", p.template)
	}
	var preload strings.Builder
	for _, s := range shared {
		fmt.Fprintf(&preload, "<link rel=\"modulepreload\" href=\"%s\">\n", s)
	}
	return []byte(strings.NewReplacer(
		"{{boot}}", bootScript, "{{script}}", script, "{{style}}", style, "{{preload}}\n", preload.String(),
	).Replace(string(raw))), nil
}

// entry returns the public paths of an entry point's script and style sheet, and of the parts that it imports at once.
func (m metafile) entry(source string) (script, style string, shared []string) {
	public := func(name string) string { return "/" + path.Clean(strings.TrimPrefix(name, "dist/")) }
	for name, out := range m.Outputs {
		if out.EntryPoint != source || !strings.HasSuffix(name, ".js") {
			continue
		}
		script = public(name)
		if out.CSSBundle != "" {
			style = public(out.CSSBundle)
		}
		for _, imported := range out.Imports {
			if imported.Kind == "import-statement" {
				shared = append(shared, public(imported.Path))
			}
		}
	}
	slices.Sort(shared)
	return script, style, shared
}

// licences collects the licence texts of the packages that went into the bundle.
func licences(root string, reports ...metafile) ([]byte, error) {
	packages := make(map[string]bool)
	for _, report := range reports {
		for input := range report.Inputs {
			rest, found := strings.CutPrefix(input, "node_modules/")
			if !found {
				continue
			}
			parts := strings.SplitN(rest, "/", 3)
			name := parts[0]
			if strings.HasPrefix(name, "@") && len(parts) > 1 {
				name += "/" + parts[1]
			}
			packages[name] = true
		}
	}
	var text strings.Builder
	text.WriteString("The pages contain code of these packages.\n")
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		licence, err := os.ReadFile(filepath.Join(root, "node_modules", filepath.FromSlash(name), "LICENSE"))
		if err != nil {
			return nil, fmt.Errorf("licence of %s: %w", name, err)
		}
		fmt.Fprintf(&text, "\n== %s\n\n%s\n", name, strings.TrimSpace(string(licence)))
	}
	return []byte(text.String()), nil
}
