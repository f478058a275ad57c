package uploader_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"sverka/internal/portal"
	"sverka/uploader"
	"sverka/uploader/dir"
)

var (
	moscow = time.FixedZone("MSK", 3*60*60)
	start  = time.Date(2026, 11, 22, 13, 43, 58, 0, moscow)
	ended  = start.Add(11 * time.Second)
)

const (
	linked = "1795344238.194"
	named  = "external-201-79161234567-20261122-134358-1795344238.194.wav"
	day    = "2026/11/22/"
)

// bench is one Uploader with its disk, its staging and its clock.
type bench struct {
	*uploader.Uploader
	t     *testing.T
	spool string
	stage string
	now   time.Time
	store *dir.Store
	logs  bytes.Buffer
}

// setup gives a bench whose clock stands an hour after the call. change may alter the configuration.
func setup(t *testing.T, change func(*uploader.Config)) *bench {
	t.Helper()
	return setupWith(t, dir.Config{}, change)
}

func setupWith(t *testing.T, staging dir.Config, change func(*uploader.Config)) *bench {
	t.Helper()
	b := &bench{t: t, spool: t.TempDir(), stage: t.TempDir(), now: ended.Add(time.Hour)}
	staging.Dir = b.stage
	store, err := dir.New(staging)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	b.store = store
	log := logrus.New()
	log.SetOutput(&b.logs)
	cfg := uploader.Config{
		Dir: b.spool, Settle: 5 * time.Second, Zone: moscow, Site: "office", TempDir: t.TempDir(),
		Now: func() time.Time { return b.now }, Log: logrus.NewEntry(log),
	}
	if change != nil {
		change(&cfg)
	}
	if b.Uploader, err = uploader.New(cfg, store); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(cfg.TempDir); err != nil || len(left) > 0 {
			t.Errorf("left over in the directory for conversions: %v, %v", left, err)
		}
	})
	return b
}

// sound puts a tone into the spool, as old as the call.
func (b *bench) sound(rel string, seconds float64) string {
	b.t.Helper()
	name := filepath.Join(b.spool, rel)
	sound(b.t, name, seconds)
	touch(b.t, name, ended)
	return name
}

// file puts any bytes into the spool, as old as the call.
func (b *bench) file(rel, content string) string {
	b.t.Helper()
	name := filepath.Join(b.spool, rel)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
	touch(b.t, name, ended)
	return name
}

func (b *bench) staged(obj uploader.Object) string { return filepath.Join(b.stage, obj.Name) }

func job(names ...string) uploader.Job {
	return uploader.Job{ExternalID: linked, LinkedID: linked, Part: 1, Names: names, Start: start, End: ended, Talk: 2}
}

// wantProblem checks that Look and Stage agree on a problem and that nothing was staged.
func (b *bench) wantProblem(j uploader.Job, kind uploader.Kind) uploader.Problem {
	b.t.Helper()
	_, looked := b.Look(j)
	_, err := b.Stage(b.t.Context(), j)
	var p, l *uploader.Problem
	if !errors.As(err, &p) {
		b.t.Fatalf("stage: got %v, want a problem of kind %s", err, kind)
	}
	if p.Kind != kind {
		b.t.Errorf("stage: got %s (%v), want %s", p.Kind, p, kind)
	}
	if !errors.As(looked, &l) || l.Kind != p.Kind || !l.RetryAt.Equal(p.RetryAt) {
		b.t.Errorf("look: got %v, stage: %v; they must agree", looked, err)
	}
	if p.Text == "" || !strings.Contains(p.Error(), p.Text) {
		b.t.Errorf("problem without words: %v", p)
	}
	if p.Retryable() != p.RetryAt.After(b.now) {
		b.t.Errorf("retryable %t, but the next try is at %s and it is %s", p.Retryable(), p.RetryAt, b.now)
	}
	if got := b.store.Used(); got != 0 {
		b.t.Errorf("%d bytes were staged", got)
	}
	return *p
}

func (b *bench) mustStage(j uploader.Job) uploader.Object {
	b.t.Helper()
	obj, err := b.Stage(b.t.Context(), j)
	if err != nil {
		b.t.Fatalf("stage: %v", err)
	}
	return obj
}

func near(got, want, within float64) bool { return math.Abs(got-want) <= within }

func TestConvert(t *testing.T) {
	t.Parallel()
	speech := measured{Codec: "mp3", Channels: 1, Rate: "16000"}
	wide := measured{Codec: "mp3", Channels: 1, Rate: "24000"}
	tests := map[string]measured{
		"a.wav": speech, "a.wav16": speech, "a.WAV": speech, "a.wav49": speech, "a.gsm": speech, "a.ulaw": speech, "a.alaw": speech,
		"a.sln": speech, "a.g722": speech, "a.webm": wide, "a.ogg": wide,
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			b.sound(day+name, 2)
			obj := b.mustStage(job(name))
			if want := "office/2026-11-22/1795344238.194/1.mp3"; obj.Name != want {
				t.Errorf("name: got %s, want %s", obj.Name, want)
			}
			got := measure(t, b.staged(obj))
			if !near(got.Seconds, 2, 0.3) {
				t.Errorf("plays %.2f s, want 2", got.Seconds)
			}
			got.Seconds = 0
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("staged (-got +want):\n%s", diff)
			}
		})
	}
}

