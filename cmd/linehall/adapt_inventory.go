package main

import (
	"linehall/configs"
	"linehall/internal/directory"
	"linehall/sip/dialplan"
)

// terminalsOf turns the rows of terminals.csv into the directory's terminals.
func terminalsOf(config configs.Config) []directory.Terminal {
	rows := config.Inventory()
	terminals := make([]directory.Terminal, 0, len(rows))
	for _, row := range rows {
		terminals = append(terminals, directory.Terminal{
			Extension: row.Extension, DisplayName: row.Label(), Site: row.Site, MAC: row.MAC, Model: row.Model,
			Template: row.Template, State: row.State, Notes: row.Notes, Digest: row.Digest, Class: row.Class,
		})
	}
	return terminals
}

// callerOf is a terminal as the number plan sees it.
func callerOf(terminal directory.Terminal) dialplan.Caller {
	return dialplan.Caller{Extension: terminal.Extension, Class: terminal.Class}
}
