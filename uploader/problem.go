package uploader

import (
	"fmt"
	"time"
)

// Kind says what is wrong with a recording. Its text is stable: reports and scripts rely on it.
type Kind string

// Kinds of problems.
const (
	Absent      Kind = "absent"       // not there yet: conversion and retention scripts of the PBX take their time
	Lost        Kind = "lost"         // not there a day after the call
	Growing     Kind = "growing"      // being written
	Empty       Kind = "empty"        // a header without sound: recording began, nobody talked
	NotAudio    Kind = "not_audio"    // not a recording, whatever its name says
	Truncated   Kind = "truncated"    // shorter than its own header promises
	Outside     Kind = "outside"      // the CDR names a file outside recordings.dir
	Unreadable  Kind = "unreadable"   // the disk or its permissions keep us from reading
	NoConverter Kind = "no_converter" // ffmpeg is not installed
	StagingFull Kind = "staging_full" // no room to stage or to convert
	Convert     Kind = "convert"      // ffmpeg could not make sound of it
)

// Problem is what keeps the recording of one part from being staged. Every error of Look and Stage that belongs to the recording is one.
type Problem struct {
	Kind    Kind
	Name    string    // the recording as the CDR names it
	Text    string    // what is wrong and what to do, for a person
	RetryAt time.Time // when to try again; zero: the same attempt will fail the same way, a person must act
	Err     error     // cause, if any
}

func (p *Problem) Error() string {
	if p.Name == "" {
		return "recording: " + p.Text
	}
	return fmt.Sprintf("recording %s: %s", p.Name, p.Text)
}

func (p *Problem) Unwrap() error { return p.Err }

// Retryable reports whether the same attempt may succeed later, without anybody doing anything.
func (p *Problem) Retryable() bool { return !p.RetryAt.IsZero() }

const (
	// lostAfter is how long after the end of a call a missing file is looked for. MikoPBX converts within minutes; a day covers a weekend's
	// stuck conversion that somebody restarts in the morning.
	lostAfter = 24 * time.Hour
	// abandonedAfter is how long after the end of a call, and after its last change, a file that nobody closed counts as left by a crash.
	abandonedAfter = 10 * time.Minute
	// mendPause is the time until the next try when a person must mend something that concerns all recordings alike.
	mendPause = 10 * time.Minute
)

// next gives the next moment to look for a file of a call that ended at end: reference cdr-ami.md §6, trap 8. Zero when the day is over.
func next(end, now time.Time) time.Time {
	for _, after := range [...]time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, lostAfter} {
		if at := end.Add(after); at.After(now) {
			return at
		}
	}
	return time.Time{}
}