// TestAsIs is of what goes to the portal byte for byte.
func TestAsIs(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "no-ffmpeg")
	tests := map[string]struct {
		name, format, ffmpeg, want string
	}{
		"mp3":                  {"a.mp3", uploader.FormatMP3, "", "1.mp3"},
		"mp3 without ffmpeg":   {"a.mp3", uploader.FormatMP3, none, "1.mp3"},
		"keep mp3":             {"a.mp3", uploader.FormatKeep, "", "1.mp3"},
		"keep wav":             {"a.wav", uploader.FormatKeep, "", "1.wav"},
		"keep WAV":             {"a.WAV", uploader.FormatKeep, "", "1.wav"},
		"wav without ffmpeg":   {"a.wav", uploader.FormatMP3, none, "1.wav"},
		"wav49 without ffmpeg": {"a.wav49", uploader.FormatMP3, none, "1.wav"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(c *uploader.Config) { c.Format, c.FFmpeg = test.format, test.ffmpeg })
			original := b.sound(day+test.name, 1)
			obj := b.mustStage(job(test.name))
			if got := filepath.Base(obj.Name); got != test.want {
				t.Errorf("name: got %s, want %s", got, test.want)
			}
			wantSame(t, b.staged(obj), original)
		})
	}
}

func wantSame(t *testing.T, got, want string) {
	t.Helper()
	g, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	w, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		t.Errorf("%s has %d bytes and differs from %s with %d", got, len(g), want, len(w))
	}
}

func TestKeepConvertsTheRest(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *uploader.Config) { c.Format = uploader.FormatKeep })
	b.sound(day+"a.webm", 1)
	obj := b.mustStage(job("a.webm"))
	if got := measure(t, b.staged(obj)); got.Codec != "mp3" || filepath.Ext(obj.Name) != ".mp3" {
		t.Errorf("got %s with %s, want mp3", obj.Name, got.Codec)
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		names []string
		want  float64
	}{
		"two of a kind":          {[]string{"a.wav", "b.wav"}, 3},
		"of different kinds":     {[]string{"a.webm", "b.gsm", "c.mp3"}, 6},
		"one named twice":        {[]string{"a.wav", "a.wav", "b.wav", "-", "", "none"}, 3},
		"with a different width": {[]string{"a.wav", "b.wav16"}, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			for _, n := range test.names {
				if len(n) > 1 && n != "none" {
					b.sound(day+n, float64(n[0]-'a'+1))
				}
			}
			obj := b.mustStage(job(test.names...))
			if got := measure(t, b.staged(obj)); !near(got.Seconds, test.want, 0.3) || got.Channels != 1 {
				t.Errorf("plays %.2f s on %d channels, want %.0f on 1", got.Seconds, got.Channels, test.want)
			}
		})
	}
}

// TestJoinOrder joins silence and a tone, and hears which comes first.
func TestJoinOrder(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.sound(day+"tone.wav", 1)
	quiet := filepath.Join(b.spool, day, "quiet.wav")
	tool(t, "sox", "-q", "-r", "8000", "-n", "-b", "16", quiet, "trim", "0", "1")
	touch(t, quiet, ended)
	for part, names := range map[int][]string{1: {"tone.wav", "quiet.wav"}, 2: {"quiet.wav", "tone.wav"}} {
		j := job(names...)
		j.Part = part
		raw := filepath.Join(t.TempDir(), "raw")
		tool(t, "ffmpeg", "-v", "error", "-y", "-i", "file:"+b.staged(b.mustStage(j)), "-ar", "8000", "-f", "s16le", "file:"+raw)
		samples, err := os.ReadFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		if first, second := loudness(samples[4000:12000]), loudness(samples[len(samples)-12000:len(samples)-4000]); (first > second) != (part == 1) {
			t.Errorf("%v: loudness %d before %d", names, first, second)
		}
	}
}

func loudness(pcm []byte) int {
	sum := 0
	for i := 0; i+1 < len(pcm); i += 2 {
		v := int(int16(binary.LittleEndian.Uint16(pcm[i:])))
		sum += max(v, -v)
	}
	return sum / (len(pcm) / 2)
}

