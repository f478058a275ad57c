// Package demo is a small sales office for `sverka demo`: its employees and clients, and a day of its calls as a MikoPBX keeps them, with
// recordings that one can listen to. What is written is also told as the truth that the portal is checked against.
//
// The rows have the shapes that MikoPBX's own source gives them: one row for each contact of a phone that rang, the row of a queue never
// ANSWERED, the recording named by its path on the PBX. Names and numbers are invented.
package demo
