package audio_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/uploader/audio"
)

func le(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }

func be(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// wav builds a file with 8 kHz, 16 bit, mono: riff and data are the sizes its header claims, rest is what follows the samples.
func wav(riff, data uint32, samples int, rest string) string {
	return "RIFF" + le(riff) + "WAVEfmt " + le(16) + "\x01\x00\x01\x00" + le(8000) + le(16000) + "\x02\x00\x10\x00" + "data" + le(data) +
		strings.Repeat("\x01", samples*2) + rest
}

// wav49 builds a file as Asterisk's format_wav_gsm does: GSM blocks of 65 bytes.
func wav49(blocks int) string {
	data := uint32(blocks * 65)
	return "RIFF" + le(52+data) + "WAVEfmt " + le(20) + "\x31\x00\x01\x00" + le(8000) + le(1625) + "\x41\x00\x00\x00\x02\x00\x40\x01" +
		"fact" + le(4) + le(uint32(blocks*320)) + "data" + le(data) + strings.Repeat("\x02", int(data))
}

// Frames of MP3: 8 kHz at 8 kbit/s mono (72 bytes, 72 ms) and 44.1 kHz at 128 kbit/s stereo (417 bytes, 26 ms).
var (
	narrow = "\xff\xe3\x18\xc0" + strings.Repeat("\x55", 68)
	wide   = "\xff\xfb\x90\x00" + strings.Repeat("\x55", 413)
)

// xing is a first frame that promises so many frames and bytes.
func xing(frames, size uint32) string {
	return narrow[:4+9] + "Xing" + be(3) + be(frames) + be(size) + narrow[4+9+16:]
}

func id3(n int) string {
	return "ID3\x04\x00\x00" + string([]byte{byte(n >> 21), byte(n >> 14 & 0x7f), byte(n >> 7 & 0x7f), byte(n & 0x7f)}) + strings.Repeat("\x00", n)
}

// webm builds a header and a segment that claims a size; less than nothing is an unknown one.
func webm(claim int64, have int) string {
	size := append([]byte{0x01}, binary.BigEndian.AppendUint64(nil, uint64(claim))[1:]...)
	if claim < 0 {
		size = []byte{0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	return "\x1a\x45\xdf\xa3\x84\x42\x86\x81\x01" + "\xec\x82\x00\x00" + "\x18\x53\x80\x67" + string(size) + strings.Repeat("\x00", have)
}

// ogg builds one page.
func ogg(flags byte, body int) string {
	return "OggS\x00" + string([]byte{flags}) + strings.Repeat("\x00", 20) + "\x01" + string([]byte{byte(body)}) + strings.Repeat("\x03", body)
}

func gsm(frames int) string { return strings.Repeat("\xd5"+strings.Repeat("\x00", 32), frames) }

func TestInspect(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		content, ext string
		want         audio.Info
	}{
		"nothing":           {"", ".wav", audio.Info{State: audio.Empty}},
		"wav header":        {wav(36, 0, 0, ""), ".wav", audio.Info{State: audio.Empty}},
		"99 bytes":          {strings.Repeat("x", 99), ".mp3", audio.Info{State: audio.Empty}},
		"closed wav":        {wav(36+16000, 16000, 8000, ""), ".wav", audio.Info{Format: audio.WAV, State: audio.Closed, Rate: 8000, Duration: time.Second, Data: 44}},
		"the name lies":     {wav(36+16000, 16000, 8000, ""), ".mp3", audio.Info{Format: audio.WAV, State: audio.Closed, Rate: 8000, Duration: time.Second, Data: 44}},
		"list after":        {wav(36+16000+16, 16000, 8000, "LIST\x08\x00\x00\x00INFOxxxx"), ".wav", audio.Info{Format: audio.WAV, State: audio.Closed, Rate: 8000, Duration: time.Second, Data: 44}},
		"sizes of zero":     {wav(0, 0, 8000, ""), ".wav", audio.Info{Format: audio.WAV, State: audio.Open, Rate: 8000, Duration: time.Second, Data: 44}},
		"sizes unknown":     {wav(0xffffffff, 0xffffffff, 8000, ""), ".wav", audio.Info{Format: audio.WAV, State: audio.Open, Rate: 8000, Duration: time.Second, Data: 44}},
		"sizes too old":     {wav(36+8000, 8000, 8000, ""), ".wav", audio.Info{Format: audio.WAV, State: audio.Open, Rate: 8000, Duration: time.Second, Data: 44}},
		"wav cut":           {wav(36+32000, 32000, 8000, ""), ".wav", audio.Info{Format: audio.WAV, State: audio.Cut, Rate: 8000, Duration: time.Second, Data: 44, Promised: 32044}},
		"wav49":             {wav49(50), ".WAV", audio.Info{Format: audio.WAV, State: audio.Closed, Rate: 8000, Duration: 2 * time.Second, Data: 60}},
		"mp3":               {strings.Repeat(narrow, 100), ".mp3", audio.Info{Format: audio.MP3, State: audio.Closed, Rate: 8000, Duration: 7200 * time.Millisecond}},
		"mp3, unnamed":      {strings.Repeat(wide, 100), "", audio.Info{Format: audio.MP3, State: audio.Closed, Rate: 44100, Duration: 2606250 * time.Microsecond}},
		"mp3 with id3":      {id3(300) + strings.Repeat(narrow, 10), ".mp3", audio.Info{Format: audio.MP3, State: audio.Closed, Rate: 8000, Duration: 720 * time.Millisecond}},
		"mp3 after rubbish": {strings.Repeat("\xff", 50) + strings.Repeat(narrow, 10), ".mp3", audio.Info{Format: audio.MP3, State: audio.Closed, Rate: 8000, Duration: 720 * time.Millisecond}},
		"mp3 with xing":     {xing(10, 720) + strings.Repeat(narrow, 9), ".mp3", audio.Info{Format: audio.MP3, State: audio.Closed, Rate: 8000, Duration: 720 * time.Millisecond}},
		"mp3 cut":           {xing(100, 7200) + strings.Repeat(narrow, 9), ".mp3", audio.Info{Format: audio.MP3, State: audio.Cut, Rate: 8000, Duration: 7200 * time.Millisecond, Promised: 7200}},
		"webm":              {webm(500, 500), ".webm", audio.Info{Format: audio.WebM, State: audio.Closed, Rate: 48000}},
		"webm being made":   {webm(-1, 500), ".webm", audio.Info{Format: audio.WebM, State: audio.Open, Rate: 48000}},
		"webm cut":          {webm(900, 500), ".webm", audio.Info{Format: audio.WebM, State: audio.Cut, Rate: 48000, Promised: 925}},
		"ogg":               {ogg(2, 100) + ogg(4, 100), ".ogg", audio.Info{Format: audio.Ogg, State: audio.Closed, Rate: 48000}},
		"ogg being made":    {ogg(2, 100) + ogg(0, 100), ".ogg", audio.Info{Format: audio.Ogg, State: audio.Open, Rate: 48000}},
		"ogg cut":           {(ogg(2, 100) + ogg(4, 100))[:200], ".ogg", audio.Info{Format: audio.Ogg, State: audio.Open, Rate: 48000}},
		"gsm":               {gsm(100), ".gsm", audio.Info{Format: audio.GSM, State: audio.Closed, Rate: 8000, Duration: 2 * time.Second}},
		"gsm being made":    {gsm(100) + "\xd5\x00", ".GSM", audio.Info{Format: audio.GSM, State: audio.Open, Rate: 8000, Duration: 2 * time.Second}},
		"µ-law of silence":  {strings.Repeat("\xff", 8000), ".ulaw", audio.Info{Format: audio.ULaw, State: audio.Closed, Rate: 8000, Duration: time.Second}},
		"wide slin":         {strings.Repeat("\x01", 32000), ".sln16", audio.Info{Format: audio.SLin, State: audio.Closed, Rate: 16000, Duration: time.Second}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := audio.Inspect(strings.NewReader(test.content), int64(len(test.content)), test.ext)
			if err != nil {
				t.Fatalf("inspect: %v", err)
			}
			if diff := cmp.Diff(got, test.want); diff != "" {
				t.Errorf("(-got +want):\n%s", diff)
			}
		})
	}
}

func TestNotAudio(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("not a recording ", 100)
	tests := map[string]struct{ content, ext string }{
		"text":             {long, ".wav"},
		"text named mp3":   {long, ".mp3"},
		"text named gsm":   {long, ".gsm"},
		"only id3":         {id3(500), ".mp3"},
		"id3 without end":  {id3(500)[:200], ".mp3"},
		"one frame":        {narrow + long, ".mp3"},
		"another riff":     {"RIFF" + le(1000) + "AVI " + long, ".wav"},
		"wav without fmt":  {"RIFF" + le(1000) + "WAVEdata" + le(uint32(len(long))) + long, ".wav"},
		"wav of fmt":       {"RIFF" + le(1000) + "WAVE" + strings.Repeat("fmt "+le(16)+"\x01\x00\x01\x00"+le(8000)+le(16000)+"\x02\x00\x10\x00", 70), ".wav"},
		"no segment":       {"\x1a\x45\xdf\xa3\x80" + long, ".webm"},
		"segment too far":  {"\x1a\x45\xdf\xa3\x08\x7f\xff\xff\xff" + long, ".webm"},
		"jpeg":             {"\xff\xd8\xff\xe0" + long, ".mp3"},
		"zeros":            {strings.Repeat("\x00", 1000), ".mp3"},
		"ones, not a name": {strings.Repeat("\xff", 1000), ".bin"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := audio.Inspect(strings.NewReader(test.content), int64(len(test.content)), test.ext)
			if !errors.Is(err, audio.ErrNotAudio) {
				t.Errorf("got %+v, %v, want ErrNotAudio", got, err)
			}
		})
	}
}

