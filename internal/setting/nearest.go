package setting

import (
	"slices"
	"strconv"
	"strings"
)

// Nearest returns the candidate that needs the fewest edits to become word,
// if it is near enough to be what the writer meant. Among equals the first in
// alphabetical order wins, so that messages are stable.
func Nearest(word string, candidates []string) (string, bool) {
	best, bestDistance := "", len(word)/2+1
	for _, candidate := range slices.Sorted(slices.Values(candidates)) {
		if candidate == "" {
			continue
		}
		a, b := strings.ToLower(word), strings.ToLower(candidate)
		d := distance(a, b, bestDistance)
		if len(a) > 1 && strings.HasPrefix(b, a) {
			d = min(d, 1) // an abbreviation: zh for zh-CN
		}
		if d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best, best != ""
}

// Hint is the end of a message about an unknown name: the nearest candidate,
// or all of them when none is near and they are few.
func Hint(word string, candidates []string) string {
	if near, ok := Nearest(word, candidates); ok {
		return "; did you mean " + strconv.Quote(near) + "?"
	}
	known := slices.DeleteFunc(slices.Sorted(slices.Values(candidates)), func(s string) bool { return s == "" })
	if len(known) == 0 || len(known) > 12 {
		return ""
	}
	return "; valid: " + strings.Join(known, ", ")
}

// longestWord bounds the work done for one comparison; no name of ours is
// longer, and the words come from foreign files.
const longestWord = 64

// distance counts insertions, deletions, substitutions and swaps of
// neighbours (optimal string alignment). It returns limit when the true
// distance is limit or more.
func distance(a, b string, limit int) int {
	x, y := []rune(a), []rune(b)
	if len(x) > longestWord || len(y) > longestWord || len(x)-len(y) >= limit || len(y)-len(x) >= limit {
		return limit
	}
	before, previous, current := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(x); i++ {
		current[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous, current = previous, current, before
	}
	return min(previous[len(y)], limit)
}
