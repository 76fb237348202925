package dialplan

import (
	"strings"
	"testing"

	"linehall/internal/setting"
)

func TestPatternsMatchWholeNumbers(t *testing.T) {
	for _, tc := range []struct {
		pattern string
		yes, no []string
	}{
		{"8001", []string{"8001"}, []string{"", "800", "80011"}},
		{"9XXX", []string{"9000", "9999"}, []string{"900", "90000", "8000", "9*00"}},
		{"0.", []string{"01", "013800000000"}, []string{"0", "1", "0*"}},
		{"ZN", []string{"12", "99"}, []string{"02", "11", "1"}},
		{"*8", []string{"*8"}, []string{"8", "*88"}},
		{"X.", []string{"10", "110"}, []string{"1", ""}},
	} {
		pattern, err := ParsePattern(tc.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, number := range tc.yes {
			if !pattern.Match(number) {
				t.Errorf("%s does not match %q", pattern, number)
			}
		}
		for _, number := range tc.no {
			if pattern.Match(number) {
				t.Errorf("%s matches %q", pattern, number)
			}
		}
	}
	for _, text := range []string{"", ".", "1.2", "a", "+", "8+6", strings.Repeat("1", 33)} {
		if _, err := ParsePattern(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestRulesRewrite(t *testing.T) {
	rule := RuleConfig{Match: "0X.", Strip: 1, Prepend: "9"}
	if got, ok := rule.Rewrite("0123"); !ok || got != "9123" {
		t.Errorf("got %q, %v", got, ok)
	}
	if got, ok := rule.Rewrite("1123"); ok {
		t.Errorf("a number that does not match became %q", got)
	}
}

func TestValidateNamesThePlaceOfEveryMistake(t *testing.T) {
	config := DefaultConfig()
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	config.Emergency = append(config.Emergency, "12o")
	config.Features = map[string]string{"pickup": "8"}
	config.Rules = []RuleConfig{{Match: "1X0"}}
	paths := map[string]bool{}
	for _, c := range setting.Unfold(config.Validate()) {
		paths[c.Path] = true
	}
	for _, path := range []string{"emergency[3]", "features.pickup", "rules[0].match"} {
		if !paths[path] {
			t.Errorf("no complaint about %s in %v", path, paths)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("0X.", "0138")
	f.Fuzz(func(t *testing.T, text, number string) {
		pattern, err := ParsePattern(text)
		if err != nil {
			return
		}
		if open := strings.HasSuffix(text, "."); pattern.Match(number) && !open && len(number) != len(text) {
			t.Errorf("%q matches %q of another length", text, number)
		}
	})
}
