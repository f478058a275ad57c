// Package reconcile compares the calls of the PBX with those of the portal: what should be there, what is missing, what to do about it.
//
// It is pure: Policy.Want says what a call of the PBX should be in the portal, Diff compares that with the portal's statistics and the
// ledger and gives a Plan of gaps and changes. Reading both sides and carrying the plan out is the business of others.
package reconcile
