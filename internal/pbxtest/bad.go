package pbxtest

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Extensions that take calls of PlantBad.
const (
	Nobody    = "9998" // no employee has it
	Dismissed = "9999" // an employee of SeedJSON who is not active any more has it
)

// Outcome says what must become of bad input, beside that no other call may suffer.
type Outcome int

// Outcomes of bad input.
const (
	Delivered        Outcome = iota + 1 // the parts are in the portal, and there is no gap
	DeliveredWithGap                    // the parts are in the portal, and a gap of kind Gap says what is wrong
	Refused                             // nothing is in the portal, and a gap of kind Gap says why
	Harmless                            // there is no call to speak of
)

func (o Outcome) String() string {
	names := [...]string{
		Delivered: "delivered", DeliveredWithGap: "delivered with gap", Refused: "refused", Harmless: "harmless",
	}
	if o < Delivered || int(o) >= len(names) {
		return "unknown"
	}
	return names[o]
}

// Bad is one piece of bad input. Its calls are not among those of Calls and Parts.
type Bad struct {
	What     string // in words
	LinkedID string // "" where the row has no key at all
	Outcome  Outcome
	Gap      string // kind of gap, product.md §3: error, unmapped, record_lost, record_missing
	Parts    []Part // what the portal must hold; Recorded is always false
	File     string // the bad recording, relative to Options.Dir
	Growing  bool   // the recording is being written; Finish ends that

	call *call
}

// bad is a recipe.
type bad struct {
	what    string
	kind    string // of call
	outcome Outcome
	gap     string
	forced  map[string]string
	edit    func(rows []row) []row
	file    func(whole []byte) []byte // makes the bad file of a whole one
	growing bool
}

// everything sets a column in all rows.
func everything(column, value string) func([]row) []row {
	return func(rows []row) []row {
		for i := range rows {
			rows[i].set(column, value)
		}
		return rows
	}
}

// also adds a copy of the first row with other values.
func also(values map[string]string) func([]row) []row {
	return func(rows []row) []row {
		extra := rows[0]
		for column, value := range values {
			extra.set(column, value)
		}
		return append(rows, extra)
	}
}

const zeroDate = "0000-00-00 00:00:00"

// brokenName is a Cyrillic name cut in the middle of a letter, and bytes that no text has.
const brokenName = "\"\xd0\x98\xd0\xb2\xd0\xb0\xd0\xbd \xd0\xff\xfe\" <%s>"

var badRows = [...]bad{
	{what: "a row with a zero date beside a good one", kind: "01", outcome: Delivered, edit: also(map[string]string{"calldate": zeroDate})},
	{
		what: "the only row has a zero date; its uniqueid tells when the call began", kind: "01", outcome: Delivered,
		edit: everything("calldate", zeroDate),
	},
	{what: "a name in broken UTF-8", kind: "01", outcome: Delivered, edit: func(rows []row) []row {
		return everything("clid", fmt.Sprintf(brokenName, rows[0].get("src")))(rows)
	}},
	{what: "a row without linkedid: its uniqueid is the call", kind: "01", outcome: Delivered, edit: everything("linkedid", "")},
	{what: "a row without linkedid and uniqueid", kind: "01", outcome: Harmless, edit: func(rows []row) []row {
		return everything("uniqueid", "")(everything("linkedid", "")(rows))
	}},
	{what: "an anonymous caller", kind: "01", outcome: Refused, gap: "error", forced: map[string]string{labClient: "anonymous"}},
	{what: "a caller of 30 digits", kind: "01", outcome: Refused, gap: "error", forced: map[string]string{labClient: strings.Repeat("790", 10)}},
	{what: "an extension nobody has", kind: "01", outcome: DeliveredWithGap, gap: "unmapped", forced: map[string]string{labExtensions[0]: Nobody}},
	{what: "a dismissed employee", kind: "06", outcome: DeliveredWithGap, gap: "unmapped", forced: map[string]string{labExtensions[0]: Dismissed}},
	{what: "a duration that cannot be", kind: "02a", outcome: Delivered, edit: everything("duration", "-2147483648")},
	{what: "a recording outside of the directory", kind: "01", outcome: DeliveredWithGap, gap: "record_lost", edit: func(rows []row) []row {
		return everything("recordingfile", "../../../../"+rows[0].get("recordingfile"))(rows)
	}},
	{what: "a recording that is not there", kind: "06", outcome: DeliveredWithGap, gap: "record_lost"},
	{
		what: "an empty recording", kind: "01", outcome: DeliveredWithGap, gap: "record_lost",
		file: func([]byte) []byte { return nil },
	},
	{
		what: "a recording that is a header only", kind: "06", outcome: DeliveredWithGap, gap: "record_lost",
		file: func([]byte) []byte { return wav(nil) },
	},
	{
		what: "a recording that is cut off", kind: "01", outcome: DeliveredWithGap, gap: "record_lost",
		file: func(whole []byte) []byte { return whole[:len(whole)/3] },
	},
	{
		what: "a recording that is no audio", kind: "13b", outcome: DeliveredWithGap, gap: "record_lost",
		file: func([]byte) []byte { return []byte(strings.Repeat("<html>502 Bad Gateway</html>\n", 100)) },
	},
	{
		what: "a recording that is still being written", kind: "01", outcome: DeliveredWithGap, gap: "record_missing", growing: true,
		file: func(whole []byte) []byte {
			// Until MixMonitor closes the file its header says that there is nothing.
			open := whole[:wavHead+32<<10]
			binary.LittleEndian.PutUint32(open[4:], 0)
			binary.LittleEndian.PutUint32(open[wavHead-4:], 0)
			return open
		},
	},
}

