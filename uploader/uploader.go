package uploader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
	"sverka/uploader/audio"
)

// Formats of staged recordings.
const (
	FormatMP3  = "mp3"  // everything becomes mono MP3; what is MP3 already goes as it is
	FormatKeep = "keep" // WAV and MP3 go as they are, the rest becomes MP3
)

// Config is what an Uploader must know beside its store.
type Config struct {
	Dir      string           // recordings.dir: nothing outside it is read
	Settle   time.Duration    // a file is done when it has not changed for this long
	Format   string           // FormatMP3 or FormatKeep; "" is FormatMP3
	Zone     *time.Location   // of the PBX's clock, for date folders; nil: the machine's
	Site     string           // first element of staged names
	Now      func() time.Time // nil: time.Now
	FFmpeg   string           // path of ffmpeg; "": looked up in PATH at each conversion, so that installing it is enough
	Parallel int              // conversions at one time; 0: 2
	TempDir  string           // for conversions; "": the system's
	Log      *logrus.Entry    // nil: no logs
}

// Uploader finds, converts, stages and attaches recordings. Its methods may be called by several goroutines.
type Uploader struct {
	cfg   Config
	store Store
	slots chan struct{} // one for each conversion that may run
}

// New gives an Uploader. It touches no file: recordings.dir may be a disk that is mounted later.
func New(cfg Config, store Store) (*Uploader, error) {
	switch {
	case store == nil:
		return nil, errors.New("uploader without a store")
	case cfg.Dir == "":
		return nil, errors.New("recordings.dir is empty")
	case cfg.Settle < 0:
		return nil, fmt.Errorf("recordings.settle %s is negative", cfg.Settle)
	case cfg.Parallel < 0:
		return nil, fmt.Errorf("%d parallel conversions", cfg.Parallel)
	}
	switch cfg.Format {
	case "":
		cfg.Format = FormatMP3
	case FormatMP3, FormatKeep:
	default:
		return nil, fmt.Errorf("recordings.format %q is neither %s nor %s", cfg.Format, FormatMP3, FormatKeep)
	}
	if cfg.Zone == nil {
		cfg.Zone = time.Local
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = 2
	}
	if cfg.TempDir == "" {
		cfg.TempDir = os.TempDir()
	}
	if cfg.Log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		cfg.Log = logrus.NewEntry(quiet)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("recordings.dir: %w", err)
	}
	cfg.Dir = dir
	return &Uploader{cfg: cfg, store: store, slots: make(chan struct{}, cfg.Parallel)}, nil
}

// Job is the recording of one part of a call.
type Job struct {
	ExternalID string // EXTERNAL_CALL_ID of the part: names it in logs and errors
	LinkedID   string
	Part       int       // 1, 2, 3…
	Names      []string  // as the CDR wrote them, in time order; several are joined
	Start      time.Time // of the call
	End        time.Time // of the call
	Talk       int       // seconds of talk of this part
}

// ended is the moment from which waiting for a file is counted.
func (j Job) ended() time.Time {
	if j.End.IsZero() {
		return j.Start
	}
	return j.End
}

// Found is what Look saw.
type Found struct {
	Paths   []string   // files on the PBX that make up the recording, in time order
	Size    int64      // bytes of all of them; of the staged object when Staged
	ModTime time.Time  // of the youngest
	Staged  bool       // the recording is in staging, so the files on the PBX no longer matter
	Left    []*Problem // further names of the CDR that hold nothing to send
}

// Look tells where the recording of a part is, without any side effect. A *Problem when Stage could not stage it now.
func (u *Uploader) Look(job Job) (Found, error) {
	obj, err := u.staged(context.Background(), job)
	if err == nil {
		return Found{Size: obj.Size, Staged: true}, nil
	}
	if !errors.Is(err, ErrNoObject) {
		return Found{}, fmt.Errorf("look for the recording of %s: %w", job.ExternalID, err)
	}
	set, err := u.find(job)
	if err != nil {
		return Found{}, err
	}
	defer set.close()
	found := Found{Left: set.left}
	for _, s := range set.sources {
		found.Paths = append(found.Paths, s.path)
		found.Size += s.stat.Size()
		if s.stat.ModTime().After(found.ModTime) {
			found.ModTime = s.stat.ModTime()
		}
	}
	return found, nil
}

