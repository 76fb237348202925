package configs

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"linehall/internal/observe"
	"linehall/internal/setting"
	"linehall/internal/site"
	"linehall/provisioning/inventory"
	"linehall/sip/dialplan"
	"linehall/sip/trunk"
)

var update = flag.Bool("update", false, "rewrite generated files")

const schemaFile = "linehall.schema.json"

func TestSchemaIsFresh(t *testing.T) {
	made := makeSchema(t)
	if *update {
		if err := os.WriteFile(schemaFile, made, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), string(made)); diff != "" {
		t.Errorf("%s is not what the Go types say; run go generate ./configs (-committed +generated):\n%s", schemaFile, diff)
	}
	demo, err := os.ReadFile("linehall.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if first, _, _ := bytes.Cut(demo, []byte("\n")); string(first) != "# yaml-language-server: $schema="+schemaFile {
		t.Errorf("the first line of linehall.yaml is %q", first)
	}
}

// makeSchema generates the JSON schema of linehall.yaml from the Go types and
// their comments.
func makeSchema(t *testing.T) []byte {
	t.Helper()
	r := &jsonschema.Reflector{
		FieldNameTag: "yaml", Anonymous: true, DoNotReference: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: true,
		Namer:  func(t reflect.Type) string { return t.String() }, // every domain has a type called Config
		Mapper: scalarSchema, AdditionalFields: secretFiles,
	}
	for _, folder := range []string{
		"configs", "internal/site", "internal/observe", "internal/auth", "media/relay", "provisioning/inventory", "sfu/room", "sip/dialplan", "sip/trunk",
	} {
		// The library joins both to get the import path.
		if err := r.AddGoComments("linehall/configs", filepath.Join("..", folder)); err != nil {
			t.Fatal(err)
		}
	}
	schema := r.Reflect(Config{})
	schema.Title = "linehall.yaml"
	describe := map[string][]string{
		"appliance.language":       Languages(),
		"observability.log.format": observe.LogFormats(),
		"observability.log.level":  observe.LogLevels(),
		"terminals.transport":      inventory.Transports(),
		"terminals.srtp":           inventory.SRTPModes(),
		"sites.line.overhead":      site.Overheads(),
		"sites.srtp":               append([]string{""}, site.SRTPModes()...),

		"dialplan.groups.strategy":  dialplan.Strategies(),
		"dialplan.rules.class":      append([]string{""}, dialplan.RuleTolls()...),
		"trunks.format":             dialplan.Formats(),
		"trunks.gateways.transport": append([]string{""}, trunk.Transports()...),
		"trunks.srtp":               trunk.SRTPModes(),
	}
	refine(schema, reflect.ValueOf(Default()), "", describe)
	features := property(t, schema, "dialplan", "features")
	features.AdditionalProperties = &jsonschema.Schema{Type: "string"}
	features.PropertyNames = &jsonschema.Schema{Enum: anys(dialplan.FeatureNames())}
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func property(t *testing.T, schema *jsonschema.Schema, path ...string) *jsonschema.Schema {
	t.Helper()
	for _, key := range path {
		inner, ok := schema.Properties.Get(key)
		if !ok {
			t.Fatalf("the schema has no %s", strings.Join(path, "."))
		}
		schema = inner
	}
	return schema
}

// scalarSchema describes the types that are written as text.
func scalarSchema(t reflect.Type) *jsonschema.Schema {
	text := func(pattern string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: pattern} }
	switch t {
	case reflect.TypeFor[setting.Rate]():
		return text(`^[0-9.]+ ?([kK]|[mM]|[gG])?bps$`)
	case reflect.TypeFor[setting.Share]():
		return text(`^[0-9.]+ ?%$`)
	case reflect.TypeFor[site.Floor]():
		return text(`^(auto|[0-9.]+ ?%)$`)
	case reflect.TypeFor[setting.Ports]():
		return text(`^[0-9]+ ?- ?[0-9]+$`)
	case reflect.TypeFor[setting.Address]():
		return text(`^$|:[0-9]+$`)
	case reflect.TypeFor[time.Duration]():
		return text(`^([0-9.]+(ms|s|m|h))+$`)
	case reflect.TypeFor[dialplan.Days]():
		return text(`^([a-z]{3,9}( ?[-,] ?[a-z]{3,9})*)?$`)
	case reflect.TypeFor[dialplan.Clock]():
		return text(`^[0-9]{1,2}:[0-9]{2}$`)
	case reflect.TypeFor[dialplan.Dates]():
		return text(`^[0-9]{4}-[0-9]{2}-[0-9]{2}(\.\.[0-9]{4}-[0-9]{2}-[0-9]{2})?$`)
	case reflect.TypeFor[netip.Prefix]():
		return text(`/[0-9]+$`)
	case secretType:
		return text("")
	}
	return nil
}