func TestFind(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		lies, named string
	}{
		"day of the name":           {day + named, named},
		"day of the name only":      {"2026/11/19/q-600-79161234567-20261119-235958-1.wav", "q-600-79161234567-20261119-235958-1.wav"},
		"day of the call":           {day + "a.wav", "a.wav"},
		"day before":                {"2026/11/21/a.wav", "a.wav"},
		"day after":                 {"2026/11/23/a.wav", "a.wav"},
		"no day":                    {"a.wav", "a.wav"},
		"a relative path":           {"branch/a.wav", "branch/a.wav"},
		"spaces around":             {"a.wav", " a.wav "},
		"a leading dash":            {day + "-i.wav", "-i.wav"},
		"a protocol for a name":     {day + "concat:a.wav", "concat:a.wav"},
		"percent and brackets":      {day + "%03d[0].wav", "%03d[0].wav"},
		"Russian":                   {day + "запись 1.wav", "запись 1.wav"},
		"mp3 beside":                {day + strings.TrimSuffix(named, ".wav") + ".mp3", named},
		"webm beside":               {day + "a.webm", "a.wav"},
		"wav before its conversion": {"2026/11/22/13/mikopbx-1.wav", "/storage/usbdisk1/mikopbx/astspool/monitor/2026/11/22/13/mikopbx-1.webm"},
		"a name without extension":  {day + "out-1-2-20261122-104649-1795344409.278.wav", "out-1-2-20261122-104649-1795344409.278"},
		"MikoPBX's own mount":       {"2026/11/22/13/mikopbx-1.webm", "/storage/usbdisk1/mikopbx/astspool/monitor/2026/11/22/13/mikopbx-1.webm"},
	}
	recording := cut(t, ".wav", 0)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(c *uploader.Config) { c.Format = uploader.FormatKeep })
			want := b.file(test.lies, recording) // what a file holds counts, not its name
			found, err := b.Look(job(test.named))
			if err != nil {
				t.Fatalf("look: %v", err)
			}
			stat, err := os.Stat(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(found, uploader.Found{Paths: []string{want}, Size: stat.Size(), ModTime: stat.ModTime()}); diff != "" {
				t.Errorf("found (-got +want):\n%s", diff)
			}
			b.mustStage(job(test.named))
			found, err = b.Look(job(test.named))
			if err != nil || !found.Staged {
				t.Errorf("look after stage: got %+v, %v, want it staged", found, err)
			}
		})
	}
}

// TestMidnight looks for the file of a call at 00:30 in Moscow, which is still the day before in UTC.
func TestMidnight(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.sound("2026/11/24/a.wav", 0.5)
	j := job("a.wav")
	j.Start = time.Date(2026, 11, 23, 21, 30, 0, 0, time.UTC)
	j.End = j.Start.Add(time.Minute)
	b.now = j.End.Add(time.Hour)
	if obj := b.mustStage(j); obj.Name != "office/2026-11-24/1795344238.194/1.mp3" {
		t.Errorf("staged as %s, want the PBX's day", obj.Name)
	}
}

func TestAbsolutePaths(t *testing.T) {
	t.Parallel()
	t.Run("inside", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		b.mustStage(job(b.sound("any/a.wav", 0.5)))
	})
	t.Run("through a link to the directory", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(b.spool, link); err != nil {
			t.Fatal(err)
		}
		b.sound("any/a.wav", 0.5)
		b.mustStage(job(filepath.Join(link, "any/a.wav")))
	})
	t.Run("the directory is a link", func(t *testing.T) {
		t.Parallel()
		link := filepath.Join(t.TempDir(), "link")
		b := setup(t, func(c *uploader.Config) {
			if err := os.Symlink(c.Dir, link); err != nil {
				t.Fatal(err)
			}
			c.Dir = link
		})
		b.mustStage(job(b.sound("any/a.wav", 0.5)))
	})
}

func TestOutside(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret.wav")
	sound(t, secret, 0.5)
	touch(t, secret, ended)
	tests := map[string]string{
		"dots":                     "../secret.wav",
		"dots inside":              day + "../../../../secret.wav",
		"dots that come back":      "a/../a.wav",
		"absolute":                 secret,
		"absolute with dots":       "/var/spool/asterisk/monitor/../../secret.wav",
		"NUL":                      "a\x00.wav",
		"a link to the file":       "link.wav",
		"below a link":             "out/secret.wav",
		"a link, named absolutely": "SPOOL/link.wav",
	}
	for name, bad := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			for link, target := range map[string]string{"link.wav": secret, "out": filepath.Dir(secret)} {
				if err := os.Symlink(target, filepath.Join(b.spool, link)); err != nil {
					t.Fatal(err)
				}
			}
			if p := b.wantProblem(job(strings.Replace(bad, "SPOOL", b.spool, 1)), uploader.Outside); p.Retryable() {
				t.Errorf("retry at %s: a name outside stays outside", p.RetryAt)
			}
		})
	}
}