// staged gives the object that Stage made of this job before; ErrNoObject if it did not yet.
func (u *Uploader) staged(ctx context.Context, job Job) (Object, error) {
	for _, ext := range [...]string{".mp3", ".wav"} {
		obj, err := u.store.Stat(ctx, u.objectName(job, ext))
		if !errors.Is(err, ErrNoObject) {
			return obj, err
		}
	}
	return Object{}, ErrNoObject
}

// Stage brings the recording of a part into the store: it finds the files, sees that they are complete, converts and joins them. Repeating it is
// harmless: what is staged already is returned as it is. A *Problem when the recording is not (yet) fit to be sent; another error when the
// store fails. To stage a part anew, because its names changed, delete its object first.
func (u *Uploader) Stage(ctx context.Context, job Job) (Object, error) {
	obj, err := u.staged(ctx, job)
	if err == nil || !errors.Is(err, ErrNoObject) {
		return obj, wrap("stage recording of", job, err)
	}
	set, err := u.find(job)
	if err != nil {
		return Object{}, err
	}
	defer set.close()
	if obj, err = u.stage(ctx, job, set); err != nil {
		return Object{}, u.explain(job, err)
	}
	for _, p := range set.left {
		u.cfg.Log.WithFields(logrus.Fields{"call": job.ExternalID, "recording": p.Name, "kind": p.Kind}).Warn("part of a recording left out")
	}
	return obj, nil
}

func wrap(doing string, job Job, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, job.ExternalID, err)
}

// explain gives the problem that an error of staging is, if it is one that concerns the recording.
func (u *Uploader) explain(job Job, err error) error {
	var p *Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, ErrStagingFull):
		return &Problem{
			Kind: StagingFull, Name: strings.Join(job.Names, ", "), Err: err, RetryAt: u.cfg.Now().Add(mendPause),
			Text: "no room in staging; free its disk or raise staging.max_bytes",
		}
	}
	return wrap("stage recording of", job, err)
}

// stage puts the files of set into the store, converted where they must be.
func (u *Uploader) stage(ctx context.Context, job Job, set *set) (Object, error) {
	asIs, err := u.asIs(set)
	if err != nil {
		return Object{}, err
	}
	if asIs {
		return u.putAsIs(ctx, job, set.sources[0])
	}
	out, play, err := u.convert(ctx, job, set.sources)
	if err != nil {
		return Object{}, err
	}
	defer func() { _ = out.file.Close() }() // only read by now, and without a name
	u.checkTalk(job, play)
	return u.store.Put(ctx, u.objectName(job, ".mp3"), io.NewSectionReader(out.file, 0, out.size))
}

// asIs decides whether a recording goes to the portal as the PBX wrote it.
func (u *Uploader) asIs(set *set) (bool, error) {
	if len(set.sources) == 1 {
		switch set.sources[0].info.Format {
		case audio.MP3:
			return true, nil
		case audio.WAV:
			if u.cfg.Format == FormatKeep || u.ffmpeg() == "" {
				return true, nil
			}
		}
	}
	if u.ffmpeg() == "" {
		return false, &Problem{
			Kind: NoConverter, Name: set.sources[0].name, RetryAt: u.cfg.Now().Add(mendPause),
			Text: "ffmpeg is needed to convert it and is not installed; install it with: apt-get install ffmpeg",
		}
	}
	return false, nil
}

// putAsIs stages one file without converting it. A WAV that its writer could not close gets a header that fits.
func (u *Uploader) putAsIs(ctx context.Context, job Job, s *source) (Object, error) {
	size := s.stat.Size()
	var body io.Reader = io.NewSectionReader(s.file, 0, size)
	ext, play := ".wav", s.info.Duration
	switch {
	case s.info.Format == audio.MP3:
		var whole bool
		var err error
		ext = ".mp3"
		if play, whole, err = audio.WalkMP3(s.file, size); err != nil {
			return Object{}, u.unfit(s, err)
		}
		if !whole && !u.abandoned(job, s) {
			return Object{}, u.growing(job, s)
		}
	case s.info.State == audio.Open:
		head, err := audio.WAVHeader(s.file, s.info, size)
		if err != nil {
			return Object{}, u.unfit(s, err)
		}
		body = io.MultiReader(strings.NewReader(string(head)), io.NewSectionReader(s.file, s.info.Data, size-s.info.Data))
	}
	u.checkTalk(job, play)
	return u.store.Put(ctx, u.objectName(job, ext), &steady{r: body, done: func() error { return u.unchanged(job, s) }})
}

