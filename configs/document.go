package configs

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"linehall/internal/setting"
)

const (
	maxFile  = 4 << 20 // bytes; the demo has 8 KiB
	maxDepth = 24      // of nesting; our own deepest key has 5
)

// place is a position in the file.
type place struct{ line, column int }

// document decodes one YAML file into a Config and remembers where every key
// stood.
type document struct {
	file     string
	problems []Problem
	at       map[string]place  // path of a setting -> where it is
	failed   map[string]bool   // paths that have a problem already
	leaves   map[string]string // scalar settings outside lists, as written
}

func newDocument(file string) *document {
	return &document{file: file, at: map[string]place{}, failed: map[string]bool{}, leaves: map[string]string{}}
}

func (d *document) add(at place, path, format string, args ...any) {
	d.failed[path] = true
	d.problems = append(d.problems, Problem{d.file, max(at.line, 1), max(at.column, 1), fmt.Sprintf(format, args...)})
}

// complain adds a complaint about the setting at path, unless decoding failed
// there: what could not be read is not judged a second time.
func (d *document) complain(path, message string) {
	for p := path; p != ""; p = parent(p) {
		if d.failed[p] {
			return
		}
	}
	at := d.find(path)
	d.problems = append(d.problems, Problem{d.file, max(at.line, 1), max(at.column, 1), message})
}

// find returns where the setting is, or what is around it.
func (d *document) find(path string) place { return findPlace(d.at, path) }

// findPlace looks for the path, then for the nearest one around it.
func findPlace(places map[string]place, path string) place {
	for p := path; p != ""; p = parent(p) {
		if at, ok := places[p]; ok {
			return at
		}
	}
	return place{1, 1}
}

// Place says where a setting stands, as FILE:LINE; "" when the file does not
// say it and the default holds.
func (c Config) Place(path string) string {
	if at, ok := c.places[path]; ok {
		return fmt.Sprintf("%s:%d", c.path, at.line)
	}
	return ""
}

// parent of "sites[1].line.up" is "sites[1].line", then "sites[1]", "sites".
func parent(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

// decode parses content and fills target. What is not mentioned keeps its
// value.
func (d *document) decode(content []byte, target *Config) {
	content = bytes.ReplaceAll(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), []byte("\r\n"), []byte("\n"))
	switch {
	case len(content) > maxFile:
		d.add(place{}, "", "the file is larger than %d MiB", maxFile>>20)
		return
	case !utf8.Valid(content):
		d.add(place{}, "", "the file is not UTF-8")
		return
	}
	if at, deep := tooDeep(content); deep {
		d.add(at, "", "more than %d brackets inside each other", maxDepth)
		return
	}
	file, err := parse(content)
	if err != nil {
		d.syntax(err)
		return
	}
	for i, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if i > 0 {
			d.add(position(doc.Body), "", "only one document per file; remove the \"---\" before this")
			return
		}
		d.value(doc.Body, reflect.ValueOf(target).Elem(), "")
	}
}

// parse guards against a parser that panics on odd input: the file is the
// operator's, and check must answer.
func parse(content []byte) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the file cannot be read as YAML: %v", r)
		}
	}()
	return parser.ParseBytes(content, 0, parser.AllowDuplicateMapKey())
}

func (d *document) syntax(err error) {
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) && syntax.Token != nil && syntax.Token.Position != nil {
		at := syntax.Token.Position
		d.add(place{at.Line, at.Column}, "", "no YAML here: %s", syntax.Message)
		return
	}
	d.add(place{}, "", "no YAML: %s", strings.SplitN(err.Error(), "\n", 2)[0])
}

// tooDeep bounds recursion of the parser and of ours.
func tooDeep(content []byte) (place, bool) {
	at, depth := place{1, 0}, 0
	for _, c := range string(content) {
		at.column++
		switch c {
		case '\n':
			at = place{at.line + 1, 0}
		case '[', '{':
			if depth++; depth > maxDepth {
				return at, true
			}
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	return place{}, false
}

// position is where the node's text begins.
func position(node ast.Node) place {
	switch n := node.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return position(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(n.Key)
	}
	token := node.GetToken()
	if token == nil || token.Position == nil {
		return place{}
	}
	return place{token.Position.Line, token.Position.Column}
}

// describe names what a node is, for "wants a list, not ...".
func describe(node ast.Node) string {
	switch n := node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a group of keys"
	case *ast.SequenceNode:
		return "a list"
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value
	case *ast.StringNode:
		return fmt.Sprintf("%q", n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias"
	case *ast.TagNode:
		return "a tag"
	}
	return "this"
}

// keyNames lists the YAML keys of a struct, "_file" companions included.
func keyNames(t reflect.Type) []string {
	var names []string
	for field := range t.Fields() {
		name := field.Tag.Get("yaml")
		if name == "" {
			continue
		}
		names = append(names, name)
		if field.Type == secretType {
			names = append(names, name+fileSuffix)
		}
	}
	return names
}

// fileSuffix makes the key that names a file with the secret in it.
const fileSuffix = "_file"

var secretType = reflect.TypeFor[setting.Secret]()
