package cdr

import (
	"time"
)

// Row is one row of a CDR table, or as much of it as the table has. Texts are valid UTF-8 without surrounding spaces, "" where the
// column is missing, NULL or empty. Times carry the PBX's zone and are zero where the table has none.
type Row struct {
	ID          int64  // insertion number; 0 where the table has none
	LinkedID    string // the key of the call; uniqueid where the table has no linkedid
	UniqueID    string // the channel that the row belongs to
	Sequence    int64  // counter of the Asterisk process, starts again at its restart
	Start       time.Time
	Answer      time.Time
	End         time.Time
	Src         string
	Dst         string
	CallerID    string // clid: "Name" <number>
	CallerNum   string // cnum (FreePBX): the number before outbound rewriting
	Context     string // dcontext
	Channel     string
	DstChannel  string
	LastApp     string
	LastData    string
	Duration    int // seconds from Start to End
	BillSec     int // seconds from Answer to End, as the PBX says; see reference traps: not talk time
	Disposition string
	DID         string
	Recording   string // recordingfile or filename: a name or a path, "" where there is none
	UserField   string
	AccountCode string
	PeerAccount string

	// MikoPBX only.
	FromAccount string // PJSIP account: an extension or a provider
	ToAccount   string
	DialStatus  string
	App         bool // an IVR, a queue or out-of-hours, not a person

	Problems []string // what was wrong with the row's values, in words; the row is used as far as it goes
}

// Event is one channel event (CEL). A table of them tells exactly who was in a bridge with whom, and when.
type Event struct {
	Type     string // CHAN_START, ANSWER, BRIDGE_ENTER, …
	Time     time.Time
	UniqueID string
	LinkedID string
	Channel  string
	App      string
	Exten    string
	Context  string
	Peer     string
	Extra    string // JSON, as Asterisk wrote it
}

// Direction says which way a call went.
type Direction int

// Directions of a call.
const (
	Inbound  Direction = iota + 1 // an outside number called in
	Outbound                      // an extension called an outside number
	Internal                      // both ends are extensions: never sent
)

// Status says how a call, or one part of it, ended.
type Status int

// Statuses of a call. A call answered only by an IVR, a queue's music or voicemail is Missed, or Voicemail when a message could be left.
const (
	Answered  Status = iota + 1
	Missed           // inbound, nobody answered
	Busy             // outbound
	NoAnswer         // outbound
	Failed           // outbound: congestion, unavailable, a wrong number
	Cancelled        // outbound: the caller hung up first, where the PBX can tell
	Voicemail        // inbound, reached the voicemail: missed for the client
)

// Leg is one phone that rang or talked, in a call.
type Leg struct {
	Extension   string    // the inner number; "" for an outside phone
	Phone       string    // the outside phone (a call forwarded to a mobile), E.164; "" for an extension
	Via         string    // for an outside phone: the extension that forwarded the call there, "" if none
	RangAt      time.Time // zero: did not ring (pickup, transfer completion)
	AnsweredAt  time.Time // zero: did not answer
	EndedAt     time.Time
	Talk        int // seconds of talk with the outside party, waiting and consultation excluded
	Disposition string
	Recording   string // as named by the PBX; "" if none
}

// Part is what becomes of a call in Bitrix24: the first part is the whole call up to the first transfer, and every further employee who
// talks to the same client after a transfer adds one.
type Part struct {
	N          int       // 1, 2, 3…
	Extension  string    // who talked, or the caller of an outbound call; "" when nobody did
	Phone      string    // outside phone of the person who talked, when a call was forwarded there
	Via        string    // the extension that forwarded the call to Phone
	Rang       []string  // extensions whose phone rang, in the order of ringing, each once
	Start      time.Time // first part: start of the call; later parts: start of that conversation
	Talk       int       // seconds; 0 unless Answered
	Status     Status
	Recordings []string // as named by the PBX, in time order; several are joined
}

// Call is one call of the PBX, assembled from all rows of one linkedid.
type Call struct {
	LinkedID  string
	Direction Direction
	Phone     string // the outside party, E.164 where it is one; "" when the caller hid the number or it is none
	RawPhone  string // the same as the PBX wrote it
	DID       string // our number as the PBX wrote it
	Line      string // our number that was called or called from, mapped by Rules.Line; "" if unknown
	Start     time.Time
	End       time.Time
	LastRow   time.Time // end of the row that ended last: a call is over when this is old enough
	Status    Status
	Legs      []Leg
	Parts     []Part
	PortalID  string // CALL_ID of a click-to-call, as the dialplan left it in the rows; "" otherwise
	Hash      string // of the row set: changes when a late row arrives
	Problems  []string
}

// Rules are what Assemble must know of a PBX beside its rows.
type Rules struct {
	// Internal reports whether a number is an extension.
	Internal func(number string) bool
	// Phone gives the E.164 form of an outside number as the PBX writes it, the digits themselves for short service numbers, and "" for
	// what is no phone number (anonymous, 30 digits).
	Phone func(raw string) string
	// Line maps a DID or trunk number to the number of a line; nil maps nothing.
	Line func(did string) string
}
