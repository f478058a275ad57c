// Package deliver is the one writer of calls to the portal: whatever is to stand in Bitrix24 goes through a Deliverer, from the schedule,
// from a backfill and from the live path alike.
//
// It keeps the promises of "exactly once" together with the ledger: the intent is written before a request leaves, its result after; a
// lost answer is looked up before anything is sent again; calls of one phone number go oldest first and never two at once.
package deliver
