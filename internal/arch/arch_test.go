package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"linehall/internal/arch"
)

// source is one Go file of the tree.
type source struct {
	file    string // relative to the root
	pkg     string // import path
	test    bool
	imports []string
	doc     string
}

func tree(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var out []source
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || slices.Contains([]string{"testdata", "node_modules", "vendor", "bin", "data"}, name)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		out = append(out, source{
			file: rel, pkg: path.Join(arch.Module, path.Dir(rel)), test: strings.HasSuffix(name, "_test.go"),
			imports: imports(t, parsed), doc: parsed.Doc.Text(),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("only %d files found: the walk is wrong", len(out))
	}
	return out
}

func imports(t *testing.T, f *ast.File) []string {
	t.Helper()
	out := make([]string, 0, len(f.Imports))
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestNoArrowRunsUp(t *testing.T) {
	for _, s := range tree(t) {
		for _, i := range s.imports {
			if wrong := arch.Check(s.pkg, i, s.test); wrong != "" {
				t.Errorf("%s: %s", s.file, wrong)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsOnce(t *testing.T) {
	type pkg struct {
		files, docs []string
	}
	code, tests := map[string]*pkg{}, map[string]*pkg{}
	for _, s := range tree(t) {
		m := code
		if s.test {
			m = tests
		}
		if m[s.pkg] == nil {
			m[s.pkg] = &pkg{}
		}
		m[s.pkg].files = append(m[s.pkg].files, s.file)
		if strings.TrimSpace(s.doc) != "" {
			m[s.pkg].docs = append(m[s.pkg].docs, s.file)
		}
	}
	for name, p := range code {
		if len(p.docs) != 1 {
			t.Errorf("%s has %d package doc comments %v, want one", name, len(p.docs), p.docs)
		}
		if p := tests[name]; p != nil && len(p.docs) > 0 {
			t.Errorf("%s: package doc comment in a test file: %v", name, p.docs)
		}
	}
	for name, p := range tests {
		if code[name] == nil && len(p.docs) != 1 {
			t.Errorf("%s has tests only and %d package doc comments %v, want one", name, len(p.docs), p.docs)
		}
	}
}

func TestPackageNamesSayWhatTheyHold(t *testing.T) {
	for _, s := range tree(t) {
		if base := path.Base(s.pkg); slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "base", "misc"}, base) {
			t.Errorf("%s: a package named %s holds everything and nothing; put it with its only user", s.file, base)
		}
	}
}

func TestCheckKnowsTheArrows(t *testing.T) {
	tests := []struct {
		from, to string
		test     bool
		allowed  bool
	}{
		{"linehall/cmd/linehall", "linehall/sip/stack", false, true},
		{"linehall/cmd/linehall", "linehall/configs", false, true},
		{"linehall/cmd/linehall", "linehall/cmd/linesim/phone", false, false},
		{"linehall/cmd/linesim", "linehall/cmd/linesim/phone", false, true},
		{"linehall/cmd/linesim/phone", "linehall/internal/observe", false, false},
		{"linehall/cmd/linesim/phone", "github.com/emiago/sipgo", false, true},
		{"linehall/configs", "linehall/sfu", false, true},
		{"linehall/configs", "linehall/cmd/linehall", false, false},
		{"linehall/sip/call", "linehall/media/anchor", false, true},
		{"linehall/sip/call", "linehall/sip/stack", false, true},
		{"linehall/sip/call", "linehall/sfu/room", false, false},
		{"linehall/sip/call", "linehall/web/api", true, false},
		{"linehall/sip/call", "linehall/configs", false, false},
		{"linehall/sip/call", "github.com/emiago/sipgo/sip", false, true},
		{"linehall/sip/call", "github.com/emiago/sipgo", false, false},
		{"linehall/sip/call", "github.com/emiago/sipgo", true, true},
		{"linehall/sip/stack", "github.com/emiago/sipgo", false, true},
		{"linehall/sip/location", "modernc.org/sqlite", false, false},
		{"linehall/sfu/room", "linehall/media/line", false, true},
		{"linehall/sfu", "linehall/sip", false, false},
		{"linehall/provisioning/serve", "linehall/internal/site", false, true},
		{"linehall/provisioning/serve", "linehall/media/line", false, false},
		{"linehall/web/api", "linehall/web/session", false, true},
		{"linehall/web/api", "linehall/sip/call", false, false},
		{"linehall/web/api", "linehall/media/line", false, false},
		{"linehall/media/line", "linehall/internal/site", false, true},
		{"linehall/media/line", "linehall/sip/stack", false, false},
		{"linehall/media/sdp", "github.com/emiago/sipgo/sip", false, false},
		{"linehall/internal/auth", "linehall/internal/database", false, true},
		{"linehall/internal/auth", "linehall/media/line", false, false},
		{"linehall/internal/auth", "linehall/web/session", false, false},
		{"linehall/internal/database", "modernc.org/sqlite", false, true},
		{"linehall/sipx", "linehall/sfu", false, true}, // a path covers folders, not prefixes of names
		{"linehall/sip/call", "github.com/stretchr/testify/require", true, false},
	}
	for _, tc := range tests {
		if wrong := arch.Check(tc.from, tc.to, tc.test); (wrong == "") != tc.allowed {
			t.Errorf("%s -> %s (test %v): allowed %v, want %v %s", tc.from, tc.to, tc.test, wrong == "", tc.allowed, wrong)
		}
	}
}
