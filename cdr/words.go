package cdr

func (d Direction) String() string {
	switch d {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	case Internal:
		return "internal"
	}
	return "unknown direction"
}

func (s Status) String() string {
	switch s {
	case Answered:
		return "answered"
	case Missed:
		return "missed"
	case Busy:
		return "busy"
	case NoAnswer:
		return "no answer"
	case Failed:
		return "failed"
	case Cancelled:
		return "cancelled"
	case Voicemail:
		return "voicemail"
	}
	return "unknown status"
}
