// Package cdrdb reads the CDR database of a PBX: MySQL or MariaDB (FreePBX, Issabel, plain Asterisk) and SQLite (MikoPBX, plain Asterisk).
//
// It only ever reads, in short queries of one page each, so that a PBX that shares the tables never waits for it. Which columns a table has
// is asked, not assumed. Wall times of the PBX become moments here: its zone, and in the hour that autumn repeats the epoch inside uniqueid,
// settle them.
package cdrdb