// steady fails instead of ending when the file changed while it was read, so that the store throws the copy away.
type steady struct {
	r    io.Reader
	done func() error
}

func (s *steady) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if errors.Is(err, io.EOF) {
		if changed := s.done(); changed != nil {
			return n, changed
		}
	}
	return n, err
}

// checkTalk tells the log of a recording much shorter than the talk. It is sent all the same: recording may have been switched on late.
func (u *Uploader) checkTalk(job Job, play time.Duration) {
	talk := time.Duration(job.Talk) * time.Second
	if play > 0 && play < talk/2 && talk-play > 3*time.Second {
		u.cfg.Log.WithFields(logrus.Fields{"call": job.ExternalID, "talk": talk, "recorded": play.Round(time.Second)}).
			Warn("recording is much shorter than the talk")
	}
}

// Portal is the part of the portal that takes recordings. open may be called again when the portal sends the file again.
type Portal interface {
	AttachFile(ctx context.Context, id portal.CallID, name string, size int64, open func() (io.ReadCloser, error)) (int64, error)
}

// Attach sends a staged recording to the portal, as a stream, and gives the portal's file. Repeating it replaces the recording of the call; the
// portal keeps one. ErrNoObject when the object is no longer what Stage returned: stage again. Errors of the portal are wrapped.
func (u *Uploader) Attach(ctx context.Context, p Portal, id portal.CallID, obj Object, job Job) (int64, error) {
	now, err := u.store.Stat(ctx, obj.Name)
	if err != nil {
		return 0, wrap("attach recording of", job, err)
	}
	if now.Size != obj.Size || now.SHA256 != obj.SHA256 {
		return 0, wrap("attach recording of", job, fmt.Errorf("%s was staged again since: %w", obj.Name, ErrNoObject))
	}
	file, err := p.AttachFile(ctx, id, u.FileName(job, path.Ext(obj.Name)), obj.Size, func() (io.ReadCloser, error) {
		r, _, err := u.store.Open(ctx, obj.Name)
		if err != nil {
			return nil, err
		}
		return &verified{ReadCloser: r, sum: sha256.New(), want: obj}, nil
	})
	return file, wrap("attach recording of", job, err)
}

// verified fails instead of ending when the bytes are not those that were staged, so that an upload of damaged ones is never completed.
type verified struct {
	io.ReadCloser
	sum  hash.Hash
	size int64
	want Object
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.sum.Write(p[:n])
	v.size += int64(n)
	if errors.Is(err, io.EOF) && (v.size != v.want.Size || hex.EncodeToString(v.sum.Sum(nil)) != v.want.SHA256) {
		return n, fmt.Errorf("staged %s is damaged: its bytes are not those that were staged", v.want.Name)
	}
	return n, err
}

// Prefix is what the names of all staged recordings of a site begin with.
func Prefix(site string) string { return safe(site) + "/" }

// objectName is the key of a job in the store.
func (u *Uploader) objectName(job Job, ext string) string {
	return path.Join(Prefix(u.cfg.Site), job.Start.In(u.cfg.Zone).Format(time.DateOnly), safe(job.LinkedID), strconv.Itoa(job.Part)+ext)
}

// FileName is what the recording is called in the portal. The portal does not make names unique itself and knows a file by its lower-case extension
// (reference bitrix24-rest.md §8), so the name holds site, linkedid and part.
func (u *Uploader) FileName(job Job, ext string) string {
	return safe(u.cfg.Site) + "-" + safe(job.LinkedID) + "-" + strconv.Itoa(job.Part) + ext
}

// safe makes one element of a path of any text. Different texts stay different: a hash marks what was changed.
func safe(text string) string {
	const longest = 100
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
			return r
		}
		return '_'
	}, text)
	if clean == text && clean != "" && clean[0] != '.' && clean[0] != '-' && len(clean) <= longest {
		return clean
	}
	sum := sha256.Sum256([]byte(text))
	return "x" + clean[:min(len(clean), longest)] + "-" + hex.EncodeToString(sum[:4])
}
