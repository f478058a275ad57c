// Package cdr says what a call of the PBX is: rows of the CDR table, the legs they describe, and what becomes of them in Bitrix24.
//
// It is pure: it reads no database, no clock and no file. A Source (package cdrdb) reads rows; Assemble turns the rows of one call into
// one Call.
package cdr
