package uploader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sverka/uploader/audio"
)

// ffmpeg gives the path of the converter, "" if there is none.
func (u *Uploader) ffmpeg() string {
	name := u.cfg.FFmpeg
	if name == "" {
		name = "ffmpeg"
	}
	found, err := exec.LookPath(name)
	if err != nil {
		return ""
	}
	return found
}

// converted is a finished conversion. Its file has no name any more, so a crash leaves nothing behind.
type converted struct {
	file *os.File
	size int64
}

// convert makes one mono MP3 of all sources, in their order, and measures it. The caller closes the file.
func (u *Uploader) convert(ctx context.Context, job Job, sources []*source) (converted, time.Duration, error) {
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return converted{}, 0, context.Cause(ctx)
	}
	file, err := u.temp()
	if err != nil {
		return converted{}, 0, err
	}
	out := converted{file: file}
	play, err := u.run(ctx, job, sources, &out)
	if err != nil {
		return converted{}, 0, errors.Join(err, file.Close())
	}
	return out, play, nil
}

// temp opens a file without a name.
func (u *Uploader) temp() (*os.File, error) {
	file, err := os.CreateTemp(u.cfg.TempDir, "sverka-*.mp3")
	if errors.Is(err, syscall.ENOSPC) {
		err = fmt.Errorf("%w: %w", ErrStagingFull, err)
	}
	if err != nil {
		return nil, fmt.Errorf("make a file for the conversion: %w", err)
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("unlink the file for the conversion: %w", err), file.Close())
	}
	return file, nil
}

func (u *Uploader) run(ctx context.Context, job Job, sources []*source, out *converted) (time.Duration, error) {
	var bytesIn int64
	var expected time.Duration
	for _, s := range sources {
		bytesIn += s.stat.Size()
		expected += s.info.Duration
	}
	limit := 2*time.Minute + time.Duration(bytesIn>>20)*2*time.Second
	run, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var complaint tail
	cmd := u.command(run, sources, out.file, &complaint)
	if err := cmd.Run(); err != nil {
		return 0, u.failed(ctx, run, sources, limit, &complaint, err)
	}
	for _, s := range sources {
		if err := u.unchanged(job, s); err != nil {
			return 0, err
		}
	}
	stat, err := out.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("look at the conversion: %w", err)
	}
	out.size = stat.Size()
	play, _, err := audio.WalkMP3(out.file, out.size)
	if err != nil || play <= 0 {
		return 0, u.broken(sources, "ffmpeg made no sound of it"+complaint.colon(), err)
	}
	// A decoder that stops half-way ends without an error. Not every format tells its length beforehand; those that do are held to it.
	if known(sources) && play < expected*9/10-time.Second {
		return 0, u.broken(sources, fmt.Sprintf("ffmpeg made %s of %s"+complaint.colon(), play.Round(time.Second), expected.Round(time.Second)), nil)
	}
	return play, nil
}

// known reports whether the length of all sources could be told from their headers.
func known(sources []*source) bool {
	for _, s := range sources {
		if s.info.Duration == 0 || s.info.Format == audio.MP3 {
			return false
		}
	}
	return true
}