func TestLinksInside(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	target := b.sound("archive/a.wav", 0.5)
	for link, to := range map[string]string{"absolute.wav": target, "relative.wav": "archive/a.wav"} {
		if err := os.Symlink(to, filepath.Join(b.spool, link)); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Look(job(link)); err != nil {
			t.Errorf("%s: %v", link, err)
		}
	}
}

// TestPlaylist names a file that would make ffmpeg read another one, were it allowed to guess.
func TestPlaylist(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret.wav")
	sound(t, secret, 0.5)
	tests := map[string]string{
		"concat": "ffconcat version 1.0\nfile '" + secret + "'\n" + strings.Repeat("# padding\n", 20),
		"hls":    "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://" + secret + "\n#EXT-X-ENDLIST\n" + strings.Repeat("#\n", 50),
	}
	for name, content := range tests {
		for _, ext := range []string{".wav", ".mp3", ".webm", ".gsm"} {
			t.Run(name+ext, func(t *testing.T) {
				t.Parallel()
				b := setup(t, nil)
				b.file(day+"a"+ext, content)
				b.wantProblem(job("a"+ext), uploader.NotAudio)
			})
		}
	}
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	tests := []struct{ after, retry time.Duration }{
		{0, 30 * time.Second},
		{30 * time.Second, 2 * time.Minute},
		{31 * time.Second, 2 * time.Minute},
		{5 * time.Minute, 10 * time.Minute},
		{time.Hour - 1, time.Hour},
		{3 * time.Hour, 6 * time.Hour},
		{23 * time.Hour, 24 * time.Hour},
		{24 * time.Hour, 0},
		{240 * time.Hour, 0},
	}
	for _, test := range tests {
		t.Run(test.after.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t, nil)
			b.now = ended.Add(test.after)
			kind, want := uploader.Absent, ended.Add(test.retry)
			if test.retry == 0 {
				kind, want = uploader.Lost, time.Time{}
			}
			p := b.wantProblem(job(named), kind)
			if !p.RetryAt.Equal(want) {
				t.Errorf("retry at %s, want %s", p.RetryAt, want)
			}
			if folder := strings.TrimSuffix(day, "/"); !strings.Contains(p.Text, folder) || p.Name != named {
				t.Errorf("problem of %q, %q: does not say what was looked for and where", p.Name, p.Text)
			}
		})
	}
}

// TestSpoolGone is of a disk that is not mounted: no recording counts as lost for that.
func TestSpoolGone(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *uploader.Config) { c.Dir = filepath.Join(c.Dir, "not-mounted") })
	b.now = ended.Add(1000 * time.Hour)
	if p := b.wantProblem(job(named), uploader.Unreadable); !p.Retryable() {
		t.Error("not retryable")
	}
}

func TestNoNames(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.wantProblem(job("", "-", "none"), uploader.Absent)
}

// cut gives the first n bytes of a tone in the format of ext; nothing and less counts from the end.
func cut(t *testing.T, ext string, n int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "whole"+ext)
	sound(t, name, 2)
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if n <= 0 {
		n += len(content)
	}
	return string(content[:n])
}

// unclosed gives a WAV of Asterisk whose header was never finished.
func unclosed(t *testing.T) string {
	t.Helper()
	content := []byte(cut(t, ".wav", 0))
	data := bytes.Index(content, []byte("data"))
	binary.LittleEndian.PutUint32(content[4:], 36)
	binary.LittleEndian.PutUint32(content[data+4:], 0)
	return string(content)
}

