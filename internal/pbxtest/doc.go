// Package pbxtest makes the database and the recordings of a FreePBX, full of calls that a real Asterisk wrote, and says what each of
// them must become in Bitrix24.
//
// The rows and channel events were captured from an Asterisk 20.20.1 (templates/, one file for each kind of call). Every generated call is
// such a capture moved to another time, with other people, channels and ids, so that the quirks of the CDR stay as they are. What a kind of
// call must become was written down by hand (truth.go): nothing here is computed by the code under test.
package pbxtest