// command builds the call of ffmpeg. Files are passed as descriptors: no path is ever read as an option or a protocol, and what is converted is the very
// file that was judged. Each input is read by the demuxer of the format that was found in it, so a playlist cannot make ffmpeg open other files.
func (u *Uploader) command(ctx context.Context, sources []*source, out *os.File, complaint *tail) *exec.Cmd {
	const firstFD = 3 // after stdin, stdout, stderr
	args := []string{"-nostdin", "-hide_banner", "-v", "error"}
	files := make([]*os.File, 0, len(sources)+1)
	rate := 0
	var filter strings.Builder
	for i, s := range sources {
		args = append(args, "-protocol_whitelist", "file")
		args = append(args, demuxer(s)...)
		args = append(args, "-i", fmt.Sprintf("file:/dev/fd/%d", firstFD+i))
		files = append(files, s.file)
		rate = max(rate, s.info.Rate)
	}
	// 8 kHz becomes 16: MPEG-2 is played everywhere, the MPEG-2.5 that 8 kHz needs is not. Speech does not gain from more than 24 kHz.
	bitrate := "32k"
	if rate > 16000 {
		rate, bitrate = 24000, "48k"
	} else {
		rate = 16000
	}
	for i := range sources {
		fmt.Fprintf(&filter, "[%d:a:0]aresample=%d,aformat=sample_fmts=fltp:channel_layouts=mono[a%d];", i, rate, i)
	}
	for i := range sources {
		fmt.Fprintf(&filter, "[a%d]", i)
	}
	fmt.Fprintf(&filter, "concat=n=%d:v=0:a=1[out]", len(sources))
	args = append(args, "-filter_complex", filter.String(), "-map", "[out]", "-map_metadata", "-1", "-threads", "1",
		"-c:a", "libmp3lame", "-b:a", bitrate, "-f", "mp3", "-y", fmt.Sprintf("file:/dev/fd/%d", firstFD+len(sources)))
	name := u.ffmpeg()
	if nice, err := exec.LookPath("nice"); err == nil { // calls come first on a PBX
		args = append([]string{"-n", "10", name}, args...)
		name = nice
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.ExtraFiles = append(files, out)
	cmd.Stderr = complaint
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + os.Getenv("LD_LIBRARY_PATH")} // none of our secrets
	return cmd
}

// demuxer gives the input options for a source.
func demuxer(s *source) []string {
	rate := strconv.Itoa(s.info.Rate)
	switch s.info.Format {
	case audio.WAV:
		if s.info.State == audio.Open {
			return []string{"-ignore_length", "1", "-f", "wav"} // the header was never finished
		}
		return []string{"-f", "wav"}
	case audio.WebM:
		return []string{"-f", "matroska"}
	case audio.ULaw:
		return []string{"-f", "mulaw", "-ar", rate, "-ac", "1"}
	case audio.ALaw:
		return []string{"-f", "alaw", "-ar", rate, "-ac", "1"}
	case audio.SLin:
		return []string{"-f", "s16le", "-ar", rate, "-ac", "1"}
	}
	return []string{"-f", s.info.Format.String()} // mp3, ogg, gsm, g722
}

// failed tells why ffmpeg did not end well.
func (u *Uploader) failed(ctx, run context.Context, sources []*source, limit time.Duration, complaint *tail, err error) error {
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case run.Err() != nil:
		p := u.broken(sources, fmt.Sprintf("ffmpeg did not end within %s", limit), err)
		p.RetryAt = u.cfg.Now().Add(mendPause)
		return p
	case strings.Contains(complaint.String(), "No space left on device"):
		return fmt.Errorf("convert in %s: %w", u.cfg.TempDir, ErrStagingFull)
	case errors.As(err, &exit) && exit.Exited():
		return u.broken(sources, "ffmpeg cannot convert it"+complaint.colon(), err)
	}
	// Killed from outside, or not started: it says nothing about the recording.
	p := u.broken(sources, "ffmpeg did not run: "+err.Error(), err)
	p.RetryAt = u.cfg.Now().Add(mendPause)
	return p
}

func (u *Uploader) broken(sources []*source, text string, err error) *Problem {
	names := make([]string, len(sources))
	for i, s := range sources {
		names[i] = s.name
	}
	return &Problem{Kind: Convert, Name: strings.Join(names, ", "), Text: text, Err: err}
}

// tail keeps the end of what ffmpeg complains about.
type tail struct{ buf bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	const most = 4096
	t.buf.Write(p)
	if over := t.buf.Len() - most; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string { return t.buf.String() }

// descriptor is how ffmpeg names our files. It means nothing to a person.
var descriptor = regexp.MustCompile(`file:/dev/fd/\d+:? ?`)

// colon gives the last line, to be put behind a sentence.
func (t *tail) colon() string {
	text := descriptor.ReplaceAllString(strings.ToValidUTF8(t.buf.String(), "?"), "")
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return ": " + last
	}
	return ""
}
