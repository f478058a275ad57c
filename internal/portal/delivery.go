package portal

// Outcome is what came of registering and finishing one call.
type Outcome struct {
	Finished   Finished
	Registered bool  // the portal knows the live call; with Err, only finish is missing
	Err        error // the portal refused this call; nil when it is finished
}

// Ending is a registered call that is to be finished.
type Ending struct {
	CallID CallID
	Call   Call
}
