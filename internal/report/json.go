package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// The keys are an interface for scripts: none changes its name or meaning.
type reportJSON struct {
	Site         string         `json:"site"`
	From         string         `json:"from"`
	To           string         `json:"to"`
	PBXCalls     int            `json:"pbx_calls"`
	Parts        int            `json:"parts"`
	PortalCalls  int            `json:"portal_calls"`
	InSync       int            `json:"in_sync"`
	Ongoing      int            `json:"ongoing,omitempty"`
	Ignored      int            `json:"ignored"`
	Gaps         []gapJSON      `json:"gaps"`
	ByKind       map[string]int `json:"by_kind"`
	IgnoredCalls []ignoredJSON  `json:"ignored_calls"`
	Strangers    []strangerJSON `json:"unmapped_extensions"`
}

type strangerJSON struct {
	Extension string `json:"extension"`
	Calls     int    `json:"calls"`
}

type gapJSON struct {
	Kind       string  `json:"kind"`
	LinkedID   string  `json:"linkedid"`
	ExternalID string  `json:"external_id"`
	CallID     string  `json:"call_id"`
	Phone      string  `json:"phone"`
	Start      *string `json:"start"`
	Employee   string  `json:"employee"`
	Detail     string  `json:"detail"`
	Fixable    bool    `json:"fixable"`
}

type ignoredJSON struct {
	LinkedID string  `json:"linkedid"`
	Phone    string  `json:"phone"`
	Start    *string `json:"start"`
	Reason   string  `json:"reason"`
}

// JSON writes one object: site, from, to, pbx_calls, parts, portal_calls, in_sync, ignored (calls), gaps, by_kind (only kinds that there
// are), ignored_calls and unmapped_extensions (with the calls that they rang or talked in). Lists are never null. Times are RFC 3339 in the
// site's zone; the start of a gap that has none is null.
func JSON(w io.Writer, r Report) error {
	out := reportJSON{
		Site:         r.Site,
		From:         r.local(r.From, time.RFC3339),
		To:           r.local(r.To, time.RFC3339),
		PBXCalls:     r.PBXCalls,
		Parts:        r.Parts,
		PortalCalls:  r.PortalCalls,
		InSync:       r.InSync,
		Ongoing:      r.Ongoing,
		Ignored:      len(r.Ignored),
		Gaps:         make([]gapJSON, 0, len(r.Gaps)),
		ByKind:       make(map[string]int),
		IgnoredCalls: make([]ignoredJSON, 0, len(r.Ignored)),
		Strangers:    make([]strangerJSON, 0, len(r.Strangers)),
	}
	for _, gap := range r.gaps() {
		out.Gaps = append(out.Gaps, gapJSON{
			Kind: string(gap.Kind), LinkedID: gap.LinkedID, ExternalID: gap.ExternalID, CallID: string(gap.CallID), Phone: gap.Phone,
			Start: r.startJSON(gap.Start), Employee: gap.Employee, Detail: gap.Detail, Fixable: gap.Fixable,
		})
		out.ByKind[string(gap.Kind)]++
	}
	for _, call := range r.Ignored {
		out.IgnoredCalls = append(out.IgnoredCalls, ignoredJSON{call.LinkedID, call.Phone, r.startJSON(call.Start), call.Reason})
	}
	for _, s := range r.strangers() {
		out.Strangers = append(out.Strangers, strangerJSON{s.name, s.n})
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(out); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func (r Report) startJSON(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := r.local(t, time.RFC3339)
	return &text
}
