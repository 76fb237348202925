package main

import (
	"linehall/configs"
	"linehall/sip/dialplan"
)

// planOptions is what the number plan needs to know beside its own section.
func planOptions(config configs.Config) []dialplan.Option {
	trunks := make([]dialplan.Trunk, 0, len(config.Trunks))
	for _, t := range config.Trunks {
		trunks = append(trunks, t.Plan())
	}
	return []dialplan.Option{dialplan.WithTrunks(trunks), dialplan.In(config.Zone())}
}
