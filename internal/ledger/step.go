package ledger

import "fmt"

// Step is the last thing known to be done for a part.
type Step int

// Steps, in the order of the way.
const (
	Seen           Step = iota + 1 // read from the PBX
	Registered                     // telephony.externalCall.register answered
	Finished                       // telephony.externalCall.finish answered, or the call was found in the statistics
	RecordStaged                   // the recording lies in the staging area
	RecordAttached                 // telephony.externalCall.attachRecord answered
	Verified                       // the portal's statistics show all of it
)

var stepNames = map[Step]string{
	Seen: "seen", Registered: "registered", Finished: "finished",
	RecordStaged: "record staged", RecordAttached: "record attached", Verified: "verified",
}

func (s Step) String() string {
	if n, ok := stepNames[s]; ok {
		return n
	}
	return "unknown"
}

// Event is what moves a part from one step to another.
type Event int

// Events.
const (
	Register Event = iota + 1
	Finish
	Adopt   // the call was found in the portal's statistics
	Vanish  // the portal does not know the registered call any more
	Stage   // the recording was staged
	Unstage // the staged object is gone
	Attach  // the recording was attached
	Verify  // the statistics show what is wanted
	Reopen  // the statistics lack what was thought done: the recording
)

var eventNames = map[Event]string{
	Register: "register", Finish: "finish", Adopt: "adopt", Vanish: "vanish", Stage: "stage",
	Unstage: "unstage", Attach: "attach", Verify: "verify", Reopen: "reopen",
}

func (e Event) String() string {
	if n, ok := eventNames[e]; ok {
		return n
	}
	return "unknown"
}

// moves is the whole state machine. An event that is missing for a step is a fault of the program.
var moves = map[Step]map[Event]Step{
	Seen:           {Register: Registered, Adopt: Finished},
	Registered:     {Register: Registered, Finish: Finished, Adopt: Finished, Vanish: Seen},
	Finished:       {Adopt: Finished, Stage: RecordStaged, Verify: Verified, Reopen: Finished},
	RecordStaged:   {Adopt: RecordStaged, Stage: RecordStaged, Unstage: Finished, Attach: RecordAttached, Verify: Verified, Reopen: Finished},
	RecordAttached: {Adopt: RecordAttached, Attach: RecordAttached, Verify: Verified, Reopen: Finished},
	Verified:       {Adopt: Verified, Verify: Verified, Reopen: Finished},
}

// Advance gives the step that follows s by e. Every event may come twice: the second time changes nothing.
func Advance(s Step, e Event) (Step, error) {
	next, ok := moves[s][e]
	if !ok {
		return s, fmt.Errorf("no way from step %q by %q", s, e)
	}
	return next, nil
}

// Intent is a request that was about to be sent and whose answer is not known.
type Intent int

// Intents. The zero value says that nothing is in doubt.
const (
	Nothing    Intent = iota
	ToRegister        // register and finish, in one batch
	ToFinish          // finish alone
	ToAttach          // attachRecord
)

func (i Intent) String() string {
	switch i {
	case ToRegister:
		return "register and finish"
	case ToFinish:
		return "finish"
	case ToAttach:
		return "attach the recording"
	}
	return ""
}
