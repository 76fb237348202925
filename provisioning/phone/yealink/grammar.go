package yealink

import (
	"bytes"
	"fmt"
	"strings"

	"linehall/provisioning/phone"
)

// firstLine must be exactly this, or the phone ignores the file.
const firstLine = "#!version:1.0.0.1"

// Parse reads a file by the phone's line grammar: the fixed first line, then
// "key = value" and comments after #.
func (Brand) Parse(content []byte) ([]phone.Line, error) {
	first, _, _ := bytes.Cut(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), []byte("\n"))
	if string(bytes.TrimSpace(first)) != firstLine {
		return nil, fmt.Errorf("line 1: want %q", firstLine)
	}
	return phone.ParseLines(content)
}

// write makes the file; note is a comment at its top.
func write(note string, lines []phone.Line) []byte {
	var b bytes.Buffer
	b.WriteString(firstLine + "\n")
	if note != "" {
		b.WriteString("# " + note + "\n")
	}
	for _, line := range lines {
		b.WriteString(line.Key + " = " + line.Value + "\n")
	}
	return b.Bytes()
}

// comment says whose file it is.
func comment(s phone.Settings) string {
	what := "without secrets: the phone has not enrolled"
	if s.Account != nil {
		what = "extension " + s.Account.User
	}
	return strings.TrimSpace(s.MAC+" "+clean(phone.Plain(s.Model))) + ", " + what
}

// clean keeps a text from meaning anything to the phone's parser: # begins a
// comment, quotes are stripped by some firmware, %NULL% is the empty text.
func clean(text string) string { return phone.Widen(text, `#"%`) }
