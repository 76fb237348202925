package configs

import (
	"slices"
	"strings"

	"linehall/internal/setting"
	"linehall/media/record"
)

// recording compares the rules of recording with the sites, classes and trunks that there are, and reads the announcements.
func (c *checker) recording() {
	classes, trunks := make([]string, 0, len(c.config.Dialplan.Classes)), []string{"*"}
	for name := range c.config.Dialplan.Classes {
		classes = append(classes, name)
	}
	for _, t := range c.config.Trunks {
		trunks = append(trunks, t.Name)
	}
	for i, r := range c.config.Recording.Rules {
		at := setting.Index("recording.rules", i)
		c.known(at+".sites", "site", r.Sites, c.siteIDs())
		c.known(at+".classes", "class", r.Classes, classes)
		c.known(at+".trunks", "trunk", r.Trunks, trunks)
	}
	for path, file := range c.config.Recording.Files() {
		at := "recording." + path
		content, message := readFile(file)
		if message != "" {
			c.add(at, "%s: %s", file, strings.TrimPrefix(message, "the "))
		} else if err := record.ParseAnnouncement(content); err != nil {
			c.add(at, "%s: %s", file, err)
		}
	}
}

// known reports names that nothing has.
func (c *checker) known(path, what string, names, there []string) {
	for i, n := range names {
		if !slices.Contains(there, n) {
			c.add(setting.Index(path, i), "unknown %s %q%s", what, n, setting.Hint(n, there))
		}
	}
}
