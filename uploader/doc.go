// Package uploader brings a recording from the PBX's disk to the portal: it finds the file a CDR row names, waits until it is complete,
// converts it, stages it and attaches it to its call.
//
//	CDR names ── find ── complete? ── convert, join ── Store.Put ── Store.Open ── Portal.AttachFile
//	              │          │             │               │
//	       absent, lost   growing       convert      staging_full
//	       outside        empty         no_converter
//	       unreadable     not_audio
//	                      truncated
//
// Every step may be repeated. What stops one is a *Problem: it says what is wrong with the recording in words for a person, and when to try again.
// Nothing is read into memory whole, and nothing outside recordings.dir is read at all.
package uploader
