package uploader_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// tool runs a program that makes or measures sound.
func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	found, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed; run make test-deps", name)
	}
	out, err := exec.CommandContext(t.Context(), found, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// sound makes a tone of some seconds. The extension of name tells the format, as the PBX names it.
func sound(t *testing.T, name string, seconds float64) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	length := strconv.FormatFloat(seconds, 'f', -1, 64)
	tone := []string{"-v", "error", "-y", "-f", "lavfi", "-i", "sine=440:duration=" + length + ":sample_rate=8000"}
	into := func(args ...string) { tool(t, "ffmpeg", append(append(tone, args...), "file:"+name)...) }
	switch filepath.Ext(name) {
	case ".wav":
		into("-ac", "1", "-f", "wav")
	case ".wav16":
		into("-ac", "2", "-ar", "16000", "-f", "wav")
	case ".WAV", ".wav49":
		tool(t, "sox", "-q", "-r", "8000", "-n", "-t", "wav", "-e", "gsm-full-rate", name, "synth", length, "sine", "440")
	case ".gsm":
		tool(t, "sox", "-q", "-r", "8000", "-n", "-t", "gsm", name, "synth", length, "sine", "440")
	case ".webm":
		into("-c:a", "libopus", "-f", "webm")
	case ".ogg":
		into("-c:a", "libvorbis", "-f", "ogg")
	case ".mp3":
		into("-b:a", "32k", "-f", "mp3")
	case ".ulaw":
		into("-f", "mulaw")
	case ".alaw":
		into("-f", "alaw")
	case ".sln":
		into("-f", "s16le")
	case ".g722":
		into("-ar", "16000", "-c:a", "g722", "-f", "g722")
	default:
		t.Fatalf("no way to make %s", name)
	}
}

// measured is what ffprobe and a full decoding tell of a file.
type measured struct {
	Codec    string
	Channels int
	Rate     string
	Seconds  float64
}

func measure(t *testing.T, name string) measured {
	t.Helper()
	// Decoding all of it shows damage that the header hides, and is the only exact length.
	raw := filepath.Join(t.TempDir(), "decoded.raw")
	tool(t, "ffmpeg", "-v", "error", "-xerror", "-y", "-i", "file:"+name, "-ac", "1", "-ar", "8000", "-f", "s16le", "file:"+raw)
	stat, err := os.Stat(raw)
	if err != nil {
		t.Fatal(err)
	}
	var probe struct {
		Streams []struct {
			Codec    string `json:"codec_name"`
			Channels int    `json:"channels"`
			Rate     string `json:"sample_rate"`
		} `json:"streams"`
	}
	if err := json.Unmarshal(tool(t, "ffprobe", "-v", "error", "-show_streams", "-of", "json", "file:"+name), &probe); err != nil {
		t.Fatalf("ffprobe: %v", err)
	}
	if len(probe.Streams) != 1 {
		t.Fatalf("%s has %d streams, want 1", name, len(probe.Streams))
	}
	s := probe.Streams[0]
	return measured{Codec: s.Codec, Channels: s.Channels, Rate: s.Rate, Seconds: float64(stat.Size()) / 16000}
}

// touch sets when a file was last written.
func touch(t *testing.T, name string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}
