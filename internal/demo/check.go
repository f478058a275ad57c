package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"sverka/internal/emulator"
)

// Portal is what a check looks at: an *emulator.Portal.
type Portal interface {
	Calls() []emulator.Call
	Live() []emulator.LiveCall
	Record(fileID int64) (emulator.Record, error)
}

// Verdict is what a check saw.
type Verdict struct {
	Parts      int      // that stand in the portal exactly once, and right
	Recordings int      // attached, byte for byte what the PBX recorded
	Bytes      int64    // of those
	Wrong      []string // what is not as it should be, in words; empty when all is well
}

// slack is how far times and durations may be apart: the portal and the rows count whole seconds.
const slack = 2 * time.Second

// Check holds the portal against the truth: each part is there exactly once with the right employee, client, line, start, status and
// talk, each recording is attached and has the bytes of the file on the PBX, and nothing else is there. The recordings must have been
// delivered as they are (recordings.format: keep).
func (s Summary) Check(p Portal) Verdict {
	var v Verdict
	found := make(map[string][]emulator.Call)
	for _, call := range p.Calls() {
		found[call.ExternalID] = append(found[call.ExternalID], call)
	}
	for _, part := range s.Sent {
		rows := found[part.ExternalID]
		delete(found, part.ExternalID)
		if len(rows) != 1 {
			v.wrong("%s (%s): %d times in the portal, want once", part.ExternalID, part.Kind, len(rows))
			continue
		}
		differences := part.differences(rows[0])
		for _, d := range differences {
			v.wrong("%s (%s): %s", part.ExternalID, part.Kind, d)
		}
		if len(differences) == 0 {
			v.Parts++
		}
		v.recording(p, part, rows[0])
	}
	for id, rows := range found {
		v.wrong("%q: %d times in the portal, and no call of this day", id, len(rows))
	}
	for _, live := range p.Live() {
		v.wrong("%s: registered and never finished", live.ExternalID)
	}
	slices.Sort(v.Wrong)
	return v
}

func (v *Verdict) wrong(format string, args ...any) {
	v.Wrong = append(v.Wrong, fmt.Sprintf(format, args...))
}

// differences tells what a portal's row says otherwise.
func (p Part) differences(row emulator.Call) []string {
	var out []string
	differ := func(what string, got, want any) {
		if got != want {
			out = append(out, fmt.Sprintf("%s %v, want %v", what, got, want))
		}
	}
	differ("type", row.Type, p.Type)
	differ("status", row.Status, p.Status)
	differ("employee", row.UserID, p.UserID)
	differ("client", row.Phone, p.Phone)
	differ("line", row.Line, p.Line)
	if off := row.Start.Sub(p.Start); off.Abs() > slack {
		out = append(out, fmt.Sprintf("start %s, want %s", row.Start.In(p.Start.Location()).Format(time.TimeOnly), p.Start.Format(time.TimeOnly)))
	}
	low, high := p.Talk-int(slack.Seconds()), p.Talk+p.Held+int(slack.Seconds())
	if p.Talk == 0 {
		low, high = 0, 0
	}
	if row.Duration < low || row.Duration > high {
		out = append(out, fmt.Sprintf("talk %d s, want %d s", row.Duration, p.Talk))
	}
	return out
}

// recording holds the attached recording of a part against the file on the PBX.
func (v *Verdict) recording(p Portal, part Part, row emulator.Call) {
	switch {
	case part.Recording == "" && row.RecordFileID == 0:
		return
	case part.Recording == "":
		v.wrong("%s (%s): has a recording, want none", part.ExternalID, part.Kind)
		return
	case row.RecordFileID == 0:
		v.wrong("%s (%s): has no recording", part.ExternalID, part.Kind)
		return
	}
	record, err := p.Record(row.RecordFileID)
	if err != nil {
		v.wrong("%s (%s): %v", part.ExternalID, part.Kind, err)
		return
	}
	sum, size, err := hash(part.Recording)
	switch {
	case err != nil:
		v.wrong("%s (%s): %v", part.ExternalID, part.Kind, err)
	case sum != record.SHA256:
		v.wrong("%s (%s): the recording has other bytes than %s", part.ExternalID, part.Kind, part.Recording)
	default:
		v.Recordings++
		v.Bytes += size
	}
}

// hash gives the SHA-256 of a file in hex, and its size.
func hash(path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", 0, fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), n, nil
}
