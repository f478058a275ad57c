package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Widths in columns. What callers and PBXs make up is cut where it would push the rest out of sight; keys and details never are.
const (
	narrowest   = 80 // a narrower terminal wraps the lines itself
	minDetail   = 28 // with less room the detail stands below its line
	maxPhone    = 20
	maxEmployee = 16
)

// maxStrangers is how many extensions without an employee the table lists.
const maxStrangers = 20

// Table writes one line for each gap, the summary, the ignored calls counted by reason and the extensions that belong to nobody, at most width columns wide (80 at least).
// Where the columns leave too little room for the detail, it stands below the line, behind the linkedid. There are no colours.
func Table(w io.Writer, r Report, width int) error {
	width = max(width, narrowest)
	lines := wrapped(fmt.Sprintf("%s, %s", printable(r.Site), r.period()), width)
	if !r.Clean() {
		lines = append(append(lines, ""), r.rows(width)...)
	}
	lines = append(append(lines, ""), wrapped(r.summary(), width)...)
	if len(r.Ignored) > 0 {
		lines = append(lines, "", "Ignored, not sent to Bitrix24: "+calls(len(r.Ignored)))
		for _, reason := range r.byReason() {
			lines = append(lines, fmt.Sprintf("%7s  %s", number(reason.n), text.Snip(printable(reason.name), width-9, "…")))
		}
	}
	if strangers := r.strangers(); len(strangers) > 0 {
		lines = append(lines, "", plural(len(strangers), "extension belongs", "extensions belong")+" to nobody in Bitrix24; calls they rang or talked in:")
		for _, s := range strangers[:min(len(strangers), maxStrangers)] {
			lines = append(lines, fmt.Sprintf("%7s  %s", number(s.n), text.Snip(printable(s.name), width-9, "…")))
		}
		if more := len(strangers) - maxStrangers; more > 0 {
			lines = append(lines, fmt.Sprintf("%7s  and %s more", "…", number(more)))
		}
		lines = append(lines, wrapped(strangersHint, width)...)
	}
	if _, err := io.WriteString(w, strings.Join(lines, "\n")+"\n"); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// rows gives the lines of the gaps, below the header.
func (r Report) rows(width int) []string {
	gaps := r.gaps()
	columns := []table.Row{{"", "kind", "start", "phone", "employee"}}
	keys := []string{"linkedid"}
	details := []string{"detail"}
	for _, gap := range gaps {
		columns = append(columns, table.Row{
			Symbol(gap.Kind), string(gap.Kind), r.local(gap.Start, time.DateTime),
			text.Snip(printable(gap.Phone), maxPhone, "…"), text.Snip(printable(gap.Employee), maxEmployee, "…"),
		})
		keys = append(keys, printable(gap.LinkedID))
		details = append(details, printable(gap.Detail))
	}
	first := render(columns, 0)
	room := width - widest(first) - widest(keys) - 4 // Two columns of space on both sides of the detail.
	if room >= minDetail {
		for i := range columns {
			columns[i] = append(columns[i], details[i], keys[i])
		}
		return render(columns, room)
	}
	lines := []string{first[0] + "  linkedid, detail"}
	for i, line := range first[1:] {
		lines = append(lines, line)
		for _, below := range wrapped(keys[i+1]+"  "+details[i+1], width-3) {
			lines = append(lines, "   "+below)
		}
	}
	return lines
}

// render lays rows out in columns. A detail wider than its room is wrapped; without room for one each row is one line.
func render(rows []table.Row, room int) []string {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.Options{SeparateColumns: true}
	style.Box.MiddleVertical, style.Box.PaddingLeft, style.Box.PaddingRight = "", "", "  "
	t.SetStyle(style)
	if room > 0 {
		t.SetColumnConfigs([]table.ColumnConfig{{Number: len(rows[0]) - 1, WidthMax: room, WidthMaxEnforcer: text.WrapSoft}})
	}
	t.AppendRows(rows)
	return trimmed(t.Render())
}

// wrapped breaks a text into lines of at most width columns, between words where it can.
func wrapped(s string, width int) []string { return trimmed(text.WrapSoft(s, width)) }

func trimmed(s string) []string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return lines
}

func widest(texts []string) int {
	n := 0
	for _, s := range texts {
		n = max(n, text.StringWidthWithoutEscSequences(s))
	}
	return n
}
