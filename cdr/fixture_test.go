package cdr_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"sverka/cdr"
	"sverka/internal/phone"
)

var extensions = regexp.MustCompile(`^\d{2,4}$`)

// rules are those of a site in Russia with extensions of 2 to 4 digits and two lines.
func rules(t testing.TB) cdr.Rules {
	t.Helper()
	phones, err := phone.New("RU")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{"74951112233": "+74951112233", "SIP-TRUNK-1A2B3C4D": "+74951112233", "trunk": "+74951112233"}
	return cdr.Rules{Internal: extensions.MatchString, Phone: phones.E164, Line: func(did string) string { return lines[did] }}
}

func moscow(t testing.TB) *time.Location { return zone(t, "Europe/Moscow") }

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

type fixture struct {
	FreePBX []map[string]any `json:"freepbx"`
	Vanilla []map[string]any `json:"vanilla"`
	CEL     []map[string]any `json:"cel"`
	Rows    []map[string]any `json:"rows"`
}

func loadFixture(t testing.TB, name string) fixture {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var f fixture
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f fixture) asterisk(t testing.TB, schema string) []cdr.Row {
	t.Helper()
	raw := f.FreePBX
	if schema == "vanilla" {
		raw = f.Vanilla
	}
	var rows []cdr.Row
	for _, m := range raw {
		rows = append(rows, asteriskRow(t, m))
	}
	return rows
}

func asteriskRow(t testing.TB, m map[string]any) cdr.Row {
	t.Helper()
	get := func(names ...string) string {
		for _, n := range names {
			if v, ok := m[n]; ok && v != nil {
				return fmt.Sprint(v)
			}
		}
		return ""
	}
	r := cdr.Row{
		LinkedID: get("linkedid"), UniqueID: get("uniqueid"), Sequence: int64(integer(t, get("sequence"))),
		Start: wall(t, get("calldate", "start"), time.UTC), Answer: wall(t, get("answer"), time.UTC), End: wall(t, get("end"), time.UTC),
		Src: get("src"), Dst: get("dst"), CallerID: get("clid"), CallerNum: get("cnum"), Context: get("dcontext"), Channel: get("channel"),
		DstChannel: get("dstchannel"), LastApp: get("lastapp"), LastData: get("lastdata"), Duration: integer(t, get("duration")),
		BillSec: integer(t, get("billsec")), Disposition: get("disposition"), DID: get("did"), Recording: get("recordingfile"),
		UserField: get("userfield"), AccountCode: get("accountcode"), PeerAccount: get("peeraccount"),
	}
	if r.LinkedID == "" {
		r.LinkedID = r.UniqueID
	}
	return r
}

func (f fixture) mikopbx(t testing.TB) []cdr.Row {
	t.Helper()
	z := moscow(t)
	var rows []cdr.Row
	for _, m := range f.Rows {
		get := func(n string) string {
			if v, ok := m[n]; ok && v != nil {
				return fmt.Sprint(v)
			}
			return ""
		}
		rows = append(rows, cdr.Row{
			ID: int64(integer(t, get("id"))), LinkedID: get("linkedid"), UniqueID: get("UNIQUEID"),
			Start: wall(t, get("start"), z), Answer: wall(t, get("answer"), z), End: wall(t, get("endtime"), z),
			Src: get("src_num"), Dst: get("dst_num"), Channel: get("src_chan"), DstChannel: get("dst_chan"),
			Duration: integer(t, get("duration")), BillSec: integer(t, get("billsec")), Disposition: get("disposition"), DID: get("did"),
			Recording: get("recordingfile"), FromAccount: get("from_account"), ToAccount: get("to_account"), DialStatus: get("dialstatus"),
			App: get("is_app") == "1",
		})
	}
	return rows
}

func (f fixture) events(t testing.TB) []cdr.Event {
	t.Helper()
	var events []cdr.Event
	for _, m := range f.CEL {
		get := func(n string) string {
			s, _ := m[n].(string)
			return s
		}
		events = append(events, cdr.Event{
			Type: get("eventtype"), Time: wall(t, get("eventtime"), time.UTC), UniqueID: get("uniqueid"), LinkedID: get("linkedid"),
			Channel: get("channame"), App: get("appname"), Exten: get("exten"), Context: get("context"), Peer: get("peer"), Extra: get("extra"),
		})
	}
	return events
}

func wall(t testing.TB, s string, z *time.Location) time.Time {
	t.Helper()
	if s == "" {
		return time.Time{}
	}
	at, err := time.ParseInLocation("2006-01-02 15:04:05", s, z)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func integer(t testing.TB, s string) int {
	t.Helper()
	s, _, _ = strings.Cut(s, ".")
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
