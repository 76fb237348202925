package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const conformance = "docs/sip-conformance.md"

// testName is how a row of the conformance table names a test: folder, dot, function, and maybe one of its subtests.
var testName = regexp.MustCompile("`([a-z0-9_/]+)\\.((?:Test|Fuzz|Benchmark)[A-Za-z0-9_]*)(?:/[^`]*)?`")

// A claim of conformance names the test behind it, and that test is there.
func TestEveryConformanceRowHasItsTest(t *testing.T) {
	known := map[string]map[string]bool{}
	rows := 0
	for number, line := range strings.Split(read(t, conformance), "\n") {
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| what |") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.ReplaceAll(line, `\|`, "/"), "|"), "|")
		if len(cells) != 4 {
			t.Errorf("%s:%d: %d columns, want 4", conformance, number+1, len(cells))
			continue
		}
		named := testName.FindAllStringSubmatch(cells[3], -1)
		if len(named) == 0 {
			t.Errorf("%s:%d: no test is named: %s", conformance, number+1, strings.TrimSpace(cells[0]))
		}
		for _, m := range named {
			folder, function := m[1], m[2]
			if known[folder] == nil {
				known[folder] = testsIn(t, folder)
			}
			if !known[folder][function] {
				t.Errorf("%s:%d: there is no %s in %s", conformance, number+1, function, folder)
			}
		}
	}
	if rows == 0 {
		t.Logf("%s has no rows", conformance)
	}
}

// testsIn lists the test, fuzz and benchmark functions of a folder.
func testsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	dir := filepath.Join(root, filepath.FromSlash(folder))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Errorf("%s: %v", conformance, err)
		return found
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, entry.Name()), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				found[f.Name.Name] = true
			}
		}
	}
	return found
}