// TestUnfit is of files that must not be sent: what they are shortly after the call, and later.
func TestUnfit(t *testing.T) {
	t.Parallel()
	wav := cut(t, ".wav", 0)
	wav49 := cut(t, ".WAV", 0)
	empty := []byte(wav[:bytes.Index([]byte(wav), []byte("data"))+8])
	binary.LittleEndian.PutUint32(empty[len(empty)-4:], 0)
	webm := cut(t, ".webm", 0)
	tests := map[string]struct {
		name, content string
		soon, late    uploader.Kind // "": can be sent
	}{
		"no bytes":          {"a.wav", "", uploader.Empty, uploader.Empty},
		"wav header":        {"a.wav", string(empty), uploader.Empty, uploader.Empty},
		"wav49 header":      {"a.WAV", wav49[:60], uploader.Empty, uploader.Empty},
		"header with list":  {"a.wav", string(empty[:12]) + "LIST" + "\x40\x00\x00\x00" + strings.Repeat("x", 64) + string(empty[12:]), uploader.Empty, uploader.Empty},
		"text":              {"a.wav", strings.Repeat("not a recording\n", 100), uploader.NotAudio, uploader.NotAudio},
		"text as mp3":       {"a.mp3", strings.Repeat("not a recording\n", 100), uploader.NotAudio, uploader.NotAudio},
		"text as gsm":       {"a.gsm", strings.Repeat("not a recording\n", 100), uploader.NotAudio, uploader.NotAudio},
		"html":              {"a.webm", "<html>" + strings.Repeat("404 ", 100), uploader.NotAudio, uploader.NotAudio},
		"zeros":             {"a.mp3", strings.Repeat("\x00", 100000), uploader.NotAudio, uploader.NotAudio},
		"riff of something": {"a.wav", "RIFF\xff\xff\x00\x00AVI " + strings.Repeat("x", 1000), uploader.NotAudio, uploader.NotAudio},
		"truncated wav":     {"a.wav", wav[:20000], uploader.Growing, uploader.Truncated},
		"truncated wav49":   {"a.WAV", wav49[:2000], uploader.Growing, uploader.Truncated},
		"truncated webm":    {"a.webm", webm[:len(webm)/2], uploader.Growing, uploader.Truncated},
		"truncated mp3":     {"a.mp3", cut(t, ".mp3", 4000), uploader.Growing, uploader.Truncated},
		"unclosed wav":      {"a.wav", unclosed(t), uploader.Growing, ""},
		"unclosed ogg":      {"a.ogg", cut(t, ".ogg", 3600), uploader.Growing, ""},
		"unclosed gsm":      {"a.gsm", cut(t, ".gsm", -10), uploader.Growing, ""},
	}
	for name, test := range tests {
		for when, after := range map[string]time.Duration{"soon": time.Minute, "late": 25 * time.Hour} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				b := setup(t, nil)
				b.now = ended.Add(after)
				b.file(day+test.name, test.content)
				switch want := map[string]uploader.Kind{"soon": test.soon, "late": test.late}[when]; {
				case want == "":
					b.mustStage(job(test.name))
				case when == "late":
					if p := b.wantProblem(job(test.name), want); p.Retryable() {
						t.Errorf("retry at %s a day after the call", p.RetryAt)
					}
				default:
					b.wantProblem(job(test.name), want)
				}
			})
		}
	}
}

// TestCrashedPBX is of a WAV with a header of zeros: everything that was recorded is sent, and a player understands it.
func TestCrashedPBX(t *testing.T) {
	t.Parallel()
	for _, format := range []string{uploader.FormatMP3, uploader.FormatKeep} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			b := setup(t, func(c *uploader.Config) { c.Format = format })
			b.file(day+"a.wav", unclosed(t))
			obj := b.mustStage(job("a.wav"))
			if got := measure(t, b.staged(obj)); !near(got.Seconds, 2, 0.3) {
				t.Errorf("plays %.2f s, want 2", got.Seconds)
			}
		})
	}
}

// TestGrowing follows a file while Asterisk writes it.
func TestGrowing(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	name := b.file(day+"a.wav", unclosed(t)[:16000])
	b.now = ended.Add(2 * time.Second)
	p := b.wantProblem(job("a.wav"), uploader.Growing)
	if want := ended.Add(6 * time.Second); !p.RetryAt.Equal(want) {
		t.Errorf("retry at %s, want %s: when it has settled", p.RetryAt, want)
	}
	b.now = ended.Add(20 * time.Second) // unchanged for long enough, but its header says that nobody closed it
	b.wantProblem(job("a.wav"), uploader.Growing)
	b.sound(day+"a.wav", 2)
	touch(t, name, b.now)
	b.wantProblem(job("a.wav"), uploader.Growing)
	b.now = b.now.Add(5 * time.Second)
	b.mustStage(job("a.wav"))
}

// TestClockOfTheFuture is of a file server whose clock is wrong by hours.
func TestClockOfTheFuture(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	touch(t, b.sound(day+"a.wav", 0.5), b.now.Add(3*time.Hour))
	b.mustStage(job("a.wav"))
}

