package cdr_test

import (
	"testing"

	"sverka/cdr"
)

// An attended transfer is about the most that one call asks of Assemble: seven rows and 45 events.
func BenchmarkAssemble(b *testing.B) {
	f := loadFixture(b, "asterisk-04")
	rows, events, rules := f.asterisk(b, "freepbx"), f.events(b), rules(b)
	b.ReportAllocs()
	for b.Loop() {
		cdr.Assemble(rows, events, rules)
	}
}
