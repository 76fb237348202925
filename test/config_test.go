package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Each mistake is named with file, line and column by `check`, and keeps `serve` from starting.
func TestConfigurationErrorsAreLocated(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		file   string // which file gets the mistake
		damage func(text string) string
		want   []string // parts of one line of the output
	}{
		{"unknown key", "linehall.yaml", func(s string) string { return strings.Replace(s, "domain:", "domian:", 1) }, []string{"linehall.yaml:", "domian", "domain"}},
		{"wrong type", "linehall.yaml", func(s string) string { return s + "\nsecurity: [1]\n" }, []string{"linehall.yaml:", "security"}},
		{"duplicate MAC", "terminals.csv", func(s string) string {
			rows := strings.Split(strings.TrimSpace(s), "\n")
			first, last := strings.Split(rows[1], ","), strings.Split(rows[len(rows)-1], ",")
			last[0] = first[0]
			rows[len(rows)-1] = strings.Join(last, ",")
			return strings.Join(rows, "\n") + "\n"
		}, []string{"terminals.csv:121:", "MAC"}},
		{"duplicate extension", "terminals.csv", func(s string) string {
			return s + "001565ffff01,T54W,hq,8001,重复,,active,\n"
		}, []string{"terminals.csv:122:", "8001"}},
		{"unknown site", "terminals.csv", func(s string) string {
			return s + "001565ffff01,T54W,brnach1,8099,新人,,active,\n"
		}, []string{"terminals.csv:122:", "brnach1", "branch1"}},
		{"emergency shadowed by an extension", "terminals.csv", func(s string) string {
			return s + "001565ffff01,T54W,hq,1101,新人,,active,\n"
		}, []string{"terminals.csv:122:", "110"}},
		{"missing file", "terminals.csv", nil, []string{"terminals.csv"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := prepareAppliance(t)
			file := filepath.Join(a.dir, c.file)
			// The demo's own text, so that lines are those a person sees; ports do not matter, nothing starts.
			source, err := os.ReadFile(filepath.Join(repository, "configs", c.file))
			if err != nil {
				t.Fatal(err)
			}
			if c.damage == nil {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(file, []byte(c.damage(string(source))), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"check", "serve"} {
				stdout, stderr, code := a.try(command)
				if code != 1 {
					t.Errorf("%s: exit %d, want 1", command, code)
				}
				if !hasLine(stdout+stderr, c.want) {
					t.Errorf("%s does not name the mistake %q:\n%s%s", command, c.want, stdout, stderr)
				}
			}
		})
	}
}

func hasLine(text string, parts []string) bool {
line:
	for line := range strings.Lines(text) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue line
			}
		}
		return true
	}
	return false
}

func TestCheckAcceptsTheDemo(t *testing.T) {
	t.Parallel()
	a := prepareAppliance(t)
	if stdout, stderr, code := a.try("check"); code != 0 {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
}

// SIGHUP takes a good change, refuses a bad one as a whole, and says so in the metrics.
func TestReloadIsAllOrNothing(t *testing.T) {
	t.Parallel()
	a := startAppliance(t)
	terminals := filepath.Join(a.dir, "terminals.csv")
	good, err := os.ReadFile(terminals)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text string, want float64) {
		t.Helper()
		if err := os.WriteFile(terminals, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		before := a.metric("linehall_config_reloads_total")
		if err := a.command.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		a.eventually(10*time.Second, "the reload is done", func() error {
			if a.metric("linehall_config_reloads_total") == before {
				return fmt.Errorf("no reload counted yet")
			}
			if got := a.metric("linehall_config_last_reload_success"); got != want {
				return permanent{fmt.Errorf("last_reload_success is %v, want %v", got, want)}
			}
			return nil
		})
	}
	known := func(extension string) bool {
		_, _, code := a.try("terminal", "show", extension)
		return code == 0
	}
	reload(string(good)+"001565ffff01,T54W,hq,8099,新人,,active,\n", 1)
	if !known("8099") {
		t.Error("the new terminal is not known after a good reload")
	}
	reload(string(good)+"001565ffff02,T54W,nowhere,8098,新人,,active,\n", 0)
	if known("8098") || !known("8099") {
		t.Error("a bad reload changed something")
	}
}
