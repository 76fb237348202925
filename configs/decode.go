package configs

import (
	"encoding"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"linehall/internal/setting"
	"linehall/internal/site"
	"linehall/media/record"
	"linehall/sfu/room"
	"linehall/sip/dialplan"
	"linehall/sip/trunk"
)

// elementDefault is what an element of a list, or an optional group, has
// before its keys are read.
func elementDefault(t reflect.Type) reflect.Value {
	switch t {
	case reflect.TypeFor[room.Settings]():
		return reflect.ValueOf(room.DefaultRoom())
	case reflect.TypeFor[site.LineConfig]():
		return reflect.ValueOf(site.DefaultLine())
	case reflect.TypeFor[dialplan.GroupConfig]():
		return reflect.ValueOf(dialplan.DefaultGroup())
	case reflect.TypeFor[record.RuleConfig]():
		return reflect.ValueOf(record.DefaultRule())
	case reflect.TypeFor[trunk.Config]():
		return reflect.ValueOf(trunk.DefaultConfig())
	case reflect.TypeFor[trunk.GatewayConfig]():
		return reflect.ValueOf(trunk.DefaultGateway())
	}
	return reflect.Zero(t)
}

// value decodes node into target, which is addressable.
func (d *document) value(node ast.Node, target reflect.Value, path string) {
	switch n := node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode:
		d.add(position(node), path, "%s is not used here; write the value itself", describe(n))
		return
	case *ast.NullNode:
		d.null(n, target, path)
		return
	}
	if isScalar(target.Type()) {
		d.scalar(node, target, path)
		return
	}
	switch target.Kind() { //nolint:exhaustive // the types of Config have no others; a test walks them all
	case reflect.Struct:
		d.group(node, target, path)
	case reflect.Map:
		d.table(node, target, path)
	case reflect.Slice:
		d.list(node, target, path)
	case reflect.Pointer:
		element := reflect.New(target.Type().Elem())
		element.Elem().Set(elementDefault(target.Type().Elem()))
		d.value(node, element.Elem(), path)
		target.Set(element)
	}
}

// null keeps the defaults of a whole section (its keys may all be commented
// out); for one setting it is a mistake.
func (d *document) null(node ast.Node, target reflect.Value, path string) {
	if isScalar(target.Type()) {
		d.add(position(node), path, "%s has no value; write \"\" for an empty one", last(path))
	}
}

// entries lists the key-value pairs of a mapping.
func entries(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// keyOf returns the text of a key; only plain scalars are keys of ours.
func (d *document) keyOf(entry *ast.MappingValueNode, path string, seen map[string]place) (string, bool) {
	at := position(entry.Key)
	scalar, ok := entry.Key.(ast.ScalarNode)
	if !ok || entry.Key.IsMergeKey() {
		d.add(at, path, "%s cannot be a key", describe(entry.Key))
		return "", false
	}
	key := scalar.GetToken().Value
	if first, taken := seen[key]; taken {
		d.add(at, setting.Join(path, key), "key %q is there already at line %d column %d", key, first.line, first.column)
		return "", false
	}
	seen[key] = at
	return key, true
}

// group decodes a struct: only its own keys, each once.
func (d *document) group(node ast.Node, target reflect.Value, path string) {
	pairs, ok := entries(node)
	if !ok {
		d.add(position(node), path, "%s wants a group of keys, not %s", name(path), describe(node))
		return
	}
	fields := map[string]reflect.Value{}
	for i := range target.NumField() {
		if tag := target.Type().Field(i).Tag.Get("yaml"); tag != "" {
			fields[tag] = target.Field(i)
		}
	}
	seen := map[string]place{}
	for _, entry := range pairs {
		key, ok := d.keyOf(entry, path, seen)
		if !ok {
			continue
		}
		d.mark(setting.Join(path, key), entry)
		if field, known := fields[key]; known {
			d.value(entry.Value, field, setting.Join(path, key))
			continue
		}
		if base, isFile := strings.CutSuffix(key, fileSuffix); isFile && fields[base].IsValid() && fields[base].Type() == secretType {
			d.secretFile(entry.Value, fields[base], setting.Join(path, key), seen[base])
			continue
		}
		valid := keyNames(target.Type())
		d.add(position(entry.Key), setting.Join(path, key), "unknown key %q%s%s", key, inside(path), setting.Hint(key, valid))
	}
}

// mark remembers where a setting is: a scalar by its value, a section by its
// key.
func (d *document) mark(path string, entry *ast.MappingValueNode) {
	if _, ok := entry.Value.(ast.ScalarNode); ok {
		if at := position(entry.Value); at.line > 0 {
			d.at[path] = at
			return
		}
	}
	d.at[path] = position(entry.Key)
}

// table decodes a map whose keys the operator chooses.
func (d *document) table(node ast.Node, target reflect.Value, path string) {
	pairs, ok := entries(node)
	if !ok {
		d.add(position(node), path, "%s wants a group of keys, not %s", name(path), describe(node))
		return
	}
	result, seen := reflect.MakeMap(target.Type()), map[string]place{}
	for _, entry := range pairs {
		key, ok := d.keyOf(entry, path, seen)
		if !ok {
			continue
		}
		d.mark(setting.Join(path, key), entry)
		element := reflect.New(target.Type().Elem()).Elem()
		element.Set(elementDefault(target.Type().Elem()))
		d.value(entry.Value, element, setting.Join(path, key))
		result.SetMapIndex(reflect.ValueOf(key).Convert(target.Type().Key()), element)
	}
	target.Set(result)
}

func (d *document) list(node ast.Node, target reflect.Value, path string) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		d.add(position(node), path, "%s wants a list, not %s", name(path), describe(node))
		return
	}
	result := reflect.MakeSlice(target.Type(), 0, len(sequence.Values))
	for i, item := range sequence.Values {
		at := setting.Index(path, i)
		d.at[at] = position(item)
		element := reflect.New(target.Type().Elem()).Elem()
		element.Set(elementDefault(target.Type().Elem()))
		if _, empty := item.(*ast.NullNode); empty {
			d.add(position(item), at, "an empty entry")
		} else {
			d.value(item, element, at)
		}
		result = reflect.Append(result, element)
	}
	target.Set(result)
}

