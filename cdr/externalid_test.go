package cdr_test

import (
	"strings"
	"testing"
	"time"

	"sverka/cdr"
)

func TestExternalID(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("n", 70) + "-1795344238.194"
	tests := []struct {
		linkedid string
		n        int
		want     string
	}{
		{"1795344238.194", 1, "1795344238.194"},
		{"1795344238.194", 0, "1795344238.194"},
		{"1795344238.194", 2, "1795344238.194/2"},
		{"mikopbx-1795344238.194", 12, "mikopbx-1795344238.194/12"},
		{strings.Repeat("x", 64), 1, strings.Repeat("x", 64)},
	}
	for _, tt := range tests {
		if got := cdr.ExternalID(tt.linkedid, tt.n); got != tt.want {
			t.Errorf("ExternalID(%q, %d) = %q, want %q", tt.linkedid, tt.n, got, tt.want)
		}
	}
	for _, id := range []string{long, strings.Repeat("ю", 70), strings.Repeat("z", 63)} {
		one, two := cdr.ExternalID(id, 1), cdr.ExternalID(id, 2)
		if len(one) > 64 || len(two) > 64 || one == two || !strings.HasSuffix(two, "/2") {
			t.Errorf("ExternalID(%q) = %q and %q", id, one, two)
		}
		if got := cdr.ExternalID(id, 2); got != two {
			t.Errorf("second try gave %q, want %q", got, two)
		}
	}
	if cdr.ExternalID(long, 1) == cdr.ExternalID("m"+long, 1) {
		t.Error("two long linkedids share an external id")
	}
	if l, n, ok := cdr.ParseExternalID(cdr.ExternalID(long, 3)); !ok || n != 3 || cdr.ExternalID(l, 3) != cdr.ExternalID(long, 3) {
		t.Errorf("ParseExternalID of a shortened id = %q, %d, %v", l, n, ok)
	}
}

func TestParseExternalID(t *testing.T) {
	t.Parallel()
	tests := []struct {
		id       string
		linkedid string
		n        int
		ok       bool
	}{
		{"1795344238.194", "1795344238.194", 1, true},
		{"1795344238.194/2", "1795344238.194", 2, true},
		{"mikopbx-1795344238.194/3", "mikopbx-1795344238.194", 3, true},
		{"node-a-1795344238.194", "node-a-1795344238.194", 1, true},
		{"1795344238.194/1", "", 0, false},
		{"1795344238.194/02", "", 0, false},
		{"1795344238.194/x", "", 0, false},
		{"1795344238", "", 0, false},
		{"", "", 0, false},
		{"b8a3f9e2-0000-4000-8000-000000000000", "", 0, false},
		{strings.Repeat("n", 60) + "-1795344238.194", "", 0, false},
	}
	for _, tt := range tests {
		l, n, ok := cdr.ParseExternalID(tt.id)
		if l != tt.linkedid || n != tt.n || ok != tt.ok {
			t.Errorf("ParseExternalID(%q) = %q, %d, %v, want %q, %d, %v", tt.id, l, n, ok, tt.linkedid, tt.n, tt.ok)
		}
	}
}

func TestEpoch(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 11, 22, 10, 43, 58, 0, time.UTC)
	for _, id := range []string{"1795344238.194", "mikopbx-1795344238.194", "mikopbx-1795344238.196_a7Qx2L", "n-1-1795344238.1_PJSIP/233-00000ef1"} {
		if got, ok := cdr.Epoch(id); !ok || !got.Equal(want) {
			t.Errorf("Epoch(%q) = %v, %v, want %v", id, got, ok, want)
		}
	}
	for _, id := range []string{"", "abc", "1795344238", "12.34"} {
		if got, ok := cdr.Epoch(id); ok {
			t.Errorf("Epoch(%q) = %v, want none", id, got)
		}
	}
}