// TestPrefer is of a name with several files beside it.
func TestPrefer(t *testing.T) {
	t.Parallel()
	header := "RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00"
	b := setup(t, nil)
	b.sound(day+"both.wav", 1)
	b.sound(day+"both.mp3", 1)
	b.file(day+"empty.wav", header)
	b.sound(day+"empty.mp3", 1)
	b.sound("2026/11/21/far.wav", 1)
	b.sound(day+"far.mp3", 1)
	for name, want := range map[string]string{"both.wav": day + "both.wav", "empty.wav": day + "empty.mp3", "far.wav": "2026/11/21/far.wav"} {
		found, err := b.Look(job(name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(found.Paths, []string{filepath.Join(b.spool, want)}); diff != "" {
			t.Errorf("%s (-got +want):\n%s", name, diff)
		}
	}
}

// TestSomeMissing is of several names of which one holds nothing: it waits while there is hope and then goes without.
func TestSomeMissing(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.sound(day+"a.wav", 1)
	b.wantProblem(job("a.wav", "gone.wav"), uploader.Absent)
	b.file(day+"empty.wav", "")
	b.now = ended.Add(25 * time.Hour)
	j := job("../out.wav", "empty.wav", "a.wav", "gone.wav")
	found, err := b.Look(j)
	if err != nil {
		t.Fatalf("look: %v", err)
	}
	var kinds []uploader.Kind
	for _, p := range found.Left {
		kinds = append(kinds, p.Kind)
	}
	if diff := cmp.Diff(kinds, []uploader.Kind{uploader.Outside, uploader.Empty, uploader.Lost}); diff != "" {
		t.Errorf("left out (-got +want):\n%s", diff)
	}
	if got := measure(t, b.staged(b.mustStage(j))); !near(got.Seconds, 1, 0.3) {
		t.Errorf("plays %.2f s, want 1", got.Seconds)
	}
	if got := strings.Count(b.logs.String(), "part of a recording left out"); got != 3 {
		t.Errorf("logged %d names that were left out, want 3:\n%s", got, b.logs.String())
	}
}

func TestStageTwice(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	name := b.sound(day+"a.wav", 1)
	first := b.mustStage(job("a.wav"))
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	b.now = ended.Add(1000 * time.Hour)
	if diff := cmp.Diff(b.mustStage(job("a.wav")), first); diff != "" {
		t.Errorf("second stage (-got +want):\n%s", diff)
	}
}

func TestStageAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *uploader.Config) { c.Parallel = 1 })
	b.sound(day+"a.wav", 1)
	var group sync.WaitGroup
	for part := range 4 {
		group.Go(func() {
			j := job("a.wav")
			j.Part = part/2 + 1 // two of each
			if _, err := b.Stage(t.Context(), j); err != nil {
				t.Errorf("stage part %d: %v", j.Part, err)
			}
		})
	}
	group.Wait()
	if got, want := len(entries(t, filepath.Join(b.stage, "office/2026-11-22", linked))), 2; got != want {
		t.Errorf("staged %d objects, want %d", got, want)
	}
}

func entries(t *testing.T, name string) []string {
	t.Helper()
	all, err := os.ReadDir(name)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestNoConverter(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *uploader.Config) { c.FFmpeg = filepath.Join(c.Dir, "no-ffmpeg") })
	b.sound(day+"a.webm", 1)
	b.sound(day+"a.wav", 1)
	b.sound(day+"b.wav", 1)
	for _, j := range []uploader.Job{job("a.webm"), job("a.wav", "b.wav")} {
		_, err := b.Stage(t.Context(), j)
		var p *uploader.Problem
		if !errors.As(err, &p) || p.Kind != uploader.NoConverter || !p.Retryable() || !strings.Contains(p.Text, "apt-get install ffmpeg") {
			t.Errorf("%v: got %v, want no_converter with the mend", j.Names, err)
		}
	}
}

// TestConverterAppears changes PATH, so it runs alone: ffmpeg is looked up anew for each recording.
func TestConverterAppears(t *testing.T) {
	b := setup(t, nil)
	b.sound(day+"a.gsm", 1)
	path := os.Getenv("PATH")
	t.Setenv("PATH", t.TempDir())
	var p *uploader.Problem
	if _, err := b.Stage(t.Context(), job("a.gsm")); !errors.As(err, &p) || p.Kind != uploader.NoConverter {
		t.Errorf("without ffmpeg: got %v, want no_converter", err)
	}
	t.Setenv("PATH", path)
	b.mustStage(job("a.gsm"))
}

// TestConverterFails uses programs that stand in for ffmpeg and go wrong.
func TestConverterFails(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script string
		kind   uploader.Kind
		retry  bool
		text   string
	}{
		"complains":         {"echo 'file:/dev/fd/3: Invalid data found' >&2; exit 1", uploader.Convert, false, "Invalid data found"},
		"makes nothing":     {"exit 0", uploader.Convert, false, "no sound"},
		"makes rubbish":     {"head -c 5000 /dev/zero >/dev/fd/4", uploader.Convert, false, "no sound"},
		"is killed":         {"kill -9 $$", uploader.Convert, true, "did not run"},
		"finds a full disk": {"echo 'av_interleaved_write_frame(): No space left on device' >&2; exit 1", uploader.StagingFull, true, "no room"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fake := script(t, test.script)
			b := setup(t, func(c *uploader.Config) { c.FFmpeg = fake })
			b.sound(day+"a.wav", 1)
			_, err := b.Stage(t.Context(), job("a.wav"))
			var p *uploader.Problem
			if !errors.As(err, &p) || p.Kind != test.kind || p.Retryable() != test.retry || !strings.Contains(p.Text, test.text) {
				t.Errorf("got %#v, want %s, retryable %t, about %q", p, test.kind, test.retry, test.text)
			}
			if p != nil && strings.Contains(p.Text, "/dev/fd") {
				t.Errorf("%q speaks of descriptors", p.Text)
			}
			if got := b.store.Used(); got != 0 {
				t.Errorf("%d bytes were staged", got)
			}
		})
	}
}