// secretFiles adds the "_file" companion of every secret key.
func secretFiles(t reflect.Type) []reflect.StructField {
	if t.Kind() != reflect.Struct {
		return nil
	}
	var added []reflect.StructField
	for f := range t.Fields() {
		if f.Type == secretType {
			key := f.Tag.Get("yaml") + fileSuffix
			added = append(added, reflect.StructField{
				Name: f.Name + "File", Type: reflect.TypeFor[string](),
				Tag: reflect.StructTag(`yaml:"` + key + `" jsonschema_description:"name of a file that holds it instead"`),
			})
		}
	}
	return added
}

// refine adds what the types do not say: accepted values and defaults.
func refine(schema *jsonschema.Schema, value reflect.Value, path string, accepted map[string][]string) {
	if words, ok := accepted[path]; ok {
		schema.Enum = anys(words)
	}
	t := value.Type()
	switch {
	case isScalar(t):
		if !value.IsZero() {
			schema.Default = defaultOf(value)
		}
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			key := t.Field(i).Tag.Get("yaml")
			if key == "" {
				continue
			}
			if inner, ok := schema.Properties.Get(key); ok {
				refine(inner, value.Field(i), setting.Join(path, key), accepted)
			}
		}
	case t.Kind() == reflect.Pointer:
		refine(schema, elementDefault(t.Elem()), path, accepted)
	case t.Kind() == reflect.Slice:
		if value.Len() > 0 {
			schema.Default = value.Interface()
		}
		refine(schema.Items, elementDefault(t.Elem()), path, accepted)
	}
}

func defaultOf(value reflect.Value) any {
	if d, ok := reflect.TypeAssert[time.Duration](value); ok {
		return setting.Duration(d)
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](value); ok {
		text, err := m.MarshalText()
		if err != nil {
			panic(err)
		}
		return string(text)
	}
	return value.Interface()
}

func anys(words []string) []any {
	list := make([]any, 0, len(words))
	for _, word := range words {
		list = append(list, word)
	}
	return list
}

func TestEveryTypeOfTheConfigurationCanBeDecoded(t *testing.T) {
	var walk func(reflect.Type, string)
	walk = func(at reflect.Type, path string) {
		if isScalar(at) {
			return
		}
		switch at.Kind() { //nolint:exhaustive // everything else fails the test
		case reflect.Struct:
			for f := range at.Fields() {
				if f.IsExported() {
					if f.Tag.Get("yaml") == "" {
						t.Errorf("%s.%s has no key", path, f.Name)
					}
					walk(f.Type, setting.Join(path, f.Tag.Get("yaml")))
				}
			}
		case reflect.Slice, reflect.Pointer:
			walk(at.Elem(), path)
		case reflect.Map:
			if at.Key().Kind() != reflect.String {
				t.Errorf("%s: keys of type %s", path, at.Key())
			}
			walk(at.Elem(), path)
		default:
			t.Errorf("%s: nothing decodes %s", path, at)
		}
	}
	walk(reflect.TypeFor[Config](), "")
}

func TestDemoMentionsEveryKey(t *testing.T) {
	content, err := os.ReadFile("linehall.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config, d := Default(), newDocument("linehall.yaml")
	d.decode(content, &config)
	var missing []string
	var walk func(reflect.Value, string)
	walk = func(v reflect.Value, path string) {
		switch {
		case isScalar(v.Type()):
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				key := v.Type().Field(i).Tag.Get("yaml")
				if key == "" {
					continue
				}
				at := setting.Join(path, key)
				mainHasNoLine := strings.HasPrefix(at, "sites[0].line")
				if _, ok := d.at[at]; !ok && !mainHasNoLine {
					missing = append(missing, at)
				}
				walk(v.Field(i), at)
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), setting.Index(path, i))
			}
		case v.Kind() == reflect.Pointer && !v.IsNil():
			walk(v.Elem(), path)
		}
	}
	walk(reflect.ValueOf(config), "")
	if len(missing) > 0 {
		t.Errorf("linehall.yaml says nothing about %v", missing)
	}
}
