// Package sheet turns phone.Settings into a brand's lines by two data files
// that every brand has: lines.tmpl, a text/template that writes "key = value"
// lines, and models.csv, what differs between the models. What a phone calls
// a thing is therefore data: a key is corrected there, or by an organisation
// in a file of its own, and no code changes.
//
// Texts of people (names, labels) come into the template cleaned of line
// breaks and control characters; what else means something to the brand's
// parser is replaced by the brand's Clean.
//
//	var form = sheet.Must(lines, models, sheet.Words{...})
//	written, err := form.Lines(settings)
//
// A Form is immutable and safe for concurrent use.
package sheet

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/pem"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"linehall/provisioning/phone"
)

// Form is a brand's two data files.
type Form struct {
	template *template.Template
	models   []phone.Model
	clean    func(string) string
}

// Must parses the data files, which are part of the program.
func Must(lines, models string, clean func(string) string) *Form {
	form := &Form{clean: clean}
	form.template = template.Must(template.New("lines").Funcs(functions()).Option("missingkey=error").Parse(lines))
	var err error
	if form.models, err = parseModels(models); err != nil {
		panic(err)
	}
	return form
}

// Models are the rows of models.csv.
func (f *Form) Models() []phone.Model { return f.models }

// view is what the template sees.
type view struct {
	phone.Settings

	Hardware phone.Model
	Zone     zone
}

// Lines writes the settings in the brand's words and lays the organisation's
// own lines over them.
func (f *Form) Lines(s phone.Settings) ([]phone.Line, error) {
	v := view{Settings: f.cleaned(s), Zone: zoneOf(s.TimeZone)}
	v.Hardware, _ = phone.Find(f.models, s.Model)
	var b bytes.Buffer
	if err := f.template.Execute(&b, v); err != nil {
		return nil, fmt.Errorf("lines of %s: %w", s.Model, err)
	}
	lines, err := phone.ParseLines(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("lines of %s: %w", s.Model, err)
	}
	over, err := phone.ParseLines(s.Extra)
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	return phone.Override(lines, over), nil
}

// cleaned makes every text safe; the settings themselves stay as they are.
func (f *Form) cleaned(s phone.Settings) phone.Settings {
	text := func(t string) string { return f.clean(phone.Plain(t)) }
	s.Model, s.Directory.Name = text(s.Model), text(s.Directory.Name)
	s.NTP = each(s.NTP, text)
	keys := make([]phone.Key, 0, len(s.Keys))
	for _, k := range s.Keys {
		keys = append(keys, phone.Key{Number: text(k.Number), Label: text(k.Label)})
	}
	s.Keys = keys
	if s.Account != nil {
		a := *s.Account
		for _, t := range []*string{&a.User, &a.AuthUser, &a.DisplayName, &a.Domain, &a.Server, &a.Backup, &a.Voicemail, &a.Pickup} {
			*t = text(*t)
		}
		s.Account = &a
	}
	return s
}

func each(list []string, f func(string) string) []string {
	result := make([]string, 0, len(list))
	for _, t := range list {
		result = append(result, f(t))
	}
	return result
}

