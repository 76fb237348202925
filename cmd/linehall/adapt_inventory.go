package main

import (
	"linehall/configs"
	"linehall/internal/directory"
	"linehall/provisioning/inventory"
	"linehall/sip/dialplan"
)

// terminalsOf turns the rows of terminals.csv into the directory's terminals.
func terminalsOf(config configs.Config) []directory.Terminal {
	rows := config.Inventory()
	terminals := make([]directory.Terminal, 0, len(rows))
	for _, row := range rows {
		state := row.State
		if state == inventory.StatePool { // a number in stock until a phone is lent it
			state = directory.Spare
			if row.MAC != "" {
				state = directory.Active
			}
		}
		terminals = append(terminals, directory.Terminal{
			Extension: row.Extension, DisplayName: row.Label(), Site: row.Site, MAC: row.MAC, Model: row.Model,
			Template: row.Template, State: state, Notes: row.Notes, Digest: row.Digest, Class: row.Class,
		})
	}
	return terminals
}

// callerOf is a terminal as the number plan sees it.
func callerOf(terminal directory.Terminal) dialplan.Caller {
	return dialplan.Caller{Extension: terminal.Extension, Class: terminal.Class}
}