func script(t *testing.T, body string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ffmpeg")
	// A process that another test forks now would inherit the open file, and the kernel runs no file that is open for writing.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(name, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestChangedMeanwhile has the file grow during its conversion.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	ffmpeg := strings.TrimSpace(string(tool(t, "sh", "-c", "command -v ffmpeg")))
	spool := filepath.Join(t.TempDir(), "spool")
	fake := script(t, "echo more >>"+spool+"/a.wav\nexec "+ffmpeg+` "$@"`)
	b := setup(t, func(c *uploader.Config) { c.Dir, c.FFmpeg = spool, fake })
	sound(t, filepath.Join(spool, "a.wav"), 1)
	touch(t, filepath.Join(spool, "a.wav"), ended)
	_, err := b.Stage(t.Context(), job("a.wav"))
	var p *uploader.Problem
	if !errors.As(err, &p) || p.Kind != uploader.Growing || !p.Retryable() {
		t.Errorf("got %v, want growing", err)
	}
	if got := b.store.Used(); got != 0 {
		t.Errorf("%d bytes were staged", got)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	running := filepath.Join(t.TempDir(), "running")
	if err := syscall.Mkfifo(running, 0o600); err != nil {
		t.Fatal(err)
	}
	fake := script(t, "echo yes >"+running+"; exec sleep 600")
	b := setup(t, func(c *uploader.Config) { c.FFmpeg = fake })
	b.sound(day+"a.wav", 1)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := b.Stage(ctx, job("a.wav"))
		done <- err
	}()
	if _, err := os.ReadFile(running); err != nil { // blocks until ffmpeg runs
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestStagingFull(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a.wav", "a.mp3"} {
		b := setupWith(t, dir.Config{MaxBytes: 1000}, nil)
		b.sound(day+name, 2)
		_, err := b.Stage(t.Context(), job(name))
		var p *uploader.Problem
		if !errors.As(err, &p) || p.Kind != uploader.StagingFull || !p.Retryable() || !errors.Is(err, uploader.ErrStagingFull) {
			t.Errorf("%s: got %v, want staging_full", name, err)
		}
		if got := b.store.Used(); got != 0 {
			t.Errorf("%s: %d bytes were staged", name, got)
		}
	}
}

// TestNoRegularFile is of a pipe under the name of a recording: opening it must not hang.
func TestNoRegularFile(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	if err := syscall.Mkfifo(filepath.Join(b.spool, "pipe.wav"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(b.spool, "folder.wav"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.wantProblem(job("pipe.wav"), uploader.NotAudio)
	b.wantProblem(job("folder.wav"), uploader.NotAudio)
}

func TestShortRecordingIsLogged(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.sound(day+"a.wav", 1)
	j := job("a.wav")
	j.Talk = 60
	b.mustStage(j)
	if got := b.logs.String(); !strings.Contains(got, "much shorter") || !strings.Contains(got, linked) {
		t.Errorf("log: %s", got)
	}
}

// TestMemory stages a recording of 300 MB and bounds what is allocated meanwhile, garbage included. It must not run beside other tests.
func TestMemory(t *testing.T) {
	const size, bound = 300 << 20, 16 << 20
	b := setup(t, func(c *uploader.Config) { c.Format = uploader.FormatKeep })
	header := []byte("RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x00\x00\x00")
	binary.LittleEndian.PutUint32(header[4:], size-8)
	binary.LittleEndian.PutUint32(header[40:], size-44)
	name := b.file(day+"a.wav", string(header))
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	touch(t, name, ended)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	obj := b.mustStage(job("a.wav"))
	p := &fakePortal{}
	if _, err := b.Attach(t.Context(), p, "externalCall.1", obj, job("a.wav")); err != nil {
		t.Fatalf("attach: %v", err)
	}
	runtime.ReadMemStats(&after)
	if obj.Size != size || p.got != size {
		t.Errorf("staged %d, sent %d bytes, want %d", obj.Size, p.got, size)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > bound {
		t.Errorf("allocated %d bytes for a recording of %d, want at most %d", got, size, bound)
	}
}

// fakePortal takes recordings and keeps what it was told of the last one.
type fakePortal struct {
	ID    portal.CallID
	Name  string
	Size  int64
	Times int // how often to read the file: a portal that refuses makes its client send it again
	got   int64
	sum   bytes.Buffer
}

func (p *fakePortal) AttachFile(_ context.Context, id portal.CallID, name string, size int64, open func() (io.ReadCloser, error)) (int64, error) {
	p.ID, p.Name, p.Size = id, name, size
	for range max(1, p.Times) {
		r, err := open()
		if err != nil {
			return 0, err
		}
		to := io.Discard
		if size < 1<<20 {
			p.sum.Reset()
			to = &p.sum
		}
		if p.got, err = io.Copy(to, r); err != nil {
			return 0, errors.Join(err, r.Close())
		}
		if err := r.Close(); err != nil {
			return 0, err
		}
	}
	return 4711, nil
}

func TestAttach(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.sound(day+"a.WAV", 1)
	obj := b.mustStage(job("a.WAV"))
	p := &fakePortal{Times: 2}
	id, err := b.Attach(t.Context(), p, "externalCall.1", obj, job("a.WAV"))
	if err != nil || id != 4711 {
		t.Fatalf("attach: got %d, %v, want the portal's file", id, err)
	}
	if p.ID != "externalCall.1" || p.Name != "office-1795344238.194-1.mp3" || p.Size != obj.Size {
		t.Errorf("the portal was told %s %s %d", p.ID, p.Name, p.Size)
	}
	want, err := os.ReadFile(b.staged(obj))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.sum.Bytes(), want) {
		t.Errorf("the portal got %d bytes that differ from the %d staged", p.sum.Len(), len(want))
	}
}

func TestAttachWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.sound(day+"a.wav", 1)
	obj := b.mustStage(job("a.wav"))
	other := obj
	other.SHA256 = strings.Repeat("0", 64)
	if _, err := b.Attach(t.Context(), &fakePortal{}, "1", other, job("a.wav")); !errors.Is(err, uploader.ErrNoObject) {
		t.Errorf("another object under the name: got %v, want ErrNoObject", err)
	}
	if err := b.store.Delete(t.Context(), obj.Name); err != nil {
		t.Fatal(err)
	}
	p := &fakePortal{}
	if _, err := b.Attach(t.Context(), p, "1", obj, job("a.wav")); !errors.Is(err, uploader.ErrNoObject) {
		t.Errorf("deleted: got %v, want ErrNoObject", err)
	}
	if p.Name != "" {
		t.Errorf("the portal was asked to take %s", p.Name)
	}
}

// TestAttachDamaged has a bit fall over on the disk, in a way that neither size nor time tell.
func TestAttachDamaged(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.sound(day+"a.wav", 1)
	obj := b.mustStage(job("a.wav"))
	stat, err := os.Stat(b.staged(obj))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(b.staged(obj), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), 1000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	touch(t, b.staged(obj), stat.ModTime())
	if _, err := b.Attach(t.Context(), &fakePortal{}, "1", obj, job("a.wav")); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got %v, want the upload to break off", err)
	}
}

func TestAttachErrorsOfThePortal(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	b.sound(day+"a.wav", 1)
	obj := b.mustStage(job("a.wav"))
	refusal := &portal.Error{Class: portal.DiskFull, Method: "telephony.externalCall.attachRecord"}
	_, err := b.Attach(t.Context(), refusing{refusal}, "1", obj, job("a.wav"))
	if portal.ClassOf(err) != portal.DiskFull || !strings.Contains(err.Error(), linked) {
		t.Errorf("got %v, want the portal's error with the call", err)
	}
}

type refusing struct{ err error }

func (p refusing) AttachFile(context.Context, portal.CallID, string, int64, func() (io.ReadCloser, error)) (int64, error) {
	return 0, p.err
}

// TestNames is of linkedids and sites that are no file names.
func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	recording := cut(t, ".mp3", 0)
	for _, id := range []string{"1795344238.194", "mikopbx-1795344238.194", "../../etc/passwd", "..", ".", "", "a/b", "a_b", "a\x00b", "-rf", "офис-1", "офис-2", strings.Repeat("x", 300), strings.Repeat("x", 301)} {
		for _, site := range []string{"office", "../office", "офис"} {
			b := setup(t, func(c *uploader.Config) { c.Site = site })
			b.file(day+"a.mp3", recording)
			j := job("a.mp3")
			j.LinkedID = id
			obj := b.mustStage(j)
			file := b.FileName(j, ".mp3")
			for _, name := range []string{obj.Name, file} {
				if seen[name] {
					t.Errorf("%q of %q is not unique", name, id)
				}
				seen[name] = true
			}
			if strings.ContainsAny(file, "/\\\"\x00\r\n ") || len(file) > 255 || file[0] == '.' || file[0] == '-' {
				t.Errorf("unsafe name %q of %q", file, id)
			}
		}
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	store, err := dir.New(dir.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	good := uploader.Config{Dir: "/var/spool/asterisk/monitor"}
	if _, err := uploader.New(good, store); err != nil {
		t.Errorf("the least that is needed: %v", err)
	}
	if _, err := uploader.New(good, nil); err == nil {
		t.Error("no store: got no error")
	}
	for name, change := range map[string]func(*uploader.Config){
		"no directory":      func(c *uploader.Config) { c.Dir = "" },
		"an unknown format": func(c *uploader.Config) { c.Format = "flac" },
		"a negative settle": func(c *uploader.Config) { c.Settle = -1 },
		"negative parallel": func(c *uploader.Config) { c.Parallel = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := uploader.New(cfg, store); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}