func TestWalkMP3(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		content string
		play    time.Duration
		whole   bool
	}{
		"whole":          {strings.Repeat(narrow, 1000), 72 * time.Second, true},
		"half a frame":   {strings.Repeat(narrow, 10) + narrow[:30], 720 * time.Millisecond, false},
		"tags":           {id3(300) + strings.Repeat(narrow, 10) + "TAG" + strings.Repeat("x", 125), 720 * time.Millisecond, true},
		"rubbish inside": {strings.Repeat(narrow, 10) + strings.Repeat("x", 100) + strings.Repeat(narrow, 10), 1440 * time.Millisecond, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play, whole, err := audio.WalkMP3(strings.NewReader(test.content), int64(len(test.content)))
			if err != nil || play.Round(time.Millisecond) != test.play || whole != test.whole {
				t.Errorf("got %s, whole %t, %v, want %s, whole %t", play, whole, err, test.play, test.whole)
			}
		})
	}
	for name, content := range map[string]string{"zeros": strings.Repeat("\x00", 1000), "nothing": "", "mostly rubbish": narrow + strings.Repeat("x", 1000)} {
		if play, _, err := audio.WalkMP3(strings.NewReader(content), int64(len(content))); !errors.Is(err, audio.ErrNotAudio) {
			t.Errorf("%s: got %s, %v, want ErrNotAudio", name, play, err)
		}
	}
}

