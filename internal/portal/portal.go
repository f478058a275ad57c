package portal

import (
	"time"
)

// CallID is the portal's key of a call, as telephony.externalCall.register answers it.
type CallID string

// CallType is TYPE of telephony.externalCall.register.
type CallType int

// Types of a call, with the portal's own numbers.
const (
	Outgoing           CallType = 1
	Incoming           CallType = 2
	IncomingRedirected CallType = 3
	Callback           CallType = 4
)

// StatusCode is STATUS_CODE of telephony.externalCall.finish.
type StatusCode string

// Status codes that a call can end with.
const (
	StatusOK        StatusCode = "200"
	StatusMissed    StatusCode = "304"
	StatusBusy      StatusCode = "486"
	StatusNoAnswer  StatusCode = "480"
	StatusFailed    StatusCode = "503"
	StatusCancelled StatusCode = "603-S"
)

// Call is one call as it should stand in the portal: what register and finish are told.
type Call struct {
	ExternalID string // EXTERNAL_CALL_ID: the PBX's key, at most 64 bytes
	Type       CallType
	UserID     int // who finishes the call: responsible for it, and for what the CRM makes of it
	// RegisterUserID is who the call is registered for when that is not UserID: who was rung first and did not answer. 0: UserID.
	RegisterUserID int
	Phone          string    // client's number, E.164 where it is one
	Line           string    // LINE_NUMBER; "" sends none
	Start          time.Time // with zone
	Duration       int       // seconds of talk with this employee
	Status         StatusCode
	CreateCRM      bool // CRM_CREATE: let the portal create a lead, or contact and deal, for an unknown number
}

// Row is one row of the portal's call statistics.
type Row struct {
	ID           int64 // numbered in the order of finish
	CallID       CallID
	ExternalID   string // "" for calls the portal registered itself (click-to-call)
	UserID       int
	Phone        string
	Line         string // PORTAL_NUMBER
	Type         CallType
	Start        time.Time
	Duration     int // seconds
	Status       StatusCode
	RecordFileID int64 // 0: no recording
	ActivityID   int64 // CRM activity; 0: none
	AppID        string
}

// Finished is what the portal answered when a call was registered and finished.
type Finished struct {
	CallID     CallID
	StatID     int64 // ID of the statistics row
	ActivityID int64
	CRMNote    string // why the portal made no CRM activity, in its words; "" if it did
}

// Employee is a user of the portal.
type Employee struct {
	ID     int
	Name   string // name and last name
	Inner  string // inner number (UF_PHONE_INNER), 1 to 4 digits
	Mobile string
	Work   string // WORK_PHONE
	Active bool   // false: dismissed
}
