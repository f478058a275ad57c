package main

import (
	"sverka/internal/portal"
	"sverka/internal/reconcile"
)

// lines gives the lines of the configuration as the portal should keep them. Calls that an employee starts in the portal make CRM objects
// by the line's setting, so it says what crm.create does.
func (c *Config) lines() []portal.Line {
	create := reconcile.Create(c.CRM.Create)
	var lines []portal.Line
	for _, line := range c.Lines {
		if line.Enabled {
			lines = append(lines, portal.Line{
				Number: line.Number, Name: line.Name, AutoCreate: create == reconcile.CreateAll || create == reconcile.CreateOutgoing,
			})
		}
	}
	return lines
}
