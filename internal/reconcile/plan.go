package reconcile

import (
	"time"

	"sverka/internal/ledger"
	"sverka/internal/portal"
)

// Kind is a kind of gap between the PBX and the portal. Its text is fixed: reports and scripts rely on it.
type Kind string

// Kinds of gaps.
const (
	KindMissing       Kind = "missing"        // on the PBX, not in Bitrix24
	KindUnfinished    Kind = "unfinished"     // registered, never finished
	KindExtra         Kind = "extra"          // in Bitrix24 in this PBX's name, and no such call in the CDR
	KindDuplicate     Kind = "duplicate"      // more than one portal call for one part
	KindDiffers       Kind = "differs"        // status, employee, phone, duration or start differ
	KindRecordMissing Kind = "record_missing" // the PBX has the recording, Bitrix24 does not
	KindRecordLost    Kind = "record_lost"    // named by the CDR, neither on the PBX nor staged
	KindUnmapped      Kind = "unmapped"       // no employee of Bitrix24 for the extension
	KindError         Kind = "error"          // tried and failed for good
)

// Gap is one difference between the PBX and the portal.
type Gap struct {
	Kind       Kind
	LinkedID   string
	ExternalID string
	CallID     portal.CallID
	Phone      string
	Start      time.Time
	Employee   string // extension, or "user 17" where only the portal's side is known
	Detail     string // in words, with both values
	Fixable    bool   // backfill can repair it
}

// Verb says what a change does.
type Verb int

// Verbs of changes.
const (
	Adopt   Verb = iota + 1 // write into the ledger what the portal has
	Deliver                 // register and finish the part, or find out what became of an earlier try
	Attach                  // bring the recording of a part that is in the portal
	Settle                  // nothing is missing: the ledger may say so
)

func (v Verb) String() string {
	switch v {
	case Adopt:
		return "adopt"
	case Deliver:
		return "deliver"
	case Attach:
		return "attach recording"
	case Settle:
		return "verify"
	}
	return "unknown"
}

// Change is one thing to do.
type Change struct {
	Verb   Verb
	Want   Want
	Row    *portal.Row // the portal's call, for all verbs but Deliver
	Part   ledger.Part // what the ledger holds; a zero Step when it does not know the part
	Record RecordState // of a wanted recording that the portal lacks
	Reason string
}

// Plan is the difference of both sides over some period.
type Plan struct {
	PBXCalls    int // calls of the CDR
	Parts       int // parts that belong in Bitrix24
	PortalCalls int // statistics rows of ours
	InSync      int // parts without a gap
	Ongoing     int // calls that are not over yet, and not compared
	Ignored     []Ignored
	Strangers   map[string]int // extensions that no employee who works here has: in how many calls they rang or talked
	Gaps        []Gap
	Changes     []Change
	Already     int   // parts that are in the portal
	Recorded    int   // parts whose recording is in the portal
	Stuck       []Gap // of the gaps, those of parts that no change of this plan brings into the portal
	Lost        []Gap // of the gaps, those of recordings that are nowhere any more
}

// Ignored is a call that is not sent, and why.
type Ignored struct {
	LinkedID string
	Phone    string
	Start    time.Time
	Reason   string
}