func TestWAVHeader(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"zeros": wav(0, 0, 8000, ""), "too old": wav(36+8000, 8000, 8000, "")} {
		size := int64(len(content))
		info, err := audio.Inspect(strings.NewReader(content), size, ".wav")
		if err != nil {
			t.Fatal(err)
		}
		head, err := audio.WAVHeader(strings.NewReader(content), info, size)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := string(head)+content[info.Data:], wav(36+16000, 16000, 8000, ""); got != want {
			t.Errorf("%s: header %x, want %x", name, head, want[:44])
		}
	}
	if _, err := audio.WAVHeader(strings.NewReader(""), audio.Info{Format: audio.MP3}, 100); !errors.Is(err, audio.ErrNotAudio) {
		t.Errorf("of an mp3: got %v, want ErrNotAudio", err)
	}
}

var errDisk = errors.New("input/output error")

type brokenDisk struct{}

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

// TestBrokenDisk keeps apart what a file is and that it cannot be read.
func TestBrokenDisk(t *testing.T) {
	t.Parallel()
	if _, err := audio.Inspect(brokenDisk{}, 1000, ".wav"); !errors.Is(err, errDisk) || errors.Is(err, audio.ErrNotAudio) {
		t.Errorf("inspect: got %v, want the disk's error", err)
	}
	if _, _, err := audio.WalkMP3(brokenDisk{}, 1000); !errors.Is(err, errDisk) || errors.Is(err, audio.ErrNotAudio) {
		t.Errorf("walk: got %v, want the disk's error", err)
	}
}

