package reconcile

import (
	"fmt"

	"sverka/internal/portal"
)

// LineChange is an external line that the portal should keep otherwise than it does.
type LineChange struct {
	Line   portal.Line
	Reason string
}

// DiffLines gives the lines that the portal lacks, or keeps under another name or setting, in the order of want. A wanted line without a
// name keeps the one it has. Lines that are not wanted stay: calls hang on them, and the portal makes a line of every number that a call
// names.
func DiffLines(want, have []portal.Line) []LineChange {
	there := make(map[string]portal.Line, len(have))
	for _, line := range have {
		there[line.Number] = line
	}
	var changes []LineChange
	for _, line := range want {
		had, ok := there[line.Number]
		if ok && line.Name == "" {
			line.Name = had.Name
		}
		switch {
		case !ok:
			changes = append(changes, LineChange{line, "not in Bitrix24"})
		case line.Name != had.Name:
			changes = append(changes, LineChange{line, fmt.Sprintf("called %q in Bitrix24", had.Name)})
		case line.AutoCreate != had.AutoCreate:
			changes = append(changes, LineChange{line, "crm.create differs from its setting in Bitrix24"})
		default:
			continue
		}
		there[line.Number] = line // a number that is wanted twice is changed once
	}
	return changes
}
