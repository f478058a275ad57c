package pbxtest

import (
	"embed"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed templates/*.json
var captured embed.FS

// layout is how the capture, and MySQL, write a wall time. The lab's clock was UTC.
const layout = "2006-01-02 15:04:05"

// cdrColumns are the columns of FreePBX's cdr table in their order; reference cdr-ami.md §2.1.
var cdrColumns = [...]string{
	"calldate", "clid", "src", "dst", "dcontext", "channel", "dstchannel", "lastapp", "lastdata", "duration", "billsec", "disposition",
	"amaflags", "accountcode", "uniqueid", "userfield", "did", "recordingfile", "cnum", "cnam", "outbound_cnum", "outbound_cnam", "dst_cnam",
	"linkedid", "peeraccount", "sequence",
}

// celColumns are the columns of FreePBX's cel table in their order, without id; §2.2.
var celColumns = [...]string{
	"eventtype", "eventtime", "cid_name", "cid_num", "cid_ani", "cid_rdnis", "cid_dnid", "exten", "context", "channame", "appname", "appdata",
	"amaflags", "accountcode", "uniqueid", "linkedid", "peer", "userdeftype", "extra",
}

// template is one captured call, its texts taken apart where another call has other values.
type template struct {
	truth
	start     time.Time // of the first row of the root channel
	length    time.Duration
	rows      []templateRow
	cel       []templateEvent
	variables []variable // in order of appearance, each once
	sequence  int64      // lowest in the rows
	sequences int64      // how many numbers the rows span
	channel   int64      // lowest counter in the uniqueids
	channels  int64
}

type templateRow struct {
	start, answer, end time.Time // answer is zero where there was none
	inserted           time.Time // when Asterisk wrote the row
	sequence           int64
	texts              [len(cdrColumns)]text
}

type templateEvent struct {
	at    time.Time
	texts [len(celColumns)]text
}

// text is a column's value in pieces.
type text []piece

type piece struct {
	literal  string
	variable string // key into the values of a call; "" for a literal
}

func (t text) with(values map[string]string) string {
	if len(t) == 1 && t[0].variable == "" {
		return t[0].literal
	}
	var b strings.Builder
	for _, p := range t {
		if p.variable != "" {
			b.WriteString(values[p.variable])
		} else {
			b.WriteString(p.literal)
		}
	}
	return b.String()
}

// kind says how the value of a variable is made for another call.
type kind int

const (
	bridgeID kind = iota + 1
	deviceChannel
	localChannel
	uniqueID
	fileTime
	clientName
	employeeName
	number
)

type variable struct {
	key  string
	kind kind
}

// tokens finds what differs from call to call. The order matters: a channel's suffix or a date may look like an extension.
var tokens = regexp.MustCompile(`[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|IAX2/\w+-\d+|Local/\w+@from-internal-[0-9a-f]{8}|\d{10}\.\d+|` +
	`\d{8}-\d{6}|\bIvan\b|\bAlice\b|\d+`)

// Numbers of the lab.
const (
	labClient   = "79161234567" // called in
	labOutside  = "79035550000" // was called
	labTrunk    = "74951112233"
	labEmployee = "Alice" // name of 201
	labCaller   = "Ivan"
)

// labExtensions are the phones of the lab; a call gets others for them.
var labExtensions = [...]string{"201", "202", "203"}

// labDIDs are the numbers that were called in the lab, one for each kind of call.
var labDIDs = map[string]bool{"1001": true, "1003": true, "1009": true, "1010": true, "1011": true, "1013": true}

func kindOf(token string) (kind, bool) {
	switch {
	case strings.HasPrefix(token, "IAX2/"):
		return deviceChannel, true
	case strings.HasPrefix(token, "Local/"):
		return localChannel, true
	case token == labCaller:
		return clientName, true
	case token == labEmployee:
		return employeeName, true
	case strings.Count(token, "-") == 4:
		return bridgeID, true
	case strings.Contains(token, "."):
		return uniqueID, true
	case strings.Contains(token, "-"):
		return fileTime, true
	case token == labClient, token == labOutside, token == labTrunk, labDIDs[token]:
		return number, true
	}
	for _, e := range labExtensions {
		if token == e {
			return number, true
		}
	}
	return 0, false
}

// compile takes a value apart and notes its variables.
func (t *template) compile(value string) text {
	var out text
	rest := 0
	for _, at := range tokens.FindAllStringIndex(value, -1) {
		token := value[at[0]:at[1]]
		k, ok := kindOf(token)
		if !ok {
			continue
		}
		if rest < at[0] {
			out = append(out, piece{literal: value[rest:at[0]]})
		}
		out = append(out, piece{variable: token})
		rest = at[1]
		t.note(variable{key: token, kind: k})
	}
	if rest < len(value) || len(out) == 0 {
		out = append(out, piece{literal: value[rest:]})
	}
	return out
}

func (t *template) note(v variable) {
	for _, known := range t.variables {
		if known.key == v.key {
			return
		}
	}
	t.variables = append(t.variables, v)
}

// readTemplates reads every captured call that the truth knows. The files are part of the program: one that cannot be read is a mistake
// in this package, and panics.
func readTemplates() []*template {
	all := make([]*template, 0, len(truths))
	for _, truth := range truths {
		t, err := readTemplate(truth)
		if err != nil {
			panic(fmt.Sprintf("pbxtest: template %s: %v", truth.name, err))
		}
		all = append(all, t)
	}
	return all
}

func readTemplate(known truth) (*template, error) {
	b, err := captured.ReadFile("templates/asterisk-" + known.name + ".json")
	if err != nil {
		return nil, err
	}
	var file struct {
		Rows []map[string]string `json:"rows"`
		CEL  []map[string]string `json:"cel"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, err
	}
	t := &template{truth: known}
	if err := t.readRows(file.Rows); err != nil {
		return nil, err
	}
	for _, event := range file.CEL {
		// FreePBX fills in what the lab's table did not have.
		event["cid_ani"], event["amaflags"] = event["cid_num"], "3"
		e := templateEvent{}
		if e.at, err = time.Parse(layout+".000", event["eventtime"]); err != nil {
			return nil, err
		}
		for i, column := range celColumns {
			e.texts[i] = t.compile(event[column])
		}
		t.cel = append(t.cel, e)
	}
	t.readCounters()
	return t, nil
}

func (t *template) readRows(rows []map[string]string) error {
	var last time.Time
	for i, row := range rows {
		r := templateRow{}
		for _, f := range []struct {
			column string
			to     *time.Time
		}{{"calldate", &r.start}, {"answer", &r.answer}, {"end", &r.end}, {"ins", &r.inserted}} {
			value, form := row[f.column], layout
			if f.column == "ins" {
				form += ".000"
			}
			if value == "" && f.column == "answer" {
				continue
			}
			var err error
			if *f.to, err = time.Parse(form, value); err != nil {
				return fmt.Errorf("row %d: %w", i, err)
			}
		}
		var err error
		if r.sequence, err = strconv.ParseInt(row["sequence"], 10, 64); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		for j, column := range cdrColumns {
			switch column {
			case "duration", "billsec", "amaflags", "sequence":
				r.texts[j] = text{{literal: row[column]}}
			default:
				r.texts[j] = t.compile(row[column])
			}
		}
		if row["uniqueid"] == row["linkedid"] && (t.start.IsZero() || r.start.Before(t.start)) {
			t.start = r.start
		}
		if r.end.After(last) {
			last = r.end
		}
		if i == 0 || r.sequence < t.sequence {
			t.sequence = r.sequence
		}
		t.rows = append(t.rows, r)
	}
	if t.start.IsZero() {
		return fmt.Errorf("no row of the root channel")
	}
	t.length = last.Sub(t.start)
	for _, r := range t.rows {
		t.sequences = max(t.sequences, r.sequence-t.sequence+1)
	}
	return nil
}

// readCounters finds the lowest and the highest channel counter among the uniqueids.
func (t *template) readCounters() {
	var high int64
	for _, v := range t.variables {
		if v.kind != uniqueID {
			continue
		}
		_, n := splitUniqueID(v.key)
		if t.channel == 0 || n < t.channel {
			t.channel = n
		}
		high = max(high, n)
	}
	t.channels = high - t.channel + 1
}

// splitUniqueID takes epoch.counter apart. The captured ids all have that form.
func splitUniqueID(id string) (epoch, counter int64) {
	a, b, _ := strings.Cut(id, ".")
	epoch, _ = strconv.ParseInt(a, 10, 64)
	counter, _ = strconv.ParseInt(b, 10, 64)
	return epoch, counter
}
