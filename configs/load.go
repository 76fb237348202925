package configs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"linehall/internal/setting"
	"linehall/provisioning/inventory"
)

// Options says what to load.
type Options struct {
	Path  string            // of linehall.yaml; see Find
	Flags map[string]string // settings from the command line, like "appliance.data"; they win over everything
}

// The places where Find looks.
const (
	devPath    = "configs/linehall.yaml"
	systemPath = "/etc/linehall/linehall.yaml"
)

// Find returns the configuration file to use: the one asked for, else
// configs/linehall.yaml, else /etc/linehall/linehall.yaml.
func Find(asked string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	for _, path := range []string{devPath, systemPath} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no configuration: neither %s nor %s exists; name one with --config", devPath, systemPath)
}

// Load reads, layers and checks the configuration. The error is an *Error
// with every problem that was found.
func Load(options Options) (Config, error) {
	config, problems := load(options)
	if len(problems) > 0 {
		return Config{}, &Error{Problems: problems}
	}
	return config, nil
}

// Check returns every problem of the configuration, nil when it is fine.
func Check(options Options) []Problem {
	_, problems := load(options)
	return problems
}

func load(options Options) (Config, []Problem) {
	config, d := Default(), newDocument(options.Path)
	content, message := readFile(options.Path)
	if message != "" {
		return Config{}, []Problem{{options.Path, 1, 1, message}}
	}
	d.decode(content, &config)
	if len(d.problems) > 0 && d.failed[""] {
		return Config{}, sorted(d.problems, options.Path) // nothing could be read: judging the defaults would mislead
	}
	d.layer(&config, options.Flags)
	config.path, config.places = options.Path, d.at
	config.Terminals.File = resolve(options.Path, config.Terminals.File)
	config.Terminals.Templates = resolve(options.Path, config.Terminals.Templates)
	config.Recording = config.Recording.Resolved(func(name string) string { return resolve(options.Path, name) })
	for i := range config.Trunks {
		config.Trunks[i].CAFile = resolve(options.Path, config.Trunks[i].CAFile)
	}

	c := &checker{config: &config, document: d}
	c.terminals()
	c.domains()
	c.compare()
	return config, sorted(d.problems, options.Path)
}

// readFile returns the content, or what is wrong.
func readFile(path string) ([]byte, string) {
	content, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "the file does not exist"
	case err != nil:
		return nil, "the file cannot be read: " + reason(err)
	}
	return content, ""
}

// checker holds what the checks look at, and where their findings go.
type checker struct {
	config   *Config
	document *document
}

func (c *checker) add(path, format string, args ...any) {
	c.document.complain(path, fmt.Sprintf(format, args...))
}

func (c *checker) addRow(row inventory.Row, column, format string, args ...any) {
	at := row.At(column)
	c.document.problems = append(c.document.problems,
		Problem{c.config.Terminals.File, at.Line, at.Column, fmt.Sprintf(format, args...)})
}

// terminals reads the list of terminals.
func (c *checker) terminals() {
	file := c.config.Terminals.File
	if file == "" {
		return
	}
	content, message := readFile(file)
	if message != "" {
		c.add("terminals.file", "%s: %s", file, strings.TrimPrefix(message, "the "))
		return
	}
	rows, problems := inventory.Parse(content)
	c.config.inventory = rows
	for _, p := range problems {
		c.document.problems = append(c.document.problems, Problem{file, p.Line, p.Column, p.Message})
	}
}

// domains asks every domain about its own section.
func (c *checker) domains() {
	config := c.config
	for i, s := range config.Sites {
		c.merge(setting.Index("sites", i), s.Validate())
	}
	c.merge("appliance", config.Appliance.validate())
	c.merge("listen", config.Listen.validate())
	c.merge("listen.rtp", config.Listen.RTP.Validate())
	c.merge("terminals", config.Terminals.Validate())
	c.merge("dialplan", config.Dialplan.Validate())
	c.merge("feature", config.Feature.Validate())
	c.merge("conference", config.Conference.Validate())
	c.merge("security", config.Security.Validate())
	c.merge("recording", config.Recording.Validate())
	c.merge("observability.log", config.Observability.Log.Validate())
	c.merge("observability.trace", config.Observability.Trace.Validate())
	c.merge("observability.capture", config.Observability.Capture.Validate())
	for i, t := range config.Trunks {
		c.merge(setting.Index("trunks", i), t.Validate())
		if t.CAFile != "" {
			if _, message := readFile(t.CAFile); message != "" {
				c.add(setting.Index("trunks", i)+".ca_file", "%s: %s", t.CAFile, strings.TrimPrefix(message, "the "))
			}
		}
	}
}

func (c *checker) merge(section string, err error) {
	for _, complaint := range setting.Unfold(err) {
		c.document.complain(setting.Join(section, complaint.Path), complaint.Message)
	}
}