// PlantBad adds bad rows to the table cdr of Load, and bad recordings below Options.Dir; the good file that a path with .. names lies beside
// Dir. The column clid becomes varbinary: in a column of text MySQL itself would not let broken UTF-8 pass.
func (p *PBX) PlantBad(ctx context.Context, db *sql.DB) ([]Bad, error) {
	if _, err := db.ExecContext(ctx, "ALTER TABLE cdr MODIFY clid varbinary(80) NOT NULL DEFAULT ''"); err != nil {
		return nil, fmt.Errorf("make column clid take any bytes: %w", err)
	}
	var planted []Bad
	for _, b := range badRows {
		c := p.makeBad(b)
		rows := p.rows(c)
		if b.edit != nil {
			rows = b.edit(rows)
		}
		if err := insertCDR(ctx, db, rows); err != nil {
			return nil, fmt.Errorf("plant %s: %w", b.what, err)
		}
		if p.opts.CEL {
			if err := insertEvents(ctx, db, p.events(c)); err != nil {
				return nil, fmt.Errorf("plant %s: %w", b.what, err)
			}
		}
		if err := p.writeBad(c, b, rows[0].get("recordingfile")); err != nil {
			return nil, fmt.Errorf("plant %s: %w", b.what, err)
		}
		planted = append(planted, c.bad(b))
	}
	return planted, nil
}

// makeBad makes a call of its own, of a client of its own.
func (p *PBX) makeBad(b bad) *call {
	c := p.make(p.template(b.kind), p.moment(), b.forced)
	c.named = strings.HasPrefix(b.gap, "record_")
	return c
}

// bad describes a planted call.
func (c *call) bad(b bad) Bad {
	out := Bad{What: b.what, LinkedID: c.LinkedID, Outcome: b.outcome, Gap: b.gap, Growing: b.growing, call: c}
	switch b.outcome {
	case Harmless:
		out.LinkedID = ""
	case Refused:
	default:
		out.Parts = c.Parts
	}
	if b.file != nil {
		out.File = c.File
	}
	return out
}

// writeBad writes the recording of a bad call.
func (p *PBX) writeBad(c *call, b bad, name string) error {
	whole := wav(tone(lowest, c.template.talk()))
	switch {
	case strings.HasPrefix(name, "../"):
		return p.writeFile(filepath.Join("..", filepath.Base(name)), whole, c.End)
	case b.file == nil:
		return nil
	}
	c.File = p.place(c)
	changed := c.End
	if b.growing {
		changed = time.Now() // the one who reads the file looks at the same clock
	}
	return p.writeFile(c.File, b.file(whole), changed)
}

// Finish completes a recording that is being written. From then on the parts of b must carry it, and the gap is gone.
func (p *PBX) Finish(b Bad) error {
	if !b.Growing {
		return fmt.Errorf("finish recording of call %s: it is not being written", b.LinkedID)
	}
	err := p.writeFile(b.File, wav(tone(lowest, b.call.template.talk())), b.call.End)
	if err != nil {
		return fmt.Errorf("finish recording of call %s: %w", b.LinkedID, err)
	}
	return nil
}

var badVanilla = [...]struct {
	what    string
	outcome Outcome
	gap     string
	null    []string // nil: every column
}{
	{"NULL in every column that Asterisk may leave empty", Delivered, "", []string{
		"accountcode", "clid", "lastapp", "lastdata", "amaflags", "userfield", "peeraccount", "sequence", "dcontext",
	}},
	{"no linkedid: the uniqueid is the call", Delivered, "", []string{"linkedid"}},
	{"no start; the uniqueid tells it", Delivered, "", []string{"start"}},
	{"no duration and billsec; answer and end tell them", Delivered, "", []string{"duration", "billsec"}},
	{"no caller", Refused, "error", []string{"src", "clid"}},
	{"NULL in every column", Harmless, "", nil},
}

// PlantBadVanilla adds bad rows to the table of LoadVanilla.
func (p *PBX) PlantBadVanilla(ctx context.Context, db *sql.DB) ([]Bad, error) {
	var planted []Bad
	for _, b := range badVanilla {
		c := p.makeBad(bad{kind: "01"})
		values := p.rows(c)[0].vanilla()
		for i, column := range vanillaColumns {
			if b.null == nil || slices.Contains(b.null, column) {
				values[i] = nil
			}
		}
		if err := insert(ctx, db, Vanilla, vanillaColumns[:], [][]any{values}); err != nil {
			return nil, fmt.Errorf("plant %s: %w", b.what, err)
		}
		planted = append(planted, c.bad(bad{what: b.what, outcome: b.outcome, gap: b.gap}))
	}
	return planted, nil
}
