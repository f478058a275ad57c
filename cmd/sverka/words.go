package main

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"sverka/internal/portal"
	"sverka/internal/reconcile"
)

// clock writes a time as people read it, in its own zone.
func clock(t time.Time) string { return t.Format("2006-01-02 15:04:05") }

// number writes a number with thousands apart.
func number(n int) string { return humanize.Comma(int64(n)) }

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return number(n) + " " + thing + "s"
}

// belong tells how many parts belong in the portal.
func belong(parts int) string {
	if parts == 1 {
		return "1 part belongs"
	}
	return number(parts) + " parts belong"
}

// describe tells in a few words what a part is.
func describe(want reconcile.Want) string {
	who := want.Extension
	if who == "" {
		who = fmt.Sprintf("user %d", want.Call.UserID)
	}
	way := "from client to " + who
	switch want.Call.Type {
	case portal.Outgoing:
		way = who + " to client"
	case portal.IncomingRedirected:
		way = "passed on to " + who
	case portal.Callback:
		way = "callback by " + who
	}
	return way + ", " + ending(want.Call)
}

// ending tells how a call ended.
func ending(call portal.Call) string {
	switch call.Status {
	case portal.StatusOK:
		return (time.Duration(call.Duration) * time.Second).String()
	case portal.StatusMissed:
		return "missed"
	case portal.StatusBusy:
		return "busy"
	case portal.StatusNoAnswer:
		return "no answer"
	case portal.StatusCancelled:
		return "cancelled"
	}
	return "failed"
}
