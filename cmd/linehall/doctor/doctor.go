// Package doctor examines the machine and the data directory for what would keep the appliance from serving well. Each
// check gives one finding in words: what is so, and what to do about it. It changes nothing, and it works whether the
// appliance runs or not.
//
//	for _, finding := range doctor.Examine(ctx, config) {
//		fmt.Println(finding)
//	}
package doctor

import (
	"context"

	"linehall/configs"
)

// Verdict of a finding.
type Verdict string

// The verdicts, from harmless to harmful.
const (
	Good Verdict = "good"
	Note Verdict = "note" // works, but someone should know
	Bad  Verdict = "bad"  // will not work
)

// Finding is the outcome of one check.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Says    string  `json:"says"`             // what is so
	Advice  string  `json:"advice,omitempty"` // what to do about it
}

// String is one line, with a second one for the advice.
func (f Finding) String() string {
	mark := map[Verdict]string{Good: "ok  ", Note: "note", Bad: "BAD "}[f.Verdict]
	line := mark + "  " + f.Check + ": " + f.Says
	if f.Advice != "" {
		line += "\n      " + f.Advice
	}
	return line
}

// Worst is the worst verdict among the findings.
func Worst(findings []Finding) Verdict {
	worst := Good
	for _, f := range findings {
		if f.Verdict == Bad || f.Verdict == Note && worst == Good {
			worst = f.Verdict
		}
	}
	return worst
}

// Examine runs every check, in the order in which a person would look.
func Examine(ctx context.Context, config configs.Config) []Finding {
	checks := []func(context.Context, configs.Config) Finding{
		dataDirectory, diskSpace, databaseFile, auditChain, certificates, listeners, openFiles, socketBuffers, kernelPath, ownAddresses, siteSubnets,
	}
	findings := make([]Finding, 0, len(checks))
	for _, check := range checks {
		findings = append(findings, check(ctx, config))
	}
	return findings
}

func good(check, says string) Finding { return Finding{Check: check, Verdict: Good, Says: says} }

func note(check, says, advice string) Finding {
	return Finding{Check: check, Verdict: Note, Says: says, Advice: advice}
}

func bad(check, says, advice string) Finding {
	return Finding{Check: check, Verdict: Bad, Says: says, Advice: advice}
}
