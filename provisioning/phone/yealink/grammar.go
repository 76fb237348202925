package yealink

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Line is one setting.
type Line struct{ Key, Value string }

// maxLines bounds a file: the longest vendor template has about 2,000 keys.
const maxLines = 10_000

// Parse reads a file by the phone's line grammar: a fixed first line when
// whole is true, comments after #, and "key = value". A key that is there
// twice is an error: which one wins depends on the firmware.
func Parse(content []byte, whole bool) ([]Line, error) {
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
		if whole && number == 1 {
			if text != firstLine {
				return nil, fmt.Errorf("line 1: want %q", firstLine)
			}
			continue
		}
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
	if whole && number == 0 {
		return nil, fmt.Errorf("line 1: want %q", firstLine)
	}
	return lines, nil
}

func validKey(key string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	return key != "" && len(key) <= 128 && strings.Trim(strings.ToLower(key), letters+"._-") == "" &&
		strings.Contains(letters, strings.ToLower(key[:1]))
}
