package cdr

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// maxExternalID is the room for EXTERNAL_CALL_ID in bytes. The portal cuts longer ones without a word, and two calls would become one.
const maxExternalID = 64

// maxPartDigits bounds the number behind the slash of an external id.
const maxPartDigits = 4

// A linkedid is the uniqueid of a channel: [systemname-]epoch.counter.
var linkedIDForm = regexp.MustCompile(`^(?:(.+)-)?(\d{9,11})\.(\d{1,12})$`)

// ExternalID gives the EXTERNAL_CALL_ID of part n of a call: the linkedid itself for the first part, linkedid/2, linkedid/3… after it.
// One longer than 64 bytes is shortened, always in the same way: the end and the /n stay, the rest gives way to a hash of the linkedid.
func ExternalID(linkedid string, n int) string {
	suffix := ""
	if n > 1 {
		suffix = "/" + strconv.Itoa(n)
	}
	if len(linkedid)+len(suffix) <= maxExternalID {
		return linkedid + suffix
	}
	sum := sha256.Sum256([]byte(linkedid))
	hash := hex.EncodeToString(sum[:10])
	// The epoch and counter stay readable, so that the id is still known as one of a PBX. Room is kept for the longest suffix, so that
	// all long ids of one call have the same stem.
	tail := ""
	if m := linkedIDForm.FindStringSubmatch(linkedid); m != nil {
		tail = "-" + m[2] + "." + m[3]
	}
	room := maxExternalID - 1 - maxPartDigits - len(hash) - 1 - len(tail)
	return strings.ToValidUTF8(linkedid[:room], "") + "~" + hash + tail + suffix
}

// ParseExternalID takes an EXTERNAL_CALL_ID apart. It reports false for one that no Asterisk made: another connector's, a UUID, "".
// For a shortened id the linkedid is the shortened one; ExternalID gives the same id for it again.
func ParseExternalID(id string) (linkedid string, n int, ok bool) {
	if id == "" || len(id) > maxExternalID {
		return "", 0, false
	}
	linkedid, n = id, 1
	if base, part, found := strings.Cut(id, "/"); found {
		v, err := strconv.Atoi(part)
		if err != nil || v < 2 || strconv.Itoa(v) != part || len(part) > maxPartDigits {
			return "", 0, false
		}
		linkedid, n = base, v
	}
	if !linkedIDForm.MatchString(linkedid) {
		return "", 0, false
	}
	return linkedid, n, true
}

// SystemName gives the name of the Asterisk that a linkedid comes from: what stands before the epoch (systemname in asterisk.conf, mikopbx
// on a MikoPBX), "" on most.
func SystemName(linkedid string) string {
	m := linkedIDForm.FindStringSubmatch(linkedid)
	if m == nil {
		return ""
	}
	return m[1]
}

// Epoch gives the moment inside a uniqueid or linkedid ([name-]epoch.counter, with whatever MikoPBX adds behind it): when the channel
// was made, in UTC, whole seconds. It settles what a wall clock leaves open in the hour that a change of DST repeats.
func Epoch(id string) (time.Time, bool) {
	sec, _, ok := epochOf(id)
	if !ok {
		return time.Time{}, false
	}
	return time.Unix(sec, 0).UTC(), true
}

var epochForm = regexp.MustCompile(`^(?:.*-)?(\d{9,11})\.(\d{1,12})(?:\D.*)?$`)

func epochOf(id string) (sec, counter int64, ok bool) {
	m := epochForm.FindStringSubmatch(id)
	if m == nil {
		return 0, 0, false
	}
	sec, err1 := strconv.ParseInt(m[1], 10, 64)
	counter, err2 := strconv.ParseInt(m[2], 10, 64)
	return sec, counter, err1 == nil && err2 == nil
}
