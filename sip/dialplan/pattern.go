package dialplan

import (
	"fmt"
	"slices"
	"strings"
)

// Pattern describes numbers: digits, * and # stand for themselves, a + may come first, X is any
// digit, Z 1 to 9, N 2 to 9, and a dot at the end means one or more further digits.
type Pattern string

const longestPattern = 32

// ParsePattern checks the form of a pattern.
func ParsePattern(text string) (Pattern, error) {
	if text == "" || len(text) > longestPattern {
		return "", fmt.Errorf("pattern %q must have 1 to %d characters", text, longestPattern)
	}
	for i, c := range text {
		last := i == len(text)-1
		switch {
		case c >= '0' && c <= '9', c == '*', c == '#', c == 'X', c == 'Z', c == 'N':
		case c == '+' && i == 0 && !last:
		case c == '.' && last && i > 0:
		default:
			return "", fmt.Errorf("pattern %q: %q at place %d; use digits, *, #, X, Z, N, a + at the beginning and a dot at the end", text, string(c), i+1)
		}
	}
	return Pattern(text), nil
}

// Match reports whether the whole number fits the pattern.
func (p Pattern) Match(number string) bool {
	body, open := strings.CutSuffix(string(p), ".")
	if len(number) < len(body) || (open && len(number) == len(body)) || (!open && len(number) != len(body)) {
		return false
	}
	for i := range len(number) {
		want := byte('X')
		if i < len(body) {
			want = body[i]
		}
		if !fits(want, number[i]) {
			return false
		}
	}
	return true
}

func fits(want, got byte) bool {
	switch want {
	case 'X':
		return got >= '0' && got <= '9'
	case 'Z':
		return got >= '1' && got <= '9'
	case 'N':
		return got >= '2' && got <= '9'
	}
	return want == got
}

// matchAny returns the first of the patterns that one of the forms of a number fits.
func matchAny(patterns, forms []string) (Pattern, bool) {
	for _, text := range patterns {
		if slices.ContainsFunc(forms, Pattern(text).Match) {
			return Pattern(text), true
		}
	}
	return "", false
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
