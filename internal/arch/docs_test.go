package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Documents that lie are worse than none: these tests hold them to the tree. Links must lead somewhere, a function named
// in the architecture must exist in the file it is linked to, decisions have one number each, and an alert or a runbook
// may only name metrics that the appliance exports.

var root = filepath.Join("..", "..")

// skipped are folders that are not the project's text.
var skipped = []string{"node_modules", "vendor", "bin", "data", "dist", "testdata"}

// files lists the files of the tree with that suffix, relative to the root.
func files(t *testing.T, suffix string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != root && (strings.HasPrefix(name, ".") || slices.Contains(skipped, name)) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, suffix) {
			rel, err := filepath.Rel(root, file)
			if err != nil {
				return err
			}
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("no %s file found: the walk is wrong", suffix)
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// link is one relative link of a document.
type link struct {
	at       string // document:line
	file     string // relative to the root
	fragment string
}

var (
	inlineLink = regexp.MustCompile(`\]\(<?([^()<>\s]+(?:\([^()\s]*\)[^()<>\s]*)?)>?(?:\s+"[^"]*")?\)`)
	namedLink  = regexp.MustCompile(`(?m)^\s{0,3}\[[^\]]+\]:\s*<?([^<>\s]+)>?`)
	codeSpan   = regexp.MustCompile("`[^`\n]*`")
)

// links finds the relative links of a document; code is no text, and neither are fenced blocks.
func links(t *testing.T, file string) []link {
	t.Helper()
	var out []link
	fenced := false
	for number, line := range strings.Split(read(t, file), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if fenced {
			continue
		}
		// A code span inside the text of a link must not hide the link: only its content goes.
		line = codeSpan.ReplaceAllString(line, "code")
		for _, pattern := range []*regexp.Regexp{inlineLink, namedLink} {
			for _, m := range pattern.FindAllStringSubmatch(line, -1) {
				target := m[1]
				if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
					continue
				}
				name, fragment, _ := strings.Cut(target, "#")
				l := link{at: file + ":" + strconv.Itoa(number+1), file: file, fragment: fragment}
				if name != "" {
					l.file = filepath.ToSlash(filepath.Join(filepath.Dir(file), filepath.FromSlash(name)))
				}
				out = append(out, l)
			}
		}
	}
	return out
}

func TestEveryRelativeLinkLeadsSomewhere(t *testing.T) {
	for _, file := range files(t, ".md") {
		for _, l := range links(t, file) {
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(l.file))); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", l.at, l.file)
				continue
			}
			if strings.HasSuffix(l.file, ".md") && l.fragment != "" && !slices.Contains(headings(read(t, l.file)), l.fragment) {
				t.Errorf("%s: %s has no heading #%s", l.at, l.file, l.fragment)
			}
		}
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)

// headings are the anchors of a document's headings, as code hosts make them.
func headings(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		anchor := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
		out = append(out, strings.ReplaceAll(anchor, " ", "-"))
	}
	return out
}

// goReference is `path/file.go:Name` in running text.
var goReference = regexp.MustCompile("`([a-zA-Z0-9_./-]+\\.go):([A-Za-z_][A-Za-z0-9_.]*)`")

func TestTheArchitectureNamesWhatExists(t *testing.T) {
	const document = "docs/architecture.md"
	check := func(at, file, name string) {
		if !slices.Contains(declarations(t, file), name) {
			t.Errorf("%s: %s declares no %s%s", at, file, name, moved(t, file, name))
		}
	}
	seen := 0
	for _, l := range links(t, document) {
		if strings.HasSuffix(l.file, ".go") && l.fragment != "" {
			seen++
			check(l.at, l.file, l.fragment)
		}
	}
	for _, m := range goReference.FindAllStringSubmatch(read(t, document), -1) {
		seen++
		check(document, m[1], m[2])
	}
	if seen < 40 {
		t.Errorf("%s links to %d functions only: four lives have more steps, or the test does not see them", document, seen)
	}
}

// moved says in which other file of the package a name is declared.
func moved(t *testing.T, file, name string) string {
	t.Helper()
	others, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(filepath.Dir(file)), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range others {
		rel, err := filepath.Rel(root, other)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(declarations(t, filepath.ToSlash(rel)), name) {
			return "; it is in " + filepath.ToSlash(rel) + " now"
		}
	}
	return ""
}

// declarations are a file's identifiers: functions, types, constants and variables by name, methods as Type.Method. A
// file that is not there or cannot be read declares nothing.
func declarations(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, filepath.FromSlash(file)), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Errorf("%s: %v", file, err)
		return nil
	}
	var out []string
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			out = append(out, receiver(d)+d.Name.Name)
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					out = append(out, s.Name.Name)
				case *ast.ValueSpec:
					for _, n := range s.Names {
						out = append(out, n.Name)
					}
				}
			}
		}
	}
	return out
}

func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	kind := d.Recv.List[0].Type
	for {
		switch k := kind.(type) {
		case *ast.StarExpr:
			kind = k.X
		case *ast.IndexExpr:
			kind = k.X
		case *ast.Ident:
			return k.Name + "."
		default:
			return ""
		}
	}
}

var decisionName = regexp.MustCompile(`^docs/decisions/(\d{4})-[a-z0-9-]+\.md$`)

func TestDecisionsHaveOneNumberEach(t *testing.T) {
	numbers := map[string]string{}
	for _, file := range files(t, ".md") {
		if filepath.ToSlash(filepath.Dir(file)) != "docs/decisions" || filepath.Base(file) == "README.md" {
			continue
		}
		m := decisionName.FindStringSubmatch(file)
		if m == nil {
			t.Errorf("%s: a decision is called NNNN-what-it-is.md", file)
			continue
		}
		if other, taken := numbers[m[1]]; taken {
			t.Errorf("%s and %s have the same number", other, file)
		}
		numbers[m[1]] = file
		if !strings.HasPrefix(read(t, file), "# "+m[1]) {
			t.Errorf("%s: the title begins with another number", file)
		}
	}
}

var metric = regexp.MustCompile(`\blinehall_[a-z0-9_]+\b`)

func TestAlertsAndRunbooksNameMetricsThatExist(t *testing.T) {
	exists := metricNames(t)
	for _, file := range append(files(t, ".yml"), files(t, ".md")...) {
		dir := filepath.ToSlash(filepath.Dir(file))
		if dir != "deploy/prometheus" && dir != "docs/runbooks" && file != "docs/architecture.md" && file != "docs/roadmap.md" {
			continue
		}
		for _, name := range metric.FindAllString(read(t, file), -1) {
			if !exists(name) {
				t.Errorf("%s: the appliance exports no %s", file, name)
			}
		}
	}
}

// metricNames knows the metrics of the appliance by its string literals. A family may be put together of a prefix that
// ends in an underscore and its last part; a histogram's series have suffixes.
func metricNames(t *testing.T) func(name string) bool {
	t.Helper()
	literals := map[string]bool{}
	for _, file := range files(t, ".go") {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "cmd/linesim/") || strings.HasPrefix(file, "test/") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, filepath.FromSlash(file)), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if text, err := strconv.Unquote(l.Value); err == nil {
					literals[text] = true
				}
			}
			return true
		})
	}
	known := func(name string) bool {
		if literals[name] {
			return true
		}
		for i, c := range name {
			if c == '_' && i > len("linehall_") && literals[name[:i+1]] && literals[name[i+1:]] {
				return true
			}
		}
		return false
	}
	return func(name string) bool {
		if known(name) {
			return true
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && known(base) {
				return true
			}
		}
		return false
	}
}
