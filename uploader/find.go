package uploader

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"sverka/uploader/audio"
)

// source is one file of a recording, open for reading.
type source struct {
	name string // as the CDR wrote it
	path string // where it was found
	file *os.File
	stat fs.FileInfo // when it was inspected
	info audio.Info
}

// set is the recording of one part: its files in time order.
type set struct {
	sources []*source
	left    []*Problem // names that hold nothing to send
}

// close closes all files. They were only read, so there is nothing to lose.
func (s *set) close() {
	for _, src := range s.sources {
		_ = src.file.Close()
	}
}

// extensions are those that a conversion of the PBX, or a script after it, may have given the file instead of the one in the CDR. Order is preference.
var extensions = [...]string{".mp3", ".wav", ".WAV", ".wav49", ".webm", ".ogg", ".opus", ".gsm", ".wav16", ".wav48", ".MP3", ".sln", ".ulaw", ".alaw", ".g722"}

// dated is the date in names that FreePBX gives: <type>-<to>-<from>-20261122-104358-<uniqueid>.wav. The other elements may hold dashes too.
var dated = regexp.MustCompile(`-(\d{8})-(\d{6})-`)

// find opens the files of a job. When several are named, those that will never hold anything are left out if another one does; while one may
// still come, the recording waits for it.
func (u *Uploader) find(job Job) (*set, error) {
	names := named(job.Names)
	if len(names) == 0 {
		return nil, &Problem{Kind: Absent, Text: "the CDR names no recording for " + job.ExternalID}
	}
	root, err := os.OpenRoot(u.cfg.Dir)
	if err != nil {
		return nil, u.unreadable(names[0], "recordings.dir "+u.cfg.Dir, err)
	}
	defer func() { _ = root.Close() }()
	found := &set{}
	var waiting *Problem
	for _, name := range names {
		src, p := u.findOne(root, job, name)
		switch {
		case p == nil:
			found.sources = append(found.sources, src)
		case !p.Retryable():
			found.left = append(found.left, p)
		case waiting == nil:
			waiting = p
		}
	}
	switch {
	case waiting != nil:
		found.close()
		return nil, waiting
	case len(found.sources) == 0:
		return nil, found.left[0]
	}
	return found, nil
}

// named drops what PBXs write for "no recording", and repetitions.
func named(names []string) []string {
	var kept []string
	for _, name := range names {
		name = strings.TrimSpace(name)
		if name != "" && name != "-" && name != "none" && !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}

// findOne opens the file that holds the sound of one name: the named one if it does, else one beside it with another extension.
func (u *Uploader) findOne(root *os.Root, job Job, name string) (*source, *Problem) {
	places, p := u.places(job, name)
	if p != nil {
		return nil, p
	}
	var first *Problem
	for _, rel := range candidates(places) {
		src, p := u.open(root, job, name, rel)
		switch {
		case src != nil:
			return src, nil
		case p == nil: // not there
		case p.Retryable():
			return nil, p // better wait for this one than take a worse
		case first == nil:
			first = p
		}
	}
	if first != nil {
		return nil, first
	}
	return nil, u.missing(job, name, places)
}

// candidates lists the places, then the same with every other extension.
func candidates(places []string) []string {
	all := slices.Clone(places)
	for _, place := range places {
		stem := place
		if ext := path.Ext(place); slices.Contains(extensions[:], ext) || slices.Contains(extensions[:], strings.ToLower(ext)) {
			stem = strings.TrimSuffix(place, ext)
		}
		for _, ext := range extensions {
			if stem+ext != place {
				all = append(all, stem+ext)
			}
		}
	}
	return all
}

// places lists where a name may lie, relative to recordings.dir, the likeliest first.
func (u *Uploader) places(job Job, name string) ([]string, *Problem) {
	if strings.ContainsRune(name, 0) || slices.Contains(strings.Split(name, "/"), "..") {
		return nil, u.outside(name)
	}
	clean := path.Clean(name)
	if path.IsAbs(clean) {
		return u.absolute(name, clean)
	}
	if strings.Contains(clean, "/") {
		return []string{clean}, nil
	}
	var days []string
	if m := dated.FindStringSubmatch(clean); m != nil {
		if day, err := time.Parse("20060102", m[1]); err == nil {
			days = append(days, day.Format("2006/01/02"))
		}
	}
	start := job.Start.In(u.cfg.Zone)
	for _, offset := range [...]int{0, -1, 1} {
		days = append(days, start.AddDate(0, 0, offset).Format("2006/01/02"))
	}
	var all []string
	for _, day := range days {
		if place := path.Join(day, clean); !slices.Contains(all, place) {
			all = append(all, place)
		}
	}
	return append(all, clean), nil
}

// absolute maps an absolute path of the PBX into recordings.dir: as it is when it lies there, else by what follows /monitor/, since the PBX may know
// the directory by another mount.
func (u *Uploader) absolute(name, clean string) ([]string, *Problem) {
	var all []string
	if rel, ok := below(u.cfg.Dir, clean); ok {
		all = append(all, rel)
	} else if dir, err := filepath.EvalSymlinks(u.cfg.Dir); err == nil {
		target := clean
		if followed, err := filepath.EvalSymlinks(clean); err == nil {
			target = followed
		}
		if rel, ok := below(dir, target); ok {
			all = append(all, rel)
		}
	}
	if _, tail, ok := strings.Cut(clean, "/monitor/"); ok && !slices.Contains(all, tail) {
		all = append(all, tail)
	}
	if len(all) == 0 {
		return nil, u.outside(name)
	}
	return all, nil
}

// below gives name relative to dir if it lies in it.
func below(dir, name string) (string, bool) {
	rel, err := filepath.Rel(dir, name)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return "", false
	}
	return filepath.ToSlash(rel), true
}

