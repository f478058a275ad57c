package pbxtest_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"sverka/internal/mariadbtest"
	"sverka/internal/pbxtest"
)

// options are those of a PBX in Moscow in the days around a year's end, so that calls cross midnight.
func options(t testing.TB) pbxtest.Options {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Moscow")
	if err != nil {
		t.Fatal(err)
	}
	var extensions []string
	for i := 201; i <= 230; i++ {
		extensions = append(extensions, strconv.Itoa(i))
	}
	return pbxtest.Options{
		Calls: 1000, Recorded: 100, Seed: 7, Zone: zone, Extensions: extensions, CEL: true, Dir: t.TempDir(),
		From: time.Date(2026, 12, 31, 0, 0, 0, 0, zone), To: time.Date(2027, 1, 2, 0, 0, 0, 0, zone),
	}
}

func database(t testing.TB) *sql.DB {
	t.Helper()
	return open(t, mariadbtest.Start(t).Database(t))
}

func open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestSameOptionsSamePBX(t *testing.T) {
	t.Parallel()
	o := options(t)
	one, two := pbxtest.Generate(o), pbxtest.Generate(o)
	if diff := cmp.Diff(one.Calls(), two.Calls()); diff != "" {
		t.Errorf("two PBXs of the same options differ (-one +two):\n%s", diff)
	}
	if got, want := string(one.SeedJSON()), string(two.SeedJSON()); got != want {
		t.Errorf("seeds differ: %s and %s", got, want)
	}
	o.Seed++
	if other := pbxtest.Generate(o); cmp.Equal(one.Calls(), other.Calls()) {
		t.Error("another seed makes the same calls")
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	o := options(t)
	p := pbxtest.Generate(o)
	calls := p.Calls()
	if got := len(calls); got != o.Calls {
		t.Fatalf("%d calls, want %d", got, o.Calls)
	}
	ids, tones, kinds, recorded := map[string]bool{}, map[float64]bool{}, map[string]int{}, 0
	last := map[string]time.Time{}
	for _, c := range calls {
		kinds[c.Template]++
		if ids[c.LinkedID] {
			t.Errorf("linkedid %s is there twice", c.LinkedID)
		}
		ids[c.LinkedID] = true
		if epoch, _, _ := strings.Cut(c.LinkedID, "."); epoch != strconv.FormatInt(c.Start.Unix(), 10) {
			t.Errorf("call %s starts at %d", c.LinkedID, c.Start.Unix())
		}
		if c.Start.Before(o.From) || !c.Start.Before(o.To) {
			t.Errorf("call %s starts at %s, outside of %s to %s", c.LinkedID, c.Start, o.From, o.To)
		}
		if c.Start.Before(last[c.Phone]) && c.Phone != "" {
			t.Errorf("call %s of %s begins before the last one ended", c.LinkedID, c.Phone)
		}
		last[c.Phone] = c.End
		if c.File != "" {
			recorded++
			if tones[c.Tone] {
				t.Errorf("call %s has the tone of another, %f", c.LinkedID, c.Tone)
			}
			tones[c.Tone] = true
		}
		if got, want := c.Sent, c.Direction != pbxtest.Internal; got != want {
			t.Errorf("%s call %s sent: %v, want %v", c.Direction, c.LinkedID, got, want)
		}
		if got, want := len(c.Parts) > 0, c.Sent; got != want {
			t.Errorf("call %s has %d parts, sent %v", c.LinkedID, len(c.Parts), c.Sent)
		}
		for i, part := range c.Parts {
			want := c.LinkedID
			if i > 0 {
				want += "/" + strconv.Itoa(i+1)
			}
			if part.ExternalID != want || part.N != i+1 || part.Phone != c.Phone {
				t.Errorf("part %d of call %s is %+v", i+1, c.LinkedID, part)
			}
			if part.Recorded != (c.File != "") {
				t.Errorf("part %s recorded: %v, file %q", part.ExternalID, part.Recorded, c.File)
			}
		}
	}
	if recorded != o.Recorded {
		t.Errorf("%d recorded calls, want %d", recorded, o.Recorded)
	}
	if got := len(kinds); got != 14 {
		t.Errorf("%d kinds of calls, want 14: %v", got, kinds)
	}
	var parts int
	for _, c := range calls {
		parts += len(c.Parts)
	}
	if got := len(p.Parts()); got != parts {
		t.Errorf("%d parts, want %d", got, parts)
	}
}

func TestSeed(t *testing.T) {
	t.Parallel()
	o := options(t)
	p := pbxtest.Generate(o)
	var seed struct {
		Employees []struct {
			ID    int
			Inner string
		}
	}
	if err := json.Unmarshal(p.SeedJSON(), &seed); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, e := range seed.Employees {
		got[e.Inner] = e.ID
	}
	for _, e := range o.Extensions {
		if got[e] == 0 || got[e] != p.UserID(e) {
			t.Errorf("employee of %s is %d, UserID says %d", e, got[e], p.UserID(e))
		}
	}
	if got := p.UserID("999"); got != 0 {
		t.Errorf("user of an unknown extension is %d, want 0", got)
	}
}

func TestLoad(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := options(t)
	p := pbxtest.Generate(o)
	db := database(t)
	if err := p.Load(ctx, db); err != nil {
		t.Fatal(err)
	}
	if err := p.LoadVanilla(ctx, db); err != nil {
		t.Fatal(err)
	}
	var rows, withFile int
	for _, c := range p.Calls() {
		rows += p.Rows(c.LinkedID)
	}
	for _, c := range []struct {
		what, query string
		want        int
	}{
		{"rows", "SELECT COUNT(*) FROM cdr", rows},
		{"calls", "SELECT COUNT(DISTINCT linkedid) FROM cdr", o.Calls},
		{"sequence numbers", "SELECT COUNT(DISTINCT sequence) FROM cdr", rows},
		{"calls with events", "SELECT COUNT(DISTINCT linkedid) FROM cel", o.Calls},
		{"calls without a last event", "SELECT COUNT(*) FROM (SELECT linkedid FROM cel GROUP BY linkedid HAVING SUM(eventtype = 'LINKEDID_END') <> 1) x", 0},
		{"calls whose first row is at another time than the epoch of their id", "SELECT COUNT(*) FROM (SELECT linkedid FROM cdr WHERE uniqueid = linkedid " +
			"GROUP BY linkedid HAVING TIMESTAMPDIFF(SECOND, '1970-01-01 03:00:00', MIN(calldate)) <> SUBSTRING_INDEX(linkedid, '.', 1)) x", 0},
		{"vanilla rows", "SELECT COUNT(*) FROM cdr_vanilla", rows},
		{"vanilla rows with an empty text", "SELECT COUNT(*) FROM cdr_vanilla WHERE '' IN (accountcode, dst, dstchannel, lastdata, lastapp)", 0},
		{"vanilla rows without start or end", "SELECT COUNT(*) FROM cdr_vanilla WHERE start IS NULL OR end IS NULL", 0},
		{"vanilla rows whose talk and answer differ", "SELECT COUNT(*) FROM cdr_vanilla WHERE answer IS NULL AND billsec > 0", 0},
		{"numbers of the lab", "SELECT COUNT(*) FROM cdr WHERE CONCAT_WS('|', clid, src, dst, channel, dstchannel, lastdata, recordingfile) " +
			"REGEXP '79161234567|79035550000|[^0-9]1001[^0-9]|1795344'", 0},
	} {
		var got int
		err := db.QueryRowContext(ctx, c.query).Scan(&got)
		if err != nil && err != sql.ErrNoRows {
			t.Fatalf("%s: %v", c.what, err)
		}
		if got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	files := map[string]bool{}
	for _, c := range p.Calls() {
		if c.File != "" {
			files[c.Name] = true
		}
	}
	query, err := db.QueryContext(ctx, "SELECT DISTINCT recordingfile FROM cdr WHERE recordingfile <> '' AND disposition = 'ANSWERED'")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = query.Close() }()
	for query.Next() {
		var name string
		if err := query.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if !files[name] && !strings.HasPrefix(name, "internal-") {
			t.Errorf("recording %s belongs to no call", name)
		}
		if files[name] {
			withFile++
		}
	}
	if err := query.Err(); err != nil {
		t.Fatal(err)
	}
	if withFile != o.Recorded {
		t.Errorf("%d recordings in the rows, want %d", withFile, o.Recorded)
	}
}

func TestLateRow(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := options(t)
	o.Calls, o.Recorded = 20, 3
	p := pbxtest.Generate(o)
	db := database(t)
	if err := p.Load(ctx, db); err != nil {
		t.Fatal(err)
	}
	c := p.Add("04", o.From.Add(time.Hour))
	count := func(table string) int {
		var n int
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+table+" WHERE linkedid = ?", c.LinkedID).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, step := range []struct {
		rows     []int
		cdr, cel int
	}{{[]int{0, 1, 2, 3}, 4, 45}, {[]int{4, 5, 6}, 7, 45}} {
		if err := p.Insert(ctx, db, c.LinkedID, step.rows...); err != nil {
			t.Fatal(err)
		}
		if got := [...]int{count("cdr"), count("cel")}; got != [...]int{step.cdr, step.cel} {
			t.Errorf("after rows %v: %v rows and events, want %d and %d", step.rows, got, step.cdr, step.cel)
		}
	}
	if got := len(p.Calls()); got != 21 {
		t.Errorf("%d calls, want 21", got)
	}
	if err := p.Insert(ctx, db, "1.1"); err == nil {
		t.Error("a call that is not there was inserted")
	}
}

func TestRecordings(t *testing.T) {
	t.Parallel()
	o := options(t)
	p := pbxtest.Generate(o)
	if err := p.WriteRecordings(context.Background()); err != nil {
		t.Fatal(err)
	}
	var sound []string
	for _, c := range p.Calls() {
		if c.File == "" {
			continue
		}
		sound = append(sound, c.File)
		path := filepath.Join(o.Dir, c.File)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if got, want := len(b), 44+16000*c.Seconds; got != want || c.Seconds < 6 {
			t.Errorf("%s has %d bytes, want %d for %d s", c.File, got, want, c.Seconds)
			continue
		}
		if got, want := string(b[:4])+string(b[8:16])+string(b[36:40]), "RIFFWAVEfmt data"; got != want {
			t.Errorf("%s begins with %q, want %q", c.File, got, want)
		}
		if got, want := int(binary.LittleEndian.Uint32(b[40:])), len(b)-44; got != want {
			t.Errorf("%s promises %d bytes, has %d", c.File, got, want)
		}
		if got := pbxtest.Hertz(b[44:], 8000); math.Abs(got-c.Tone) > 0.05 {
			t.Errorf("%s sounds at %.3f Hz, want %.3f", c.File, got, c.Tone)
		}
		stat, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := stat.ModTime(); !got.Equal(c.End) {
			t.Errorf("%s was changed at %s, want %s", c.File, got, c.End)
		}
		if got, want := filepath.Dir(c.File), c.Start.Format("2006/01/02"); got != want && c.Start.Hour() != 23 {
			t.Errorf("recording of %s is in %s", c.Start, got)
		}
	}
	var headers int
	err := filepath.WalkDir(o.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(o.Dir, path)
		if err != nil {
			return err
		}
		if slices.Contains(sound, rel) {
			return nil
		}
		headers++
		if info.Size() != 44 {
			t.Errorf("%s has %d bytes and belongs to no call", rel, info.Size())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if headers == 0 {
		t.Error("no unanswered call left an empty file")
	}
}

func TestPlantBad(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	o := options(t)
	o.Calls, o.Recorded, o.Dir = 20, 3, filepath.Join(o.Dir, "monitor")
	p := pbxtest.Generate(o)
	db := database(t)
	for _, load := range []func(context.Context, *sql.DB) error{p.Load, p.LoadVanilla} {
		if err := load(ctx, db); err != nil {
			t.Fatal(err)
		}
	}
	good := p.Calls()
	bad, err := p.PlantBad(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	vanilla, err := p.PlantBadVanilla(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p.Calls(), good); diff != "" {
		t.Errorf("bad input changed the truth about good calls (-got +want):\n%s", diff)
	}
	for _, c := range good {
		for _, b := range slices.Concat(bad, vanilla) {
			for _, part := range b.Parts {
				if part.Phone == c.Phone && part.Start.Before(c.End) && c.Start.Before(part.Start) {
					t.Errorf("%s: its client has another call at that time", b.What)
				}
			}
		}
	}
	for _, b := range slices.Concat(bad, vanilla) {
		if got, want := len(b.Parts) > 0, b.Outcome != pbxtest.Refused && b.Outcome != pbxtest.Harmless; got != want {
			t.Errorf("%s, %s: %d parts", b.What, b.Outcome, len(b.Parts))
		}
		if got, want := b.Gap != "", b.Outcome != pbxtest.Delivered && b.Outcome != pbxtest.Harmless; got != want {
			t.Errorf("%s, %s: gap %q", b.What, b.Outcome, b.Gap)
		}
		for _, part := range b.Parts {
			if part.Recorded {
				t.Errorf("%s: part %s is to carry a bad recording", b.What, part.ExternalID)
			}
		}
	}
	for _, c := range []struct{ what, query string }{
		{"a zero date", "SELECT COUNT(*) FROM cdr WHERE calldate = 0"},
		{"broken UTF-8", "SELECT COUNT(*) FROM cdr WHERE clid LIKE BINARY CONCAT('%', UNHEX('D0FFFE'), '%')"},
		{"no linkedid", "SELECT COUNT(*) FROM cdr WHERE linkedid = '' AND uniqueid <> ''"},
		{"no ids", "SELECT COUNT(*) FROM cdr WHERE linkedid = '' AND uniqueid = ''"},
		{"an anonymous caller", "SELECT COUNT(*) FROM cdr WHERE src = 'anonymous'"},
		{"30 digits", "SELECT COUNT(*) FROM cdr WHERE src REGEXP '^[0-9]{30}$'"},
		{"an extension nobody has", "SELECT COUNT(*) FROM cdr WHERE dstchannel LIKE 'IAX2/9998-%'"},
		{"a dismissed employee", "SELECT COUNT(*) FROM cdr WHERE channel LIKE 'IAX2/9999-%'"},
		{"a path that leads out", "SELECT COUNT(*) FROM cdr WHERE recordingfile LIKE '../%'"},
		{"NULL in all columns", "SELECT COUNT(*) FROM cdr_vanilla WHERE COALESCE(src, clid, start, end, uniqueid, linkedid) IS NULL"},
		{"no start", "SELECT COUNT(*) FROM cdr_vanilla WHERE start IS NULL AND linkedid IS NOT NULL"},
	} {
		var n int
		if err := db.QueryRowContext(ctx, c.query).Scan(&n); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		if n == 0 {
			t.Errorf("no row with %s", c.what)
		}
	}
	outside, err := filepath.Glob(filepath.Join(o.Dir, "..", "*.wav"))
	if err != nil || len(outside) != 1 {
		t.Errorf("files beside the directory: %v, %v, want one", outside, err)
	}
	i := slices.IndexFunc(bad, func(b pbxtest.Bad) bool { return b.Growing })
	size := func() int64 {
		stat, err := os.Stat(filepath.Join(o.Dir, bad[i].File))
		if err != nil {
			t.Fatal(err)
		}
		return stat.Size()
	}
	before := size()
	if err := p.Finish(bad[i]); err != nil {
		t.Fatal(err)
	}
	if got := size(); got <= before {
		t.Errorf("the finished recording has %d bytes, the growing one had %d", got, before)
	}
	if err := p.Finish(bad[0]); err == nil {
		t.Error("a recording that does not grow was finished")
	}
}
