package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"time"
)

//go:embed page.html.tmpl
var pageText string

type page struct {
	Site, Period, Summary string
	Clean                 bool
	Figures               []figure
	Kinds                 []pageKind
	Gaps                  []pageGap
	Ignored               []pageReason
	IgnoredCalls          string
	Strangers             []pageReason
	StrangersHint         string
}

type figure struct {
	Number, Label string
	Bad           bool
}

type pageKind struct{ Symbol, Name, Means, Number string }

type pageGap struct {
	Symbol, Kind, Start, Phone, Employee, Detail, LinkedID, ExternalID, CallID string
	Rank                                                                       int // of the kind, for sorting
	Fixable                                                                    bool
}

type pageReason struct{ Number, Reason string }

// HTML writes one page that needs nothing else: it can be sent by mail, printed, and sorted by clicking a heading.
func HTML(w io.Writer, r Report) error {
	tmpl, err := template.New("report").Parse(pageText)
	if err != nil {
		return fmt.Errorf("parse page: %w", err)
	}
	p := page{
		Site: printable(r.Site), Period: r.period(), Summary: r.summary(), Clean: r.Clean(), IgnoredCalls: calls(len(r.Ignored)), StrangersHint: strangersHint,
		Figures: []figure{
			{number(r.PBXCalls), "calls on the PBX", false},
			{number(r.Parts), "parts belong in Bitrix24", false},
			{number(r.InSync), "agree", false},
			{number(len(r.Gaps)), "gaps", !r.Clean()},
		},
	}
	for _, k := range kinds() {
		if i := slices.IndexFunc(r.byKind(), func(c count) bool { return c.name == string(k.kind) }); i >= 0 {
			p.Kinds = append(p.Kinds, pageKind{k.symbol, string(k.kind), k.means, number(r.byKind()[i].n)})
		}
	}
	for _, gap := range r.gaps() {
		rank := 0
		for i, k := range kinds() {
			if k.kind == gap.Kind {
				rank = i
			}
		}
		p.Gaps = append(p.Gaps, pageGap{
			Symbol: Symbol(gap.Kind), Kind: string(gap.Kind), Rank: rank, Start: r.local(gap.Start, time.DateTime), Phone: printable(gap.Phone),
			Employee: printable(gap.Employee), Detail: printable(gap.Detail), LinkedID: printable(gap.LinkedID),
			ExternalID: printable(gap.ExternalID), CallID: printable(string(gap.CallID)), Fixable: gap.Fixable,
		})
	}
	for _, reason := range r.byReason() {
		p.Ignored = append(p.Ignored, pageReason{number(reason.n), printable(reason.name)})
	}
	for _, s := range r.strangers() {
		p.Strangers = append(p.Strangers, pageReason{number(s.n), printable(s.name)})
	}
	if err := tmpl.Execute(w, p); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
