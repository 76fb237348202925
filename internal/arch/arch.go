// Package arch holds the rules that keep the tree in shape: which part may import which, and why not.
//
// Its test walks the tree and applies them; the linter's depguard repeats the most important ones in the editor. The
// arrows run downwards only:
//
//	cmd → configs → sip, sfu, provisioning, web → media (sip and sfu only) → internal
//
// A new rule is a row in forbidden with its reason in words that help whoever breaks it.
package arch

import (
	"fmt"
	"strings"
)

// Module is the module's path.
const Module = "linehall"

// rule forbids packages that lie in from to import one that lies in to.
type rule struct {
	from, to string   // import paths; each covers everything below it
	except   []string // imported paths that are allowed after all, or "from:" and an importer that may
	tests    bool     // test files must obey as well
	reason   string
}

// local prefixes a path inside the module.
func local(path string) string { return Module + "/" + path }

func forbidden() []rule {
	const (
		ground  = "the ground carries everything and must not know what stands on it"
		plane   = "the media plane knows neither SIP nor rooms, so that both can use it"
		domains = "domains meet in cmd/linehall only: declare the small interface you need and let an adapter there fill it"
		config  = "configuration is handed down as values: a domain owns its Config, configs composes them, only cmd reads the whole"
		nobody  = "cmd wires everything; nothing may depend on the wiring"
	)
	var rules []rule
	for _, lower := range []string{"internal", "media", "sip", "sfu", "provisioning", "web", "configs"} {
		rules = append(rules, rule{from: local(lower), to: local("cmd"), tests: true, reason: nobody})
	}
	for _, lower := range []string{"internal", "media", "sip", "sfu", "provisioning", "web"} {
		rules = append(rules, rule{from: local(lower), to: local("configs"), tests: true, reason: config})
	}
	parts := []string{"sip", "sfu", "provisioning", "web"}
	for _, a := range parts {
		rules = append(rules,
			rule{from: local("internal"), to: local(a), tests: true, reason: ground},
			rule{from: local("media"), to: local(a), tests: true, reason: plane})
		for _, b := range parts {
			if a != b {
				rules = append(rules, rule{from: local(a), to: local(b), tests: true, reason: domains})
			}
		}
	}
	return append(rules,
		rule{from: local("internal"), to: local("media"), tests: true, reason: ground},
		rule{from: local("provisioning"), to: local("media"), tests: true, reason: "phone files need no media plane"},
		rule{from: local("web"), to: local("media"), tests: true, reason: "the console speaks to interfaces declared in web/api and returns its own types"},
		rule{from: local("cmd/linesim"), to: Module, except: []string{local("cmd/linesim")}, tests: true, reason: "the simulated world must not share the server's bugs"},
		rule{from: local("cmd/linehall"), to: local("cmd/linesim"), tests: true, reason: "the simulator is a program of its own"},
		rule{from: Module, to: "github.com/emiago/sipgo", except: []string{"github.com/emiago/sipgo/sip", "from:" + local("sip/stack"), "from:" + local("cmd/linesim")}, reason: "sip/stack is the only adapter of sipgo's transports: its hazards are answered there"},
		rule{from: local("media"), to: "github.com/emiago/sipgo", reason: plane},
		rule{from: local("web"), to: "github.com/emiago/sipgo", reason: "the console speaks to interfaces declared in web/api and returns its own types"},
		rule{from: Module, to: "modernc.org/sqlite", except: []string{"from:" + local("internal/database")}, reason: "internal/database opens the file and explains its errors"},
		rule{from: Module, to: "github.com/pressly/goose", except: []string{"from:" + local("internal/database")}, reason: "export a database.Schema; internal/database applies it"},
		rule{from: Module, to: "github.com/stretchr/testify", tests: true, reason: "tests use go-cmp and the standard library"},
	)
}

// Check returns what is wrong with one import, "" when it is allowed. test says that a test file imports it.
func Check(from, to string, test bool) string {
	for _, r := range forbidden() {
		if test && !r.tests || !within(from, r.from) || !within(to, r.to) || r.allows(from, to) {
			continue
		}
		return fmt.Sprintf("%s imports %s: %s", from, to, r.reason)
	}
	return ""
}

func (r rule) allows(from, to string) bool {
	for _, e := range r.except {
		if importer, ok := strings.CutPrefix(e, "from:"); ok {
			if within(from, importer) {
				return true
			}
		} else if within(to, e) {
			return true
		}
	}
	return false
}

func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}