// open opens and judges the file at rel. Both results are nil when there is none. os.Root keeps symlinks from leading out of recordings.dir.
func (u *Uploader) open(root *os.Root, job Job, name, rel string) (*source, *Problem) {
	// Without O_NONBLOCK a pipe of that name would hang us.
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	file, err := root.OpenFile(rel, flags, 0)
	if err != nil && !gone(err) && !errors.Is(err, fs.ErrPermission) {
		// os.Root refuses absolute symlinks even when they lead to another place inside.
		var target string
		if target, err = u.resolve(rel); err == nil {
			if target == "" {
				return nil, u.outside(name)
			}
			file, err = root.OpenFile(target, flags, 0)
		}
	}
	switch {
	case gone(err):
		return nil, nil
	case err != nil:
		return nil, u.unreadable(name, filepath.Join(u.cfg.Dir, rel), err)
	}
	src := &source{name: name, path: filepath.Join(u.cfg.Dir, rel), file: file}
	if p := u.judge(job, src); p != nil {
		_ = file.Close()
		return nil, p
	}
	return src, nil
}

// gone reports whether an error of opening a file means that there is none.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// resolve follows the symlinks of rel to a place in recordings.dir; "" when they lead outside.
func (u *Uploader) resolve(rel string) (string, error) {
	dir, err := filepath.EvalSymlinks(u.cfg.Dir)
	if err != nil {
		return "", err
	}
	followed, err := filepath.EvalSymlinks(filepath.Join(dir, rel))
	if err != nil {
		return "", err
	}
	target, _ := below(dir, followed)
	return target, nil
}

// judge tells whether a file is a complete recording.
func (u *Uploader) judge(job Job, s *source) *Problem {
	stat, err := s.file.Stat()
	if err != nil {
		return u.unreadable(s.name, s.path, err)
	}
	s.stat = stat
	if !stat.Mode().IsRegular() {
		return &Problem{Kind: NotAudio, Name: s.name, Text: s.path + " is no regular file"}
	}
	now := u.cfg.Now()
	if still := now.Sub(stat.ModTime()); still < u.cfg.Settle {
		// A file from the future, written by a machine with a wrong clock, would never settle.
		if still > -abandonedAfter || now.Sub(job.ended()) < abandonedAfter {
			return u.growing(job, s)
		}
	}
	s.info, err = audio.Inspect(s.file, stat.Size(), path.Ext(s.path))
	if err != nil {
		return u.unfit(s, err)
	}
	switch {
	case s.info.State == audio.Empty:
		p := &Problem{Kind: Empty, Name: s.name, Text: fmt.Sprintf("%s has %d bytes and no sound", s.path, stat.Size())}
		if !u.abandoned(job, s) {
			p.RetryAt = next(job.ended(), now)
		}
		return p
	case s.info.State == audio.Open && !u.abandoned(job, s):
		return u.growing(job, s)
	case s.info.State == audio.Cut:
		if !u.abandoned(job, s) {
			return u.growing(job, s)
		}
		return &Problem{
			Kind: Truncated, Name: s.name, RetryAt: next(job.ended(), now),
			Text: fmt.Sprintf("%s has %d bytes and its header promises %d; copy it again from where it was recorded", s.path, stat.Size(), s.info.Promised),
		}
	}
	return nil
}

