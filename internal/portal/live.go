package portal

import (
	"encoding/json"
	"time"
)

// EntityType names a kind of CRM objects the way the telephony methods do.
type EntityType string

// Types of CRM objects.
const (
	Lead    EntityType = "LEAD"
	Deal    EntityType = "DEAL"
	Contact EntityType = "CONTACT"
	Company EntityType = "COMPANY"
)

// Entity is one object of the portal's CRM.
type Entity struct {
	Type EntityType
	ID   int
}

// Registered is what the portal answered when a call was registered.
type Registered struct {
	CallID  CallID
	Client  Entity   // what the call is bound to; the zero Entity for an unknown number
	Created []Entity // what the portal created for this very call
	CRMNote string   // why it created nothing, in its words
}

// Match is an object of the CRM that has a phone number, and who is responsible for it.
type Match struct {
	Entity     Entity
	Name       string
	AssignedTo Employee // Active is true: the portal names nobody else
	Workday    string   // OPENED, CLOSED, PAUSED, EXPIRED, UNAVAILABLE or NOT_INSTALLED
}

// Line is an external line as the portal keeps it for an application.
type Line struct {
	Number     string
	Name       string
	AutoCreate bool // CRM_AUTO_CREATE: an object is created for calls that an employee starts in the portal to an unknown number
}

// Binding is an event that the portal tells an application of.
type Binding struct {
	Event   string // upper case
	Handler string // address that is told; "" for an offline event
	UserID  int    // whose rights the handler gets; 0: whoever caused the event
	Offline bool   // kept in a queue until it is asked for
}

// OfflineEvent is an event of the queue.
type OfflineEvent struct {
	ID        int64
	Name      string // upper case
	At        time.Time
	MessageID string
	Data      json.RawMessage // as the event's handler would get it in data
}

// Package is the part of the queue that one question has reserved.
type Package struct {
	ProcessID string // confirms it; "" when the queue is empty
	Events    []OfflineEvent
}
