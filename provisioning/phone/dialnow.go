package phone

import (
	"cmp"
	"slices"
	"strings"
)

// maxDialNow is the most patterns that a phone takes; Yealink's list has 20.
const maxDialNow = 20

// DialNow makes the patterns of numbers that a phone may dial without waiting
// for another digit: the emergency numbers, then one pattern per first digit
// and length of the other numbers, like 8xxx. A pattern that would cut off a
// longer number is left out; nothing comes before an emergency number.
func DialNow(emergency, numbers []string) []string {
	type shape struct {
		first  byte
		length int
	}
	shapes, longest := map[shape]bool{}, map[byte]int{}
	for _, number := range slices.Concat(emergency, numbers) {
		if number == "" || strings.Trim(number, "0123456789") != "" {
			continue // codes with * are dialled with the phone's own wait
		}
		longest[number[0]] = max(longest[number[0]], len(number))
	}
	for _, number := range numbers {
		if number == "" || strings.Trim(number, "0123456789") != "" || len(number) < longest[number[0]] {
			continue
		}
		shapes[shape{number[0], len(number)}] = true
	}
	ordered := make([]shape, 0, len(shapes))
	for s := range shapes {
		ordered = append(ordered, s)
	}
	slices.SortFunc(ordered, func(a, b shape) int { return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.length, b.length)) })
	patterns := slices.Clone(emergency)
	for _, s := range ordered {
		patterns = append(patterns, string(s.first)+strings.Repeat("x", s.length-1))
	}
	return patterns[:min(len(patterns), maxDialNow)]
}
