package phone

import (
	"slices"
	"strings"
)

const digits = "0123456789"

// Others makes the patterns of all numbers that begin like none of the given
// ones: one digit or class of digits after the other, like 1[03-9], after
// which anything may follow. With them a digit map never hesitates between a
// complete number and a longer one, so an emergency number leaves at its last
// digit.
func Others(patterns []string) []string {
	var others []string
	var walk func(prefix string, rest []string)
	walk = func(prefix string, rest []string) {
		taken := map[byte][]string{}
		for _, p := range rest {
			switch {
			case p == "":
				return // complete here: whatever follows was dialled already
			case p[0] == 'x':
				for i := range len(digits) {
					taken[digits[i]] = append(taken[digits[i]], p[1:])
				}
			default:
				taken[p[0]] = append(taken[p[0]], p[1:])
			}
		}
		if free := class(taken); free != "" {
			others = append(others, prefix+free)
		}
		if alike(taken) {
			walk(prefix+"x", taken['0'])
			return
		}
		for i := range len(digits) {
			if next := taken[digits[i]]; len(next) > 0 {
				walk(prefix+digits[i:i+1], next)
			}
		}
	}
	walk("", patterns)
	return others
}

// alike reports whether every digit leads to the same.
func alike(taken map[byte][]string) bool {
	for i := range len(digits) {
		if next := taken[digits[i]]; len(next) == 0 || !slices.Equal(next, taken['0']) {
			return false
		}
	}
	return true
}

// class writes the digits that are not taken, like [03-9]; "" for none.
func class(taken map[byte][]string) string {
	var free []byte
	for i := range len(digits) {
		if len(taken[digits[i]]) == 0 {
			free = append(free, digits[i])
		}
	}
	if len(free) < 2 {
		return string(free)
	}
	var b strings.Builder
	b.WriteByte('[')
	for i := 0; i < len(free); {
		j := i
		for j+1 < len(free) && free[j+1] == free[j]+1 {
			j++
		}
		b.WriteByte(free[i])
		if j > i+1 {
			b.WriteByte('-')
		}
		if j > i {
			b.WriteByte(free[j])
		}
		i = j + 1
	}
	b.WriteByte(']')
	return b.String()
}
