package demo_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/demo"
)

// now is a Sunday afternoon; the day written is the day before.
func now(t *testing.T) time.Time {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Moscow")
	if err != nil {
		t.Fatal(err)
	}
	return time.Date(2026, 11, 22, 15, 30, 0, 0, zone)
}

func write(t *testing.T, change func(*demo.Options)) demo.Summary {
	t.Helper()
	at := now(t)
	o := demo.Options{Dir: t.TempDir(), Day: at.AddDate(0, 0, -1), Calls: 60, Seed: 7, Now: at}
	if change != nil {
		change(&o)
	}
	sum, err := demo.Write(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// rows reads the whole table, each row as a map of texts.
func rows(t *testing.T, path string) []map[string]string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	found, err := db.QueryContext(t.Context(), "SELECT * FROM cdr_general ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	names, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for found.Next() {
		values, dest := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			dest[i] = &values[i]
		}
		if err := found.Scan(dest...); err != nil {
			t.Fatal(err)
		}
		row := map[string]string{}
		for i, name := range names {
			if !values[i].Valid {
				t.Errorf("row %s: %s is NULL, MikoPBX writes ''", row["id"], name)
			}
			row[name] = values[i].String
		}
		out = append(out, row)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func stamp(t *testing.T, text string, zone *time.Location) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04:05.000", text, zone)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// onDisk gives the file that a row's recordingfile means.
func onDisk(t *testing.T, sum demo.Summary, name string) string {
	t.Helper()
	_, tail, ok := strings.Cut(name, "/monitor/")
	if !ok {
		t.Fatalf("recording %q is not in the PBX's monitor directory", name)
	}
	return filepath.Join(sum.Monitor, filepath.FromSlash(tail))
}

func TestDayIsWhatAMikoPBXWrites(t *testing.T) {
	t.Parallel()
	sum := write(t, nil)
	last := now(t).Add(-5 * time.Minute)
	calls, recorded := map[string]bool{}, map[string]bool{}
	for _, row := range rows(t, sum.CDR) {
		if got, want := len(row), 30; got != want {
			t.Fatalf("row has %d columns, want %d", got, want)
		}
		calls[row["linkedid"]] = true
		start, end := stamp(t, row["start"], last.Location()), stamp(t, row["endtime"], last.Location())
		if start.Before(sum.From) || !end.Before(sum.To) || end.After(last) || end.Before(start) {
			t.Errorf("row %s lasts from %s to %s, want it within %s and before %s", row["id"], start, end, sum.From, last)
		}
		if got, want := row["duration"], fmt.Sprint(end.Unix()-start.Unix()); got != want {
			t.Errorf("row %s: duration %s, want %s", row["id"], got, want)
		}
		billsec := "0"
		if row["answer"] != "" {
			billsec = fmt.Sprint(end.Unix() - stamp(t, row["answer"], last.Location()).Unix())
		}
		if row["billsec"] != billsec {
			t.Errorf("row %s: billsec %s, want %s", row["id"], row["billsec"], billsec)
		}
		if got, want := row["disposition"] == "ANSWERED", billsec != "0"; got != want {
			t.Errorf("row %s: disposition %s with billsec %s", row["id"], row["disposition"], billsec)
		}
		if row["recordingfile"] != "" {
			file := onDisk(t, sum, row["recordingfile"])
			if recorded[file] {
				t.Errorf("two rows name %s", file)
			}
			recorded[file] = true
		}
	}
	if len(calls) != 60 || sum.Calls != 60 {
		t.Errorf("table has %d calls, summary says %d, want 60", len(calls), sum.Calls)
	}
	for _, part := range sum.Sent {
		if part.Recording != "" && !recorded[part.Recording] {
			t.Errorf("no row names %s of call %s", part.Recording, part.ExternalID)
		}
	}
}

func TestSummaryAddsUp(t *testing.T) {
	t.Parallel()
	sum := write(t, nil)
	recordings, transfers, kinds, seen := 0, 0, map[string]bool{}, map[string]bool{}
	for _, part := range sum.Sent {
		kinds[part.Kind] = true
		if seen[part.ExternalID] {
			t.Errorf("%s is there twice", part.ExternalID)
		}
		seen[part.ExternalID] = true
		if part.Recording != "" {
			recordings++
		}
		if strings.Contains(part.ExternalID, "/") {
			transfers++
		}
		if answered := part.Status == "200"; answered != (part.Talk > 0) || answered != (part.Recording != "") {
			t.Errorf("%s (%s): status %s with %d s of talk and recording %q", part.ExternalID, part.Kind, part.Status, part.Talk, part.Recording)
		}
	}
	if got, want := sum.Parts, sum.Calls-sum.Internal+transfers; got != want || len(sum.Sent) != want {
		t.Errorf("%d parts, %d listed, want %d", got, len(sum.Sent), want)
	}
	if sum.Recordings != recordings {
		t.Errorf("%d recordings, want %d", sum.Recordings, recordings)
	}
	if sum.Internal == 0 || len(kinds) != 16 {
		t.Errorf("%d internal calls and %d other kinds, want some and 16", sum.Internal, len(kinds))
	}
}

func TestSameSeedSameDay(t *testing.T) {
	t.Parallel()
	few := func(o *demo.Options) { o.Calls = 20 }
	first, again := write(t, few), write(t, few)
	other := write(t, func(o *demo.Options) { o.Calls, o.Seed = 20, 8 })
	if diff := cmp.Diff(rows(t, again.CDR), rows(t, first.CDR)); diff != "" {
		t.Errorf("same seed, other rows (-got +want):\n%s", diff)
	}
	if cmp.Equal(rows(t, other.CDR), rows(t, first.CDR)) {
		t.Error("other seed, same rows")
	}
	sounds := map[[32]byte]string{}
	for i, part := range first.Sent {
		if part.Recording == "" {
			continue
		}
		sum := sha256.Sum256(read(t, part.Recording))
		if sum != sha256.Sum256(read(t, again.Sent[i].Recording)) {
			t.Errorf("%s: same seed, other sound", part.ExternalID)
		}
		if twin := sounds[sum]; twin != "" {
			t.Errorf("%s and %s sound the same", part.ExternalID, twin)
		}
		sounds[sum] = part.ExternalID
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRecordingsAreSound(t *testing.T) {
	t.Parallel()
	sum := write(t, nil)
	var total int64
	for _, part := range sum.Sent {
		if part.Recording == "" {
			continue
		}
		wav := read(t, part.Recording)
		total += int64(len(wav))
		if !bytes.HasPrefix(wav, []byte("RIFF")) || string(wav[8:16]) != "WAVEfmt " || string(wav[36:40]) != "data" {
			t.Fatalf("%s is no WAV: % x", part.Recording, wav[:44])
		}
		if got, want := int(binary.LittleEndian.Uint32(wav[4:8]))+8, len(wav); got != want {
			t.Errorf("%s: RIFF says %d bytes, want %d", part.Recording, got, want)
		}
		if got, want := int(binary.LittleEndian.Uint32(wav[40:44]))+44, len(wav); got != want {
			t.Errorf("%s: data says %d bytes, want %d", part.Recording, got, want)
		}
		seconds := float64(len(wav)-44) / 16000
		if off := seconds - float64(part.Talk); off < -1.5 || off > 1.5 {
			t.Errorf("%s (%s): lasts %.1f s, talk is %d s", part.ExternalID, part.Kind, seconds, part.Talk)
		}
		loud, clipped := 0, 0
		for i := 44; i < len(wav); i += 2 {
			switch v := int16(binary.LittleEndian.Uint16(wav[i:])); {
			case v >= 32000 || v <= -32000:
				clipped++
			case v > 1500 || v < -1500:
				loud++
			}
		}
		if share := float64(loud) / float64(len(wav)/2); share < 0.1 || clipped > 0 {
			t.Errorf("%s: %.0f%% of the samples are loud and %d are clipped, want a tenth at least and none", part.Recording, 100*share, clipped)
		}
		info, err := os.Stat(part.Recording)
		if err != nil {
			t.Fatal(err)
		}
		if now(t).Sub(info.ModTime()) < time.Minute {
			t.Errorf("%s changed at %s, want it as old as the call", part.Recording, info.ModTime())
		}
	}
	if total > 60<<20 {
		t.Errorf("recordings take %d bytes, want 60 MB at most", total)
	}
}

func TestWriteOfOddDays(t *testing.T) {
	t.Parallel()
	at := now(t)
	tests := []struct {
		name      string
		change    func(*demo.Options)
		wantCalls int
		wantErr   string
	}{
		{"one call", func(o *demo.Options) { o.Calls = 1 }, 1, ""},
		{"today, by now", func(o *demo.Options) { o.Day = at }, 30, ""},
		{"today, soon after midnight, more calls than minutes", func(o *demo.Options) { o.Day, o.Now = at, at.Add(-15*time.Hour) }, 30, ""},
		{"today, minutes after midnight", func(o *demo.Options) { o.Day, o.Now = at, at.Add(-15*time.Hour-25*time.Minute) }, 0, "too young"},
		{"tomorrow", func(o *demo.Options) { o.Day = at.AddDate(0, 0, 1) }, 0, "too young"},
		{"no calls", func(o *demo.Options) { o.Calls = 0 }, 0, "one at least"},
		{"a directory with characters of URLs", func(o *demo.Options) { o.Dir = mkdir(t, "a b?c#d%20") }, 30, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := demo.Options{Dir: t.TempDir(), Day: at.AddDate(0, 0, -1), Calls: 30, Seed: 7, Now: at}
			tt.change(&o)
			sum, err := demo.Write(t.Context(), o)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error %v, want one that says %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if sum.Calls != tt.wantCalls || sum.Parts < 1 {
				t.Errorf("%d calls and %d parts, want %d and some", sum.Calls, sum.Parts, tt.wantCalls)
			}
			if _, err := os.Stat(sum.CDR); err != nil {
				t.Error(err)
			}
			for _, part := range sum.Sent {
				if end := part.Start.Add(time.Duration(part.Talk) * time.Second); end.After(o.Now.Add(-5 * time.Minute)) {
					t.Errorf("%s ends at %s, want it minutes before %s", part.ExternalID, end, o.Now)
				}
			}
		})
	}
}

func mkdir(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWriteTwice(t *testing.T) {
	t.Parallel()
	at := now(t)
	o := demo.Options{Dir: t.TempDir(), Day: at.AddDate(0, 0, -1), Calls: 3, Seed: 7, Now: at}
	if _, err := demo.Write(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := demo.Write(t.Context(), o); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("second day into the same directory: error %v, want one that says so", err)
	}
}

func TestWriteStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	at := now(t)
	if _, err := demo.Write(ctx, demo.Options{Dir: t.TempDir(), Day: at.AddDate(0, 0, -1), Calls: 60, Now: at}); err == nil {
		t.Error("no error from a context that is done")
	}
}