// counter counts the bytes that are read.
type counter struct {
	r io.ReaderAt
	n int
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.n += n
	return n, err
}

func TestInspectReadsLittle(t *testing.T) {
	t.Parallel()
	const size, bound = 64 << 20, 256 << 10
	for name, head := range map[string]string{"wav": wav(0, 0, 0, ""), "webm": webm(-1, 0), "ogg": ogg(2, 100), "mp3": strings.Repeat(narrow, 5), "text": "text"} {
		content := make([]byte, size)
		copy(content, head)
		c := &counter{r: bytes.NewReader(content)}
		_, _ = audio.Inspect(c, size, "."+name)
		if c.n > bound {
			t.Errorf("%s: read %d bytes of %d, want at most %d", name, c.n, size, bound)
		}
	}
}

// FuzzInspect holds for any bytes: no panic, no negative figures, and what is repairable is repaired.
func FuzzInspect(f *testing.F) {
	for _, content := range []string{
		wav(0, 0, 100, ""), wav(236, 200, 100, ""), wav49(2), strings.Repeat(narrow, 5), xing(5, 360) + strings.Repeat(narrow, 5),
		id3(10) + strings.Repeat(wide, 3), webm(100, 200), webm(-1, 200), ogg(4, 200), gsm(5),
	} {
		for _, ext := range []string{".wav", ".mp3", ".webm", ".ogg", ".gsm", ".sln"} {
			f.Add([]byte(content), ext)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte, ext string) {
		r, size := bytes.NewReader(content), int64(len(content))
		info, err := audio.Inspect(r, size, ext)
		if err != nil {
			if !errors.Is(err, audio.ErrNotAudio) {
				t.Errorf("got %v, want ErrNotAudio or nothing", err)
			}
			return
		}
		if info.State == 0 || info.Duration < 0 || info.Rate < 0 {
			t.Errorf("got %+v", info)
		}
		if info.State == audio.Cut && info.Promised <= 0 {
			t.Errorf("cut without a promise: %+v", info)
		}
		if play, _, err := audio.WalkMP3(r, size); err == nil && play <= 0 {
			t.Errorf("an mp3 of %s", play)
		}
		if info.Format != audio.WAV || info.State != audio.Open {
			return
		}
		head, err := audio.WAVHeader(r, info, size)
		if err != nil {
			return // a header of megabytes is left alone
		}
		mended := append(head, content[info.Data:]...)
		if again, err := audio.Inspect(bytes.NewReader(mended), size, ext); err != nil || again.State != audio.Closed || again.Duration != info.Duration {
			t.Errorf("mended: %+v, %v, before: %+v", again, err, info)
		}
	})
}
