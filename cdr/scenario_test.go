package cdr_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/cdr"
)

const (
	client   = "79161234567"
	mobile   = "79035550000"
	linkedID = "1795341600.1"
	line     = "IAX2/trunk-1"
	out      = "IAX2/trunk-2"
)

// at gives the moment so many seconds after the calls of these tests begin.
func at(seconds float64) time.Time {
	return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// history collects the rows of one call as an Asterisk with all columns writes them.
type history struct{ rows []cdr.Row }

// row adds a row from start to end; answer < 0 leaves it unanswered, with the disposition given or NO ANSWER.
func (h *history) row(start, answer, end float64, from, to string, change ...func(*cdr.Row)) *history {
	r := cdr.Row{
		LinkedID: linkedID, UniqueID: fmt.Sprintf("%s%02d", linkedID, len(h.rows)), Sequence: int64(len(h.rows) + 1),
		Start: at(start), End: at(end), Src: client, Dst: "4951112233", Channel: from, DstChannel: to, LastApp: "Dial",
		Duration: int(end - start), Disposition: "NO ANSWER",
	}
	if from == line || len(h.rows) == 0 {
		r.UniqueID = linkedID
	}
	if answer >= 0 {
		r.Answer, r.BillSec, r.Disposition = at(answer), int(end-answer), "ANSWERED"
	}
	for _, c := range change {
		c(&r)
	}
	h.rows = append(h.rows, r)
	return h
}

func data(lastdata string) func(*cdr.Row) { return func(r *cdr.Row) { r.LastData = lastdata } }
func disposition(d string) func(*cdr.Row) { return func(r *cdr.Row) { r.Disposition = d } }
func recording(name string) func(*cdr.Row) {
	return func(r *cdr.Row) { r.Recording = name }
}
func numbers(src, dst string) func(*cdr.Row) { return func(r *cdr.Row) { r.Src, r.Dst = src, dst } }
func app(name string) func(*cdr.Row)         { return func(r *cdr.Row) { r.LastApp = name } }
func uid(id string) func(*cdr.Row)           { return func(r *cdr.Row) { r.UniqueID = id } }
func linked(id string) func(*cdr.Row)        { return func(r *cdr.Row) { r.LinkedID = id } }
func bill(seconds int) func(*cdr.Row)        { return func(r *cdr.Row) { r.BillSec = seconds } }
func userfield(v string) func(*cdr.Row)      { return func(r *cdr.Row) { r.UserField = v } }
func caller(id string) func(*cdr.Row) {
	return func(r *cdr.Row) { r.Src, r.CallerID = id, `"" <`+id+`>` }
}

// miko adds a row as MikoPBX writes it: accounts, and a disposition for everything.
func (h *history) miko(start, answer, end float64, from, to, src, dst string, change ...func(*cdr.Row)) *history {
	account := func(ch string) string {
		switch {
		case ch == mikoLine || ch == mikoOut:
			return "SIP-TRUNK-1A2B3C4D"
		case len(ch) > 9 && ch[:6] == "PJSIP/":
			return ch[6:9]
		}
		return ""
	}
	h.row(start, answer, end, from, to, numbers(src, dst))
	r := &h.rows[len(h.rows)-1]
	r.LinkedID, r.UniqueID, r.LastApp = "mikopbx-"+linkedID, fmt.Sprintf("mikopbx-1795341600.%d_abc", len(h.rows)), ""
	r.FromAccount, r.ToAccount, r.ID = account(from), account(to), int64(len(h.rows))
	if answer < 0 {
		r.Disposition = "NOANSWER"
	}
	if r.FromAccount == "SIP-TRUNK-1A2B3C4D" {
		r.DID = "74951112233"
	}
	for _, c := range change {
		c(r)
	}
	return h
}

const (
	mikoLine = "PJSIP/SIP-TRUNK-1A2B3C4D-00000020"
	mikoOut  = "PJSIP/SIP-TRUNK-1A2B3C4D-00000031"
)

func accounts(from, to string) func(*cdr.Row) {
	return func(r *cdr.Row) { r.FromAccount, r.ToAccount = from, to }
}

func isApp(r *cdr.Row) { r.App = true }

// Scenarios of reference/cdr-ami.md that have no captured rows, and what one meets beside them.
func TestScenarios(t *testing.T) {
	t.Parallel()
	consult := func(answer, end float64) *history { // 201 talks 2 to 6, then asks 203
		h := new(history).row(0, 2, 6, line, "IAX2/201-1", data("IAX2/201/201,20,tT"), recording("a.wav"))
		h.row(6, 6, end, "IAX2/201-1", "Local/203@from-internal-0f;1", app("AppDial"), numbers("1001", ""))
		return h.row(6, answer, max(end, answer), "Local/203@from-internal-0f;2", "IAX2/203-2", numbers(client, "203"), data("IAX2/203/203"))
	}
	tests := []struct {
		name string
		rows []cdr.Row
		want []string
	}{
		{
			"12 voicemail",
			new(history).row(0, -1, 15, line, "IAX2/201-1", data("IAX2/201/201"), recording("x.wav")).
				row(15, 15, 30, line, "", app("VoiceMail"), recording("x.wav")).rows,
			[]string{"in voicemail +79161234567", "1: voicemail  0s +0s rang 201"},
		},
		{
			"voicemail hung up before the beep leaves a box entered and no message lost",
			new(history).row(0, -1, 15, line, "IAX2/201-1", data("IAX2/201/201")).
				row(15, -1, 15, line, "", app("VoiceMail")).rows,
			[]string{"in missed +79161234567", "1: missed  0s +0s rang 201"},
		},
		{
			"13 click-to-call through Local",
			new(history).
				row(0, 3, 20, "Local/201@from-internal-01;1", out, numbers(client, client), data("IAX2/trunk/"+client+",30"), recording("c.wav")).
				row(0, 3, 20, "Local/201@from-internal-01;2", "IAX2/201-5", numbers(client, "201"), data("IAX2/201/201")).rows,
			[]string{"out answered +79161234567", "1: answered 201 17s +0s rang 201 rec 1"},
		},
		{
			"13 the client does not answer",
			new(history).
				row(0, 3, 20, "Local/201@from-internal-01;1", out, numbers(client, client), disposition("NO ANSWER"), bill(0)).
				row(0, 3, 20, "Local/201@from-internal-01;2", "IAX2/201-5", numbers(client, "201")).rows,
			[]string{"out noanswer +79161234567", "1: noanswer 201 0s +0s rang 201"},
		},
		{
			"13c the employee does not answer",
			new(history).
				row(0, -1, 20, "Local/201@from-internal-01;1", "", numbers(client, "s"), app("AppDial2")).
				row(0, -1, 20, "Local/201@from-internal-01;2", "IAX2/201-5", numbers(client, "201")).rows,
			[]string{"internal noanswer ", "1: noanswer  0s +0s rang 201"},
		},
		{
			"13c of a call that the portal has registered",
			new(history).
				row(0, -1, 20, "Local/201@from-internal-01;1", "", numbers(client, "s"), app("AppDial2"), userfield("externalCall.0a1b.1795341600")).
				row(0, -1, 20, "Local/201@from-internal-01;2", "IAX2/201-5", numbers(client, "201")).rows,
			[]string{"out noanswer +79161234567", "1: noanswer 201 0s +0s rang 201"},
		},
		{
			"callback: the client is called first, then the queue",
			new(history).
				row(0, 3, 20, "Local/s@callback-01;2", out, numbers("", client), data("IAX2/trunk/"+client)).
				row(3, 3, 8, "Local/s@callback-01;1", "IAX2/201-4", numbers("", "600"), app("Queue"), disposition("NO ANSWER")).
				row(3, 3, 20, "Local/s@callback-01;1", "IAX2/202-5", numbers("", "600"), app("Queue")).rows,
			[]string{"out answered +79161234567", "1: answered 202 12s +0s rang 201,202"},
		},
		{
			"14 pickup",
			new(history).row(0, -1, 4, line, "IAX2/201-1", data("IAX2/201/201,20")).
				row(4, 4, 14, line, "IAX2/202-7", data("IAX2/201/201,20"), recording("p.wav")).
				row(2, 4, 4, "IAX2/202-7", "", app("Pickup"), numbers("202", "*8201")).rows,
			[]string{"in answered +79161234567", "1: answered 202 10s +0s rang 201 rec 1"},
		},
		{
			"17 blonde: 201 leaves while 203 rings, 203 answers",
			consult(11, 8).row(6, 6, 11, line, "Local/203@from-internal-0f;1", data("IAX2/201/201")).
				row(11, 11, 20, line, "IAX2/203-2", data("IAX2/201/201"), recording("a.wav")).rows,
			[]string{"in answered +79161234567", "1: answered 201 4s +0s rang 201 rec 1", "2: answered 203 9s +11s rec 1"},
		},
		{
			"17 blonde through a Local channel that stays: 203 is recorded",
			new(history).row(0, 2, 6, line, "IAX2/201-1", data("IAX2/201/201"), recording("a.wav")).
				row(6, 6, 8, "IAX2/201-1", "Local/203@from-internal-0f;1", app("AppDial")).
				row(6, 11, 20, "Local/203@from-internal-0f;2", "IAX2/203-2", numbers(client, "203"), recording("b.wav")).
				row(6, 6, 20, line, "Local/203@from-internal-0f;1", recording("a.wav")).rows,
			[]string{"in answered +79161234567", "1: answered 201 4s +0s rang 201 rec 1", "2: answered 203 9s +11s rec 1"},
		},
		{
			"17 blonde unanswered",
			consult(-1, 20).row(6, 6, 20, line, "Local/203@from-internal-0f;1", data("IAX2/201/201")).rows,
			[]string{"in answered +79161234567", "1: answered 201 4s +0s rang 201 rec 1"},
		},
		{
			"18 failed attended: 203 does not answer, 201 comes back",
			consult(-1, 12).row(12, 12, 20, line, "IAX2/201-1", data("IAX2/201/201"), recording("a.wav")).rows,
			[]string{"in answered +79161234567", "1: answered 201 12s +0s rang 201 rec 1"},
		},
		{
			"cancelled attended: 203 answers and declines, 201 comes back",
			consult(8, 12).row(12, 12, 20, line, "IAX2/201-1", data("IAX2/201/201"), recording("a.wav")).rows,
			[]string{"in answered +79161234567", "1: answered 201 12s +0s rang 201 rec 1"},
		},
		{
			"03c queue with Local/n members",
			new(history).row(0, -1, 6, line, "Local/201@from-queue-01;1", app("Queue")).
				row(0, -1, 6, "Local/201@from-queue-01;2", "IAX2/201-1", numbers(client, "201")).
				row(0, -1, 6, line, "Local/202@from-queue-02;1", app("Queue")).
				row(0, -1, 6, "Local/202@from-queue-02;2", "IAX2/202-1", numbers(client, "202")).
				row(7, -1, 11, line, "Local/201@from-queue-03;1", app("Queue")).
				row(7, -1, 11, "Local/201@from-queue-03;2", "IAX2/201-2", numbers(client, "201")).
				row(7, 11, 21, line, "Local/202@from-queue-04;1", app("Queue"), recording("q.wav")).
				row(7, 11, 21, "Local/202@from-queue-04;2", "IAX2/202-2", numbers(client, "202")).rows,
			[]string{"in answered +79161234567", "1: answered 202 10s +0s rang 201,202 rec 1"},
		},
		{
			"03d the same behind an Answer(): waiting is no talk",
			new(history).row(0, 0, 4, line, "Local/201@from-queue-01;1", app("Queue"), disposition("NO ANSWER")).
				row(0, -1, 4, "Local/201@from-queue-01;2", "IAX2/201-1", numbers(client, "201")).
				row(0, 0, 14, line, "Local/202@from-queue-02;1", app("Queue")).
				row(0, 4, 14, "Local/202@from-queue-02;2", "IAX2/202-1", numbers(client, "202")).rows,
			[]string{"in answered +79161234567", "1: answered 202 10s +0s rang 201,202"},
		},
		{
			"queue behind an Answer(), nobody answers",
			new(history).row(0, 0, 30, line, "IAX2/201-1", app("Queue"), disposition("NO ANSWER")).
				row(0, 0, 30, line, "IAX2/202-1", app("Queue"), disposition("NO ANSWER")).
				row(30, 30, 35, line, "", app("Playback")).rows,
			[]string{"in missed +79161234567", "1: missed  0s +0s rang 201,202"},
		},
		{
			"11b ring group of Local channels",
			new(history).row(0, -1, 4, line, "Local/201@from-internal-01;1", data("Local/201@from-internal/n&Local/202@from-internal/n")).
				row(0, -1, 4, "Local/201@from-internal-01;2", "IAX2/201-1", numbers(client, "201")).
				row(0, 4, 10, line, "Local/202@from-internal-02;1", data("Local/201@from-internal/n&Local/202@from-internal/n")).
				row(0, 4, 10, "Local/202@from-internal-02;2", "IAX2/202-1", numbers(client, "202")).rows,
			[]string{"in answered +79161234567", "1: answered 202 6s +0s rang 201,202"},
		},
		{
			"a Local half without a row is known by its name",
			new(history).row(0, 4, 10, line, "Local/202@from-queue-02;1", app("Queue")).rows,
			[]string{"in answered +79161234567", "1: answered 202 6s +0s rang 202"},
		},
		{
			"follow-me to a mobile names its extension",
			new(history).row(0, -1, 5, line, "Local/FMPR-203@from-internal-01;1").
				row(0, -1, 5, "Local/FMPR-203@from-internal-01;2", "IAX2/203-1", numbers(client, "203")).
				row(0, 8, 20, line, "Local/FMGL-"+mobile+"#@from-internal-02;1").
				row(0, 8, 20, "Local/FMGL-"+mobile+"#@from-internal-02;2", out, numbers(client, mobile), data("IAX2/trunk/"+mobile)).rows,
			[]string{"in answered +79161234567", "1: answered +79035550000 via 203 12s +0s rang 203"},
		},
		{
			"two employees one after another and back",
			new(history).row(0, 2, 6, line, "IAX2/201-1", data("IAX2/201/201")).
				row(6, 6, 16, line, "IAX2/203-2", data("IAX2/203/203"), numbers(client, "203")).
				row(16, 18, 30, line, "IAX2/201-3", data("IAX2/201/201"), numbers(client, "201")).rows,
			[]string{
				"in answered +79161234567", "1: answered 201 4s +0s rang 201", "2: answered 203 10s +6s rang 203", "3: answered 201 12s +18s rang 201",
			},
		},
		{
			"blind transfer to a phone that does not answer",
			new(history).row(0, 2, 6, line, "IAX2/201-1", data("IAX2/201/201")).
				row(6, 6, 26, line, "IAX2/203-2", data("IAX2/203/203"), disposition("NO ANSWER")).rows,
			[]string{"in answered +79161234567", "1: answered 201 4s +0s rang 201,203"},
		},
		{
			"parked and never fetched",
			new(history).row(0, 0, 60, line, "", app("Park")).rows,
			[]string{"in missed +79161234567", "1: missed  0s +0s"},
		},
		{
			"conference of a caller",
			new(history).row(0, 0, 60, line, "", app("ConfBridge")).rows,
			[]string{"internal noanswer ", "1: noanswer  0s +0s"},
		},
		{
			"talk, then a conference",
			new(history).row(0, 2, 10, line, "IAX2/201-1", data("IAX2/201/201")).row(10, 10, 60, line, "", app("ConfBridge")).rows,
			[]string{"in answered +79161234567", "1: answered 201 8s +0s rang 201"},
		},
		{
			"SIP REFER: the consultation has a linkedid of its own",
			new(history).row(0, 2, 14, line, "IAX2/201-1", data("IAX2/201/201")).
				row(6, 8, 14, "IAX2/201-8", "IAX2/203-9", numbers("201", "203"), uid("1795341606.8"), linked("1795341606.8"), recording("consult.wav")).
				row(14, 14, 24, line, "IAX2/203-9", data("IAX2/201/201")).rows,
			[]string{"in answered +79161234567", "1: answered 201 4s +0s rang 201", "2: answered 203 10s +14s"},
		},
		{
			"outbound, the first line fails",
			new(history).row(0, -1, 1, "IAX2/201-1", out, numbers("201", mobile), disposition("FAILED")).
				row(1, 6, 20, "IAX2/201-1", "IAX2/backup-3", numbers("201", mobile), recording("o.wav"), uid(linkedID)).rows,
			[]string{"out answered +79035550000", "1: answered 201 14s +0s rec 1"},
		},
		{
			"outbound, all lines fail",
			new(history).row(0, -1, 1, "IAX2/201-1", out, numbers("201", mobile), disposition("CONGESTION"), recording("o.wav")).rows,
			[]string{"out failed +79035550000", "1: failed 201 0s +0s"},
		},
		{
			"outbound given up by the caller",
			new(history).row(0, -1, 9, "IAX2/201-1", out, numbers("201", mobile), disposition("CANCEL")).rows,
			[]string{"out cancelled +79035550000", "1: cancelled 201 0s +0s"},
		},
		{
			"outbound, the client is passed on to a colleague",
			new(history).row(0, 4, 10, "IAX2/201-1", out, numbers("201", mobile), recording("o.wav")).
				row(10, 10, 20, out, "IAX2/203-2", numbers(mobile, "203"), data("IAX2/203/203"), recording("o.wav")).rows,
			[]string{"out answered +79035550000", "1: answered 201 6s +0s rec 1", "2: answered 203 10s +10s rang 203 rec 1"},
		},
		{
			"outbound to the emergency services",
			new(history).row(0, 4, 10, "IAX2/201-1", out, numbers("201", "112"), data("IAX2/trunk/112")).rows,
			[]string{"out answered 112", "1: answered 201 6s +0s"},
		},
		{
			"a short number calls in over a FreePBX trunk",
			new(history).row(0, 4, 10, "PJSIP/mango-00000001", "PJSIP/201-00000002", caller("900"), func(r *cdr.Row) { r.Context = "from-trunk" }).rows,
			[]string{"in answered 900", "1: answered 201 6s +0s rang 201"},
		},
		{
			"a device whose name is no number",
			new(history).row(0, 4, 10, line, "SIP/alice-01", numbers(client, "201"), func(r *cdr.Row) { r.DID = "74951112233" }).rows,
			[]string{"in answered +79161234567", "1: answered 201 6s +0s rang 201"},
		},
		{
			"a line whose account looks like an extension",
			new(history).row(0, 4, 10, "PJSIP/1234-00000001", "PJSIP/201-00000002", func(r *cdr.Row) { r.DID = "74951112233" }).rows,
			[]string{"in answered +79161234567", "1: answered 201 6s +0s rang 201"},
		},
		{
			"blind transfer to a mobile",
			new(history).row(0, 4, 10, line, "IAX2/201-1", data("IAX2/201/201")).
				row(10, 15, 30, line, out, numbers(client, mobile), data("IAX2/trunk/"+mobile)).rows,
			[]string{"in answered +79161234567", "1: answered 201 6s +0s rang 201", "2: answered +79035550000 via 201 15s +15s"},
		},
		{
			"hidden caller",
			new(history).row(0, 4, 10, line, "IAX2/201-1", caller("anonymous")).rows,
			[]string{"in answered ", "1: answered 201 6s +0s rang 201"},
		},
		{
			"caller of 30 digits",
			new(history).row(0, -1, 10, line, "IAX2/201-1", caller("123456789012345678901234567890")).rows,
			[]string{"in missed ", "1: missed  0s +0s rang 201"},
		},
		{
			"no recording under several names",
			new(history).row(0, 4, 10, line, "IAX2/201-1", recording("none")).row(0, -1, 4, line, "IAX2/202-1", recording("-")).rows,
			[]string{"in answered +79161234567", "1: answered 201 6s +0s rang 201,202"},
		},
		{
			"a phone that is not there does not ring",
			new(history).row(0, -1, 0, line, "IAX2/201-1", disposition("CHANUNAVAIL")).row(0, -1, 9, line, "IAX2/202-1").rows,
			[]string{"in missed +79161234567", "1: missed  0s +0s rang 202"},
		},
		{
			"m02c two phones on one account",
			new(history).miko(0.4, 5.5, 15.6, mikoLine, "PJSIP/201-00000021", client, "201", recording("/m/a.webm")).
				miko(0.4, -1, 5.5, mikoLine, "PJSIP/201-00000022", client, "201").rows,
			[]string{"in answered +79161234567", "1: answered 201 10s +0s rang 201 rec 1"},
		},
		{
			"MikoPBX golden 03: the caller consults and passes the client on",
			new(history).miko(0, 1, 12, "PJSIP/201-00000001", mikoOut, "201", mobile, recording("/m/1.webm")).
				miko(5, 7, 12, "PJSIP/201-00000003", "PJSIP/203-00000004", "201", "203", recording("/m/transfer_201_203.webm")).
				miko(12, 12, 17, "PJSIP/203-00000004", mikoOut, "203", mobile, accounts("", ""), recording("/m/3.webm")).rows,
			[]string{"out answered +79035550000", "1: answered 201 4s +0s rec 1", "2: answered 203 5s +12s rec 1"},
		},
		{
			"MikoPBX golden 06: pickup",
			new(history).miko(0, -1, 5, mikoLine, "PJSIP/201-00000002", client, "201").
				miko(5, 5, 15, mikoLine, "PJSIP/202-00000003", client, "202", accounts("SIP-TRUNK-1A2B3C4D", ""), recording("/m/pickup_1.webm")).rows,
			[]string{"in answered +79161234567", "1: answered 202 10s +0s rang 201 rec 1"},
		},
		{
			"MikoPBX golden 11: cancelled attended",
			new(history).miko(0, 2, 12, mikoLine, "PJSIP/201-00000002", client, "201", recording("/m/1.webm")).
				miko(4, 5, 9, "PJSIP/201-00000002", "PJSIP/203-00000003", "201", "203", accounts("", "203"), recording("/m/transfer_201_203.webm")).rows,
			[]string{"in answered +79161234567", "1: answered 201 5s +0s rang 201 rec 1"},
		},
		{
			"MikoPBX voicemail is formally answered",
			new(history).miko(0, -1, 10, mikoLine, "PJSIP/201-00000002", client, "201").
				miko(10, 10, 25, mikoLine, "VOICEMAIL", client, "voicemail", recording("/m/vm.webm")).rows,
			[]string{"in voicemail +79161234567", "1: voicemail  0s +0s rang 201"},
		},
		{
			"MikoPBX parking and out of hours are nobody",
			new(history).miko(0, 0, 25, mikoLine, "Park:800", client, "800").
				miko(25, -1, 30, mikoLine, "App:outworktimes", client, "outworktimes", isApp).rows,
			[]string{"in missed +79161234567", "1: missed  0s +0s"},
		},
		{
			"MikoPBX a call that never reached a Dial",
			new(history).miko(0, -1, 0, "", "", client, "", func(r *cdr.Row) { r.DID = "74951112233" }).rows,
			[]string{"in missed +79161234567", "1: missed  0s +0s"},
		},
		{
			"MikoPBX answered for less than a second",
			new(history).miko(0, 4.2, 4.9, mikoLine, "PJSIP/201-00000002", client, "201", disposition("NOANSWER"), bill(0)).rows,
			[]string{"in answered +79161234567", "1: answered 201 0s +0s rang 201"},
		},
		{
			"MikoPBX conference",
			new(history).miko(0, 0, 60, mikoLine, "MeetMe:5001", client, "5001", recording("/m/conf.webm")).
				miko(5, 5, 60, "PJSIP/201-00000002", "MeetMe:5001", "201", "5001", recording("/m/conf.webm")).rows,
			[]string{"internal noanswer ", "1: noanswer  0s +0s"},
		},
		{
			"MikoPBX dispositions of an outbound call",
			new(history).miko(0, -1, 3, "PJSIP/201-00000001", mikoOut, "201", mobile, disposition("CHANUNAVAIL")).rows,
			[]string{"out failed +79035550000", "1: failed 201 0s +0s"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := cdr.Assemble(tt.rows, nil, rules(t))
			if diff := cmp.Diff(tt.want, sketch(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
