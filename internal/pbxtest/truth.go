package pbxtest

// Direction says which way a call went.
type Direction string

// Directions of a call.
const (
	Inbound  Direction = "inbound"
	Outbound Direction = "outbound"
	Internal Direction = "internal" // never sent
)

// truth is what one kind of call must become in Bitrix24: product.md §1, held by hand against the rows and events of the capture.
type truth struct {
	name      string // of the capture: asterisk-<name>.json
	weight    int    // how often it happens
	direction Direction
	parts     []truthPart // none for a call that is never sent
}

// truthPart is one part. Where the table of events tells more than the rows do, both are given.
type truthPart struct {
	extension string // whose part it is, in the lab's numbers: who talked, the caller, or the first whose phone rang; "" nobody
	mobile    bool   // the talk was on a mobile, to which extension forwarded the call
	callType  int
	status    string
	start     seconds // from the start of the call
	talk      seconds
	recording bool // the rows name a file that holds this conversation
}

// seconds is a figure as the events tell it, and as the rows alone tell it. The rows' figure is the best bound they allow.
type seconds struct{ events, rows int }

func exactly(n int) seconds { return seconds{n, n} }

// TYPE and STATUS_CODE of Bitrix24.
const (
	outgoing   = 1
	incoming   = 2
	redirected = 3

	talked = "200"
	missed = "304"
	busy   = "486"
)

var truths = [...]truth{
	// 201 answers after 3 s. Bridge 01.611–09.633.
	{name: "01", weight: 20, direction: Inbound, parts: []truthPart{
		{extension: "201", callType: incoming, status: talked, talk: exactly(8), recording: true},
	}},
	// The caller gives up after 8 s. The file that the row names holds no conversation.
	{name: "02a", weight: 10, direction: Inbound, parts: []truthPart{
		{extension: "201", callType: incoming, status: missed},
	}},
	// 201 rejects the call: for an inbound call that is a missed one, whatever the disposition says. Two rows.
	{name: "02b", weight: 5, direction: Inbound, parts: []truthPart{
		{extension: "201", callType: incoming, status: missed},
	}},
	// A queue rings 201 and 202 in three rounds, 202 answers in the third. Bridge 03.715–09.739. Six rows, one call.
	{name: "03a", weight: 8, direction: Inbound, parts: []truthPart{
		{extension: "202", callType: incoming, status: talked, talk: exactly(6)},
	}},
	// The queue after Answer(): the answered row says 10 s and contains 4 s of waiting. Bridge 15.364–21.381. The rows tell it too: 201
	// stopped ringing after 4 s.
	{name: "03b", weight: 10, direction: Inbound, parts: []truthPart{
		{extension: "202", callType: incoming, status: talked, talk: exactly(6), recording: true},
	}},
	// 201 answers, consults 203 and passes the call on. The client's bridge with 201 10.220–15.052, with 203 (through the Local channel,
	// then directly) 24.203–31.064. The consultation is nobody's talk with the client. One file for the whole call.
	{name: "04", weight: 6, direction: Inbound, parts: []truthPart{
		{extension: "201", callType: incoming, status: talked, talk: seconds{5, 4}, recording: true},
		{extension: "203", callType: redirected, status: talked, start: exactly(16), talk: seconds{7, 6}, recording: true},
	}},
	// 201 answers and passes the call on blindly; 203 rings 2 s. Bridges 34.848–39.682 and 41.687–47.692. The rows cannot tell the ringing
	// of 203 from talk. dst says 203 on both rows; the channels tell who it was.
	{name: "05", weight: 6, direction: Inbound, parts: []truthPart{
		{extension: "201", callType: incoming, status: talked, talk: seconds{5, 4}, recording: true},
		{extension: "203", callType: redirected, status: talked, start: seconds{9, 7}, talk: seconds{6, 8}, recording: true},
	}},
	// Bridge 52.354–59.379.
	{name: "06", weight: 12, direction: Outbound, parts: []truthPart{
		{extension: "201", callType: outgoing, status: talked, talk: exactly(7), recording: true},
	}},
	{name: "07a", weight: 6, direction: Outbound, parts: []truthPart{
		{extension: "201", callType: outgoing, status: busy},
	}},
	{name: "08", weight: 5, direction: Internal},
	// Given up in the menu, which answered: nobody's phone rang.
	{name: "09", weight: 4, direction: Inbound, parts: []truthPart{
		{callType: incoming, status: missed},
	}},
	// 201 does not answer, its forwarding calls a mobile, which does. Bridge 40.924–46.950. The row of the Local channel has the file.
	{name: "10", weight: 4, direction: Inbound, parts: []truthPart{
		{extension: "201", mobile: true, callType: incoming, status: talked, talk: exactly(6), recording: true},
	}},
	// 201 and 202 ring at once, 202 answers after 4 s. Bridge 52.447–58.472.
	{name: "11a", weight: 4, direction: Inbound, parts: []truthPart{
		{extension: "202", callType: incoming, status: talked, talk: exactly(6)},
	}},
	// Click-to-call: the phone of 201 rings and answers, then the client is called. Bridge 49.335–55.338. The row's billsec counts from
	// the answer of 201, and nothing else is known without events.
	{name: "13b", weight: 4, direction: Outbound, parts: []truthPart{
		{extension: "201", callType: outgoing, status: talked, talk: seconds{6, 9}, recording: true},
	}},
}

// recordable reports whether a kind of call can have a recording that is sent.
func (t truth) recordable() bool {
	for _, p := range t.parts {
		if p.recording {
			return true
		}
	}
	return false
}

// talk is the length of all conversations of the call with its client.
func (t truth) talk() int {
	sum := 0
	for _, p := range t.parts {
		sum += p.talk.events
	}
	return sum
}
