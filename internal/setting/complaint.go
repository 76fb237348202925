package setting

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Complaint says what is wrong with the value at Path, which is relative to
// the value that was validated: "rooms[1].number", or "" for the whole.
type Complaint struct {
	Path    string
	Message string
}

// Error returns path and message in one line.
func (c *Complaint) Error() string {
	if c.Path == "" {
		return c.Message
	}
	return c.Path + ": " + c.Message
}

// Complaints collects every complaint of one Validate, so that an operator
// sees them all at once. The zero value is ready to use.
type Complaints struct{ list []error }

// Add records a complaint about the value at path.
func (c *Complaints) Add(path, format string, args ...any) {
	c.list = append(c.list, &Complaint{Path: path, Message: fmt.Sprintf(format, args...)})
}

// Merge records the complaints inside err with prefix in front of their paths.
// An err that is no Complaint is recorded as one about prefix itself.
func (c *Complaints) Merge(prefix string, err error) {
	for _, found := range Unfold(err) {
		c.list = append(c.list, &Complaint{Path: Join(prefix, found.Path), Message: found.Message})
	}
}

// Err returns all complaints joined, or nil when there are none.
func (c *Complaints) Err() error { return errors.Join(c.list...) }

// Unfold lists every Complaint inside err in the order they were added.
// Other errors become a Complaint with an empty path.
func Unfold(err error) []*Complaint {
	if err == nil {
		return nil
	}
	//nolint:errorlint // the tree is walked by hand: errors.As would stop at the first leaf
	switch e := err.(type) {
	case *Complaint:
		return []*Complaint{e}
	case interface{ Unwrap() []error }:
		var all []*Complaint
		for _, inner := range e.Unwrap() {
			all = append(all, Unfold(inner)...)
		}
		return all
	}
	return []*Complaint{{Message: err.Error()}}
}

// Join puts two paths together: Join("sites[1]", "line.up") is
// "sites[1].line.up".
func Join(prefix, path string) string {
	switch {
	case prefix == "":
		return path
	case path == "" || strings.HasPrefix(path, "["):
		return prefix + path
	}
	return prefix + "." + path
}

// Index is the path of element i of the list at path.
func Index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// OneOf records a complaint when value is not among the accepted ones.
func (c *Complaints) OneOf(path, value string, accepted []string) {
	if !slices.Contains(accepted, value) {
		c.Add(path, "unknown value %q%s", value, Hint(value, accepted))
	}
}

// Between records a complaint when value is not between least and most.
func (c *Complaints) Between(path string, value, least, most time.Duration) {
	if value < least || value > most {
		c.Add(path, "%s is not between %s and %s", Duration(value), Duration(least), Duration(most))
	}
}

// Duration writes a duration as people write it: 4h, not 4h0m0s.
func Duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
