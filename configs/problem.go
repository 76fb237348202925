package configs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is something wrong in the configuration. File is the name of a file,
// of an environment variable or of a flag; lines and columns count from 1,
// columns in characters.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
}

// String returns "FILE:LINE:COLUMN: message".
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Error lists every problem that kept a configuration from being used.
type Error struct{ Problems []Problem }

// Error returns one line per problem.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// sorted puts the problems of the first file first, each file's by place, and
// drops repetitions.
func sorted(problems []Problem, first string) []Problem {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if a.File != b.File && (a.File == first || b.File == first) {
			if a.File == first {
				return -1
			}
			return 1
		}
		return cmp.Or(
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Message, b.Message),
		)
	})
	return slices.Compact(problems)
}
