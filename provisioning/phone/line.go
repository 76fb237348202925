package phone

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Line is one setting of a phone's file in the brand's own words, whatever
// the file looks like: account.1.enable, P271, sip/line[1]/RegisterPort.
type Line struct{ Key, Value string }

const (
	maxLines = 10_000 // the longest vendor template has about 2,000 keys
	maxKey   = 128
)

// ParseLines reads "key = value" lines; # at the beginning of a line makes it
// a comment. A key that is there twice is an error: which one wins would
// depend on the firmware.
func ParseLines(content []byte) ([]Line, error) {
	var lines []Line
	seen := map[string]int{}
	content = bytes.TrimPrefix(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n")), []byte("\xef\xbb\xbf"))
	if !utf8.Valid(content) {
		return nil, fmt.Errorf("not UTF-8")
	}
	number := 0
	for text := range strings.Lines(string(content)) {
		number++
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok:
			return nil, fmt.Errorf("line %d: no \"=\"", number)
		case !validKey(key):
			return nil, fmt.Errorf("line %d: %q is no key", number, key)
		case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }):
			return nil, fmt.Errorf("line %d: a control character", number)
		case seen[key] > 0:
			return nil, fmt.Errorf("line %d: key %s is there already at line %d", number, key, seen[key])
		case len(lines) >= maxLines:
			return nil, fmt.Errorf("more than %d lines", maxLines)
		}
		seen[key] = number
		lines = append(lines, Line{key, value})
	}
	return lines, nil
}

// validKey accepts the keys of all brands: words with dots, and paths of
// elements with an index, like dsskey/internal[1]/Fkey[2]/Type.
func validKey(key string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	lower := strings.ToLower(key)
	return key != "" && len(key) <= maxKey && strings.Trim(lower, letters+"._-/[]") == "" && strings.Contains(letters, lower[:1])
}

// Override lays lines over others: a key that is there gets the new value at
// its place, a new one goes to the end.
func Override(lines, over []Line) []Line {
	at := make(map[string]int, len(lines))
	for i, line := range lines {
		at[line.Key] = i
	}
	for _, line := range over {
		if i, there := at[line.Key]; there {
			lines[i] = line
			continue
		}
		at[line.Key] = len(lines)
		lines = append(lines, line)
	}
	return lines
}

// Plain makes a foreign text safe for every format: line breaks and other
// control characters become blanks, and what XML cannot carry is dropped.
func Plain(text string) string {
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		switch {
		case c == utf8.RuneError || c == 0xfffe || c == 0xffff:
			return -1
		case c < ' ' || c >= 0x7f && c < 0xa0 || c == 0x2028 || c == 0x2029:
			return ' '
		}
		return c
	}, text))
}

// Widen replaces the characters of set by their full-width forms: they look
// the same on a display and mean nothing to a parser.
func Widen(text, set string) string {
	return strings.Map(func(c rune) rune {
		if c > ' ' && c < 0x7f && strings.ContainsRune(set, c) {
			return c - '!' + '！'
		}
		return c
	}, text)
}
