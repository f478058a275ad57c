package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// plainPhone is an E.164 number. A spreadsheet takes it for a number, which does no harm, and scripts want it as it is.
var plainPhone = regexp.MustCompile(`^\+[0-9]{1,15}$`)

// CSV writes a header and one row for each gap, as RFC 4180 says, in UTF-8. Texts that a spreadsheet would take for a formula (they begin
// with = + - @, a tab or a line end) get a ' in front, but not E.164 numbers: a + and digits alone can calculate nothing. Times are
// RFC 3339 in the site's zone.
func CSV(w io.Writer, r Report) error {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	// An error of Write is kept until Flush.
	_ = out.Write([]string{"kind", "start", "phone", "employee", "detail", "linkedid", "external_id", "call_id", "fixable"})
	for _, gap := range r.gaps() {
		record := []string{
			string(gap.Kind), r.local(gap.Start, time.RFC3339), gap.Phone, gap.Employee, gap.Detail, gap.LinkedID, gap.ExternalID,
			string(gap.CallID), strconv.FormatBool(gap.Fixable),
		}
		for i, cell := range record {
			record[i] = guarded(cell)
		}
		_ = out.Write(record)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func guarded(cell string) string {
	if cell == "" || !strings.ContainsRune("=+-@\t\r\n", rune(cell[0])) || plainPhone.MatchString(cell) {
		return cell
	}
	return "'" + cell
}