// functions are what a template may use beside its own words.
func functions() template.FuncMap {
	return template.FuncMap{
		"pick":    pick,
		"flag":    func(on bool) string { return pick(on, "1", "0") },
		"yes":     func(on bool) string { return pick(on, "Yes", "No") },
		"onoff":   func(on bool) string { return pick(on, "on", "off") },
		"seconds": func(d time.Duration) int { return int(d / time.Second) },
		"minutes": func(d time.Duration) int { return int(d / time.Minute) },
		"hours":   func(d time.Duration) int { return max(1, int(d/time.Hour)) },
		"tos":     func(dscp int) int { return dscp << 2 }, // the whole byte: RFC 2474 section 3
		"hex":     func(n int) string { return fmt.Sprintf("0x%02x", n) },
		"seq":     seq,
		"add":     func(a, b int) int { return a + b },
		"sub":     func(a, b int) int { return a - b },
		"div":     func(a, b int) int { return a / b },
		"mod":     func(a, b int) int { return a % b },
		"word":    word,
		"text":    func(v any) string { return fmt.Sprint(v) },
		"compact": func(mac string) string { return strings.ReplaceAll(mac, ":", "") },
		"upper":   strings.ToUpper,
		"others":  phone.Others,
		"join":    func(sep string, list []string) string { return strings.Join(list, sep) },
		"wrap": func(before, after string, list []string) []string {
			return each(list, func(t string) string { return before + t + after })
		},
		"replace": func(from, to string, list []string) []string {
			return each(list, func(t string) string { return strings.ReplaceAll(t, from, to) })
		},
		"concat":  func(lists ...[]string) []string { return join(lists) },
		"bare":    bare,
		"scheme":  func(url string) string { return pick(strings.HasPrefix(url, "https:"), "HTTPS", "HTTP") },
		"codecs":  codecs,
		"without": without,
		"pick2":   func(on bool, yes, no int) int { return map[bool]int{true: yes, false: no}[on] },
		"certificate": func(ca []byte) string {
			if block, _ := pem.Decode(ca); block != nil {
				return base64.StdEncoding.EncodeToString(block.Bytes)
			}
			return ""
		},
		"onelined": func(ca []byte) string { return strings.Join(strings.Fields(string(ca)), " ") },
		"list":     func(words ...string) []string { return words },
		"item":     item,
		"last":     func(list []string) string { return item(list, len(list)-1) },
		"trim":     func(url string) string { return strings.TrimSuffix(url, "/") },
		"folder":   func(url string) string { return url[:strings.LastIndex(url, "/")+1] },
		"min":      func(a, b int) int { return min(a, b) },
		"key":      key,
	}
}

func pick(on bool, yes, no string) string {
	if on {
		return yes
	}
	return no
}

// word translates a value by pairs: word .Transport "udp" "0" "tcp" "1".
func word(value any, pairs ...string) (string, error) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == fmt.Sprint(value) {
			return pairs[i+1], nil
		}
	}
	return "", fmt.Errorf("no word for %v", value)
}

// seq counts from one number to another, both included.
func seq(from, to int) []int {
	var list []int
	for i := from; i <= to; i++ {
		list = append(list, i)
	}
	return list
}

func join(lists [][]string) []string {
	var all []string
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// bare is a URL without its scheme and its last slash, as some phones want it.
func bare(url string) string {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		rest = url
	}
	return strings.TrimSuffix(rest, "/")
}

// codecs names the wanted codecs by pairs, best first.
func codecs(wanted []phone.Codec, pairs ...string) ([]string, error) {
	names := make([]string, 0, len(wanted))
	for _, c := range wanted {
		name, err := word(c, pairs...)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// without lists the words of all that are not in some.
func without(some, all string) []string {
	return slices.DeleteFunc(strings.Fields(all), func(w string) bool { return slices.Contains(strings.Fields(some), w) })
}

// key is the key at a place, nothing behind the last one.
func key(keys []phone.Key, i int) *phone.Key {
	if i < 0 || i >= len(keys) {
		return nil
	}
	return &keys[i]
}

// item is the text at a place, "" behind the last one.
func item(list []string, i int) string {
	if i < 0 || i >= len(list) {
		return ""
	}
	return list[i]
}

// parseModels reads models.csv: name,file,lines,keys,format,plain.
func parseModels(text string) ([]phone.Model, error) {
	reader := csv.NewReader(strings.NewReader(text))
	reader.Comment = '#'
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("models: %w", err)
	}
	const header = "name,file,lines,keys,format,plain"
	if len(rows) == 0 || strings.Join(rows[0], ",") != header {
		return nil, fmt.Errorf("models: the first line must be %s", header)
	}
	models := make([]phone.Model, 0, len(rows)-1)
	for _, row := range rows[1:] {
		m := phone.Model{Name: row[0], File: row[1], Format: row[4], Plain: row[5] == "yes"}
		for i, into := range []*int{&m.Lines, &m.Keys} {
			if cell := row[2+i]; cell != "" {
				if *into, err = strconv.Atoi(cell); err != nil {
					return nil, fmt.Errorf("models: %s: %w", m.Name, err)
				}
			}
		}
		models = append(models, m)
	}
	return models, nil
}
