// Package jobs is the work that sverka does by schedule or by hand: surveying both sides of a period, delivering what the portal lacks.
package jobs
