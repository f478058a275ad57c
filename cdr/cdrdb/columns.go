package cdrdb

import (
	"fmt"
	"slices"
	"strings"
)

// Schemas of a CDR table.
const (
	SchemaAsterisk = "asterisk" // FreePBX, Issabel, plain Asterisk in any of its usual forms
	SchemaMikoPBX  = "mikopbx"  // cdr_general
)

// field is one thing that a row may tell, and the columns that hold it in one table or another, best first.
type field struct {
	name    string
	columns []string
}

var asteriskFields = []field{
	{"start", []string{"calldate", "start"}},
	{"uniqueid", []string{"uniqueid"}},
	{"linkedid", []string{"linkedid"}},
	{"sequence", []string{"sequence"}},
	{"id", []string{"id", "acctid", "cdr_id"}},
	{"answer", []string{"answer"}},
	{"end", []string{"end"}},
	{"src", []string{"src"}},
	{"dst", []string{"dst"}},
	{"realdst", []string{"realdst"}},
	{"callerid", []string{"clid"}},
	{"callernum", []string{"cnum"}},
	{"context", []string{"dcontext"}},
	{"channel", []string{"channel"}},
	{"dstchannel", []string{"dstchannel"}},
	{"lastapp", []string{"lastapp"}},
	{"lastdata", []string{"lastdata"}},
	{"duration", []string{"duration"}},
	{"billsec", []string{"billsec"}},
	{"disposition", []string{"disposition"}},
	{"did", []string{"did"}},
	{"recording", []string{"recordingfile", "filename", "recording"}},
	{"userfield", []string{"userfield"}},
	{"accountcode", []string{"accountcode"}},
	{"peeraccount", []string{"peeraccount"}},
}

var mikopbxFields = []field{
	{"start", []string{"start"}},
	{"uniqueid", []string{"uniqueid"}},
	{"linkedid", []string{"linkedid"}},
	{"id", []string{"id"}},
	{"answer", []string{"answer"}},
	{"end", []string{"endtime"}},
	{"src", []string{"src_num"}},
	{"dst", []string{"dst_num"}},
	{"channel", []string{"src_chan"}},
	{"dstchannel", []string{"dst_chan"}},
	{"duration", []string{"duration"}},
	{"billsec", []string{"billsec"}},
	{"disposition", []string{"disposition"}},
	{"did", []string{"did"}},
	{"recording", []string{"recordingfile"}},
	{"fromaccount", []string{"from_account"}},
	{"toaccount", []string{"to_account"}},
	{"dialstatus", []string{"dialstatus"}},
	{"app", []string{"is_app"}},
}

var eventFields = []field{
	{"type", []string{"eventtype"}},
	{"time", []string{"eventtime"}},
	{"uniqueid", []string{"uniqueid"}},
	{"linkedid", []string{"linkedid"}},
	{"channel", []string{"channame"}},
	{"app", []string{"appname"}},
	{"exten", []string{"exten"}},
	{"context", []string{"context"}},
	{"peer", []string{"peer"}},
	{"extra", []string{"extra", "eventextra"}},
	{"id", []string{"id"}},
}

// columnMap says which column of a table holds each field.
type columnMap struct {
	table  string
	fields []string          // those that the table has
	column map[string]string // field to column, as the table spells it
	others []string          // columns not read
}

// mapColumns finds the fields in a table's columns. Case does not count: MikoPBX has UNIQUEID.
func mapColumns(table string, fields []field, columns []string) columnMap {
	m := columnMap{table: table, column: map[string]string{}}
	used := map[string]bool{}
	for _, f := range fields {
		for _, want := range f.columns {
			i := slices.IndexFunc(columns, func(c string) bool { return strings.EqualFold(c, want) })
			if i < 0 {
				continue
			}
			m.fields = append(m.fields, f.name)
			m.column[f.name] = columns[i]
			used[columns[i]] = true
			break
		}
	}
	for _, c := range columns {
		if !used[c] {
			m.others = append(m.others, c)
		}
	}
	return m
}

// has reports whether the table has a field.
func (m columnMap) has(name string) bool { return m.column[name] != "" }

// missing lists which of the fields the table lacks.
func (m columnMap) missing(names ...string) []string {
	var out []string
	for _, n := range names {
		if !m.has(n) {
			out = append(out, n)
		}
	}
	return out
}

func (m columnMap) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", m.table)
	for _, f := range m.fields {
		if c := m.column[f]; strings.EqualFold(c, f) {
			fmt.Fprintf(&b, " %s", f)
		} else {
			fmt.Fprintf(&b, " %s=%s", f, c)
		}
	}
	return b.String()
}