func (d *document) scalar(node ast.Node, target reflect.Value, path string) {
	text, quoted, ok := scalarText(node)
	if !ok {
		d.add(position(node), path, "%s wants %s, not %s", name(path), wanted(target.Type()), describe(node))
		return
	}
	if isText(target.Type()) && !quoted {
		d.add(position(node), path, "%s wants text, not %s; write \"%s\" in quotes", name(path), text, text)
		return
	}
	if !isText(target.Type()) && target.Kind() != reflect.String && quoted && isNative(target.Type()) {
		d.add(position(node), path, "%s wants %s, not %q", name(path), wanted(target.Type()), text)
		return
	}
	if message := setScalar(target, text); message != "" {
		d.add(position(node), path, "%s", message)
		return
	}
	if !strings.Contains(path, "[") {
		d.leaves[path] = text
	}
}

// scalarText returns the text of a scalar as it was written, and whether YAML
// takes it for text.
func scalarText(node ast.Node) (text string, isString, ok bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true, true
	case *ast.LiteralNode:
		return n.Value.Value, true, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, false, true
	}
	return "", false, false
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isScalar reports whether a setting of type t is one value.
func isScalar(t reflect.Type) bool {
	switch t.Kind() { //nolint:exhaustive // the others are not scalars
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		return true
	}
	return reflect.PointerTo(t).Implements(textType)
}

// isText reports whether t is plain text, which must not be written as a
// number: YAML would take 010 for eight.
func isText(t reflect.Type) bool {
	return t == secretType || (t.Kind() == reflect.String && !reflect.PointerTo(t).Implements(textType))
}

// isNative reports whether YAML itself has the type: numbers and truth.
func isNative(t reflect.Type) bool {
	return t != durationType && !reflect.PointerTo(t).Implements(textType) && t.Kind() != reflect.String
}

func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a time like 30s, 15m or 12h"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case isNative(t):
		return "a whole number"
	}
	return "text"
}

// setScalar reads text into target; the result is what is wrong, or "".
func setScalar(target reflect.Value, text string) string {
	if unmarshaler, ok := reflect.TypeAssert[encoding.TextUnmarshaler](target.Addr()); ok {
		if err := unmarshaler.UnmarshalText([]byte(text)); err != nil {
			return cleanError(target.Type(), text, err)
		}
		return ""
	}
	switch {
	case target.Type() == durationType:
		duration, err := time.ParseDuration(text)
		if err != nil || duration < 0 {
			return strconv.Quote(text) + " is no time; write it like 30s, 15m or 12h"
		}
		target.SetInt(int64(duration))
	case target.Kind() == reflect.String:
		target.SetString(text)
	case target.Kind() == reflect.Bool:
		value, err := strconv.ParseBool(text)
		if err != nil || (text != "true" && text != "false") {
			return strconv.Quote(text) + " is neither true nor false"
		}
		target.SetBool(value)
	default:
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil || value > math.MaxInt32 || value < math.MinInt32 {
			return strconv.Quote(text) + " is no whole number"
		}
		target.SetInt(value)
	}
	return ""
}

// cleanError words the errors of types that are not ours.
func cleanError(t reflect.Type, text string, err error) string {
	if t.PkgPath() == "net/netip" {
		return strconv.Quote(text) + " is no subnet; write it like 10.1.0.0/24"
	}
	return err.Error()
}

// name is how messages call the setting at path.
func name(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

func inside(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}

// last is the last part of a path.
func last(path string) string { return path[strings.LastIndex(path, ".")+1:] }