// abandoned reports whether nobody will write to the file any more: the call is long over, and the file long unchanged.
func (u *Uploader) abandoned(job Job, s *source) bool {
	now := u.cfg.Now()
	still := now.Sub(s.stat.ModTime())
	return now.Sub(job.ended()) > abandonedAfter && (still > abandonedAfter || still < -abandonedAfter)
}

// unchanged fails when a file is not what it was when it was judged.
func (u *Uploader) unchanged(job Job, s *source) error {
	stat, err := s.file.Stat()
	if err != nil {
		return u.unreadable(s.name, s.path, err)
	}
	if stat.Size() != s.stat.Size() || !stat.ModTime().Equal(s.stat.ModTime()) {
		s.stat = stat
		return u.growing(job, s)
	}
	return nil
}

func (u *Uploader) growing(job Job, s *source) *Problem {
	now := u.cfg.Now()
	at := s.stat.ModTime().Add(u.cfg.Settle)
	if at.Before(now) { // quiet, but not closed
		at = next(job.ended(), now)
	}
	if latest := now.Add(abandonedAfter); at.IsZero() || at.After(latest) {
		at = latest
	}
	return &Problem{
		Kind: Growing, Name: s.name, RetryAt: at.Add(time.Second),
		Text: fmt.Sprintf("%s is still being written, %d bytes so far", s.path, s.stat.Size()),
	}
}

// unfit is the problem of a file that could not be read as sound.
func (u *Uploader) unfit(s *source, err error) *Problem {
	if !errors.Is(err, audio.ErrNotAudio) {
		return u.unreadable(s.name, s.path, err)
	}
	return &Problem{Kind: NotAudio, Name: s.name, Err: err, Text: s.path + " holds no sound that Sverka knows, whatever its name says"}
}

func (u *Uploader) outside(name string) *Problem {
	return &Problem{
		Kind: Outside, Name: name,
		Text: fmt.Sprintf("the name leads out of recordings.dir %s; set recordings.dir to where the PBX writes", u.cfg.Dir),
	}
}

// unreadable concerns the disk or the permissions of all recordings, so it is never counted as a lost file.
func (u *Uploader) unreadable(name, where string, err error) *Problem {
	text := where + " cannot be read"
	switch {
	case errors.Is(err, fs.ErrPermission):
		text += ": give the user that runs sverka read access (group asterisk)"
	case errors.Is(err, fs.ErrNotExist):
		text += ": there is no such directory; is its disk mounted?"
	}
	return &Problem{Kind: Unreadable, Name: name, Text: text, RetryAt: u.cfg.Now().Add(mendPause), Err: err}
}

// missing is the problem of a name without a file.
func (u *Uploader) missing(job Job, name string, places []string) *Problem {
	looked := folders(places)
	retry := next(job.ended(), u.cfg.Now())
	if retry.IsZero() {
		return &Problem{
			Kind: Lost, Name: name,
			Text: fmt.Sprintf("no such file in %s (looked in %s), more than a day after the call; it was deleted, moved away, or never recorded",
				u.cfg.Dir, looked),
		}
	}
	return &Problem{Kind: Absent, Name: name, RetryAt: retry, Text: fmt.Sprintf("no such file in %s yet (looked in %s)", u.cfg.Dir, looked)}
}

// folders names the folders of places, each once: the name of the file is long and told already.
func folders(places []string) string {
	var names []string
	for _, p := range places {
		folder := path.Dir(filepath.ToSlash(p))
		if folder == "." {
			folder = "the directory itself"
		}
		if !slices.Contains(names, folder) {
			names = append(names, folder)
		}
	}
	return strings.Join(names, ", ")
}
