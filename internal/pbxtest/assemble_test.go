package pbxtest_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/cdr"
	"sverka/cdr/cdrdb"
	"sverka/internal/mariadbtest"
	"sverka/internal/pbxtest"
	"sverka/internal/phone"
)

// autumn are the options of a PBX in Berlin in the night when the clock goes back.
func autumn(t *testing.T) pbxtest.Options {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.Zone, o.From, o.To = zone, time.Date(2026, 10, 25, 0, 30, 0, 0, zone), time.Date(2026, 10, 25, 5, 0, 0, 0, zone)
	return o
}

// assembled reads the calls of a table, as the reconciler does.
func assembled(t *testing.T, dsn, table string, o pbxtest.Options) map[string]cdr.Call {
	t.Helper()
	ctx := context.Background()
	config := cdrdb.Config{Driver: "mysql", Schema: cdrdb.SchemaAsterisk, DSN: mariadbtest.ReadOnly(dsn), Table: table, Zone: o.Zone}
	if o.CEL {
		config.CEL = "cel"
	}
	source, err := cdrdb.Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	reader, err := phone.New("RU")
	if err != nil {
		t.Fatal(err)
	}
	var groups [][]cdr.Row
	g := cdr.NewGrouper(6 * time.Hour)
	err = source.Rows(ctx, o.From, o.To.Add(time.Hour), func(r cdr.Row) error {
		groups = append(groups, g.Add(r)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	groups = append(groups, g.Flush()...)
	var ids []string
	for _, rows := range groups {
		ids = append(ids, rows[0].LinkedID)
	}
	events, err := source.Events(ctx, ids)
	if err != nil {
		t.Fatal(err)
	}
	rules := cdr.Rules{Internal: regexp.MustCompile(`^\d{2,4}$`).MatchString, Phone: reader.E164}
	calls := make(map[string]cdr.Call)
	for _, rows := range groups {
		c := cdr.Assemble(rows, events[rows[0].LinkedID], rules)
		if _, twice := calls[c.LinkedID]; twice {
			t.Errorf("call %s was given out twice", c.LinkedID)
		}
		calls[c.LinkedID] = c
	}
	return calls
}

// portalParts says in the truth's words what an assembled call becomes: product.md §1, the table of parts.
func portalParts(c cdr.Call, recording string) []pbxtest.Part {
	if c.Direction == cdr.Internal {
		return nil
	}
	var out []pbxtest.Part
	for _, p := range c.Parts {
		part := pbxtest.Part{
			LinkedID: c.LinkedID, N: p.N, ExternalID: cdr.ExternalID(c.LinkedID, p.N), Type: 2, Extension: p.Extension, Mobile: p.Phone,
			Phone: c.Phone, Start: p.Start, Talk: p.Talk,
			Recorded: recording != "" && slices.Equal(p.Recordings, []string{recording}),
		}
		switch {
		case c.Direction == cdr.Outbound:
			part.Type = 1
		case p.N > 1:
			part.Type = 3
		}
		switch {
		case p.Status == cdr.Answered:
			part.Status = "200"
		case c.Direction == cdr.Inbound:
			part.Status = "304"
		default:
			part.Status = map[cdr.Status]string{cdr.Busy: "486", cdr.NoAnswer: "480", cdr.Failed: "503", cdr.Cancelled: "603-S"}[p.Status]
		}
		switch {
		case p.Phone != "":
			part.Extension = p.Via
		case part.Extension == "" && len(p.Rang) > 0:
			part.Extension = p.Rang[0]
		}
		out = append(out, part)
	}
	return out
}

// rounded lets a figure that is known to a second stand for its neighbour.
func rounded(got, want []pbxtest.Part) []pbxtest.Part {
	for i := range min(len(got), len(want)) {
		if want[i].N > 1 && got[i].Start.Sub(want[i].Start).Abs() <= time.Second {
			got[i].Start = want[i].Start
		}
		if d := got[i].Talk - want[i].Talk; want[i].Status == "200" && d >= -1 && d <= 1 {
			got[i].Talk = want[i].Talk
		}
	}
	return got
}

func TestAssemble(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, table string
		cel         bool
	}{
		{"rows", "cdr", false}, {"rows and events", "cdr", true}, {"vanilla rows", pbxtest.Vanilla, false}, {"vanilla rows and events", pbxtest.Vanilla, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			o := autumn(t)
			o.CEL = tt.cel
			p := pbxtest.Generate(o)
			dsn := mariadbtest.Start(t).Database(t)
			db := open(t, dsn)
			if err := p.Load(ctx, db); err != nil {
				t.Fatal(err)
			}
			if err := p.LoadVanilla(ctx, db); err != nil {
				t.Fatal(err)
			}
			got := assembled(t, dsn, tt.table, o)
			if len(got) != o.Calls {
				t.Errorf("%d calls, want %d", len(got), o.Calls)
			}
			wrong := map[string]int{}
			for _, want := range p.Calls() {
				if tt.table == pbxtest.Vanilla { // no column for a recording
					want.Name = ""
					for i := range want.Parts {
						want.Parts[i].Recorded = false
					}
				}
				c, ok := got[want.LinkedID]
				if !ok {
					t.Errorf("call %s (%s) is missing", want.LinkedID, want.Template)
					continue
				}
				direction := map[cdr.Direction]pbxtest.Direction{
					cdr.Inbound: pbxtest.Inbound, cdr.Outbound: pbxtest.Outbound, cdr.Internal: pbxtest.Internal,
				}[c.Direction]
				diff := cmp.Diff(direction, want.Direction) + cmp.Diff(rounded(portalParts(c, want.Name), want.Parts), want.Parts)
				// A blind transfer overwrites dst in all rows, and a vanilla row has nothing else to tell what was called.
				known := tt.table != pbxtest.Vanilla || tt.cel || want.Template != "05"
				if direction == pbxtest.Inbound && c.DID != want.DID && known {
					diff += cmp.Diff(c.DID, want.DID)
				}
				if !c.Start.Equal(want.Start) {
					diff += cmp.Diff(c.Start, want.Start)
				}
				if diff == "" {
					continue
				}
				if wrong[want.Template]++; wrong[want.Template] == 1 {
					t.Errorf("call %s (%s) of %s (-got +want):\n%s", want.LinkedID, want.Template, want.RawPhone, diff)
				}
			}
			if len(wrong) > 0 {
				t.Errorf("wrong calls by kind: %v", wrong)
			}
		})
	}
}

func TestAssembleBad(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		table string
		plant func(*pbxtest.PBX, context.Context, *sql.DB) ([]pbxtest.Bad, error)
	}{{"cdr", (*pbxtest.PBX).PlantBad}, {pbxtest.Vanilla, (*pbxtest.PBX).PlantBadVanilla}} {
		t.Run(tt.table, func(t *testing.T) {
			t.Parallel()
			ctx := context.Background()
			o := options(t)
			o.Calls, o.Recorded, o.CEL, o.Dir = 50, 5, false, filepath.Join(o.Dir, "monitor")
			p := pbxtest.Generate(o)
			dsn := mariadbtest.Start(t).Database(t)
			db := open(t, dsn)
			if err := p.Load(ctx, db); err != nil {
				t.Fatal(err)
			}
			if err := p.LoadVanilla(ctx, db); err != nil {
				t.Fatal(err)
			}
			bad, err := tt.plant(p, ctx, db)
			if err != nil {
				t.Fatal(err)
			}
			got := assembled(t, dsn, tt.table, o)
			for _, c := range p.Calls() {
				for i := range c.Parts {
					c.Parts[i].Recorded = false
				}
				if diff := cmp.Diff(rounded(portalParts(got[c.LinkedID], ""), c.Parts), c.Parts); diff != "" {
					t.Errorf("good call %s (%s) suffers (-got +want):\n%s", c.LinkedID, c.Template, diff)
				}
				delete(got, c.LinkedID)
			}
			for _, b := range bad {
				c, ok := got[b.LinkedID]
				delete(got, b.LinkedID)
				switch {
				case b.Outcome == pbxtest.Harmless:
				case !ok:
					t.Errorf("%s: no call %s", b.What, b.LinkedID)
				case b.Outcome == pbxtest.Refused:
					if c.Phone != "" {
						t.Errorf("%s: the phone is %q, want none", b.What, c.Phone)
					}
				default:
					if diff := cmp.Diff(rounded(portalParts(c, ""), b.Parts), b.Parts); diff != "" {
						t.Errorf("%s (-got +want):\n%s", b.What, diff)
					}
				}
			}
			for id := range got {
				t.Errorf("call %q comes from nowhere", id)
			}
		})
	}
}
