package audio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// ErrNotAudio says that a file is none of the kinds of sound this package knows.
var ErrNotAudio = errors.New("not audio")

// HeaderOnly is the size in bytes below which a file of any kind holds no sound. MikoPBX uses the same bound; Asterisk's empty files have 44 bytes
// (WAV) or 60 (wav49).
const HeaderOnly = 100

// Format is the kind of container.
type Format int

// Formats of recordings. The last five have no container: the file name's extension is all that tells them.
const (
	WAV Format = iota + 1
	MP3
	WebM
	Ogg
	GSM
	ULaw
	ALaw
	SLin
	G722
)

func (f Format) String() string {
	names := [...]string{WAV: "wav", MP3: "mp3", WebM: "webm", Ogg: "ogg", GSM: "gsm", ULaw: "ulaw", ALaw: "alaw", SLin: "sln", G722: "g722"}
	if f < WAV || int(f) >= len(names) {
		return "unknown"
	}
	return names[f]
}

// State says how whole a file is, as far as its container tells.
type State int

// States of a file.
const (
	Closed State = iota + 1 // whole, as its writer left it
	Open                    // its writer has not closed it yet, or died before it could
	Cut                     // shorter than its header promises
	Empty                   // a header at most
)

func (s State) String() string {
	names := [...]string{Closed: "closed", Open: "open", Cut: "cut", Empty: "empty"}
	if s < Closed || int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// Info is what the head and the tail of a file tell.
type Info struct {
	Format   Format
	State    State
	Rate     int           // samples a second; 0: unknown
	Duration time.Duration // 0: unknown. An estimate for MP3 without a Xing header; Walk measures it
	Promised int64         // of a Cut file: the bytes it has if its header is right
	Data     int64         // WAV only: offset of the first sample
}

// Inspect tells what the size bytes of r hold. ext is the extension of the file's name with its dot, for what only the name can tell.
// It reads a few kilobytes, however large the file is. ErrNotAudio if the file is nothing it knows.
func Inspect(r io.ReaderAt, size int64, ext string) (Info, error) {
	ext = strings.ToLower(ext)
	if size < HeaderOnly {
		return Info{State: Empty}, nil
	}
	head := make([]byte, 12)
	if err := readAt(r, head, 0); err != nil {
		return Info{}, err
	}
	switch {
	case string(head[:4]) == "RIFF" && string(head[8:12]) == "WAVE":
		return inspectWAV(r, size)
	case bytes.Equal(head[:4], []byte{0x1A, 0x45, 0xDF, 0xA3}):
		return inspectWebM(r, size)
	case string(head[:4]) == "OggS":
		return inspectOgg(r, size)
	}
	switch ext {
	case ".gsm":
		return inspectGSM(r, size)
	case ".ulaw", ".ul", ".pcm", ".mu":
		return raw(ULaw, size, 8000, 8000), nil
	case ".alaw", ".al":
		return raw(ALaw, size, 8000, 8000), nil
	case ".sln":
		return raw(SLin, size, 8000, 16000), nil
	case ".sln16":
		return raw(SLin, size, 16000, 32000), nil
	case ".g722":
		return raw(G722, size, 16000, 8000), nil
	}
	return inspectMP3(r, size, ext == ".mp3")
}

func raw(f Format, size int64, rate, perSecond int) Info {
	return Info{Format: f, State: Closed, Rate: rate, Duration: seconds(float64(size) / float64(perSecond))}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// readAt fills p or fails: a file that ends within p is no audio of the kind it claims to be.
func readAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return ErrNotAudio
	}
	return fmt.Errorf("read at %d: %w", off, err)
}

// inspectWAV compares the sizes in the header with the file. Asterisk writes zeros there at the start and the true sizes at the very end, so a
// header that fits is the proof of a closed file (format_wav.c, format_wav_gsm.c: update_header).
func inspectWAV(r io.ReaderAt, size int64) (Info, error) {
	const most = 64 // chunks before the data; Asterisk writes one or two
	info := Info{Format: WAV}
	var perSecond uint32
	head := make([]byte, 12)
	if err := readAt(r, head, 0); err != nil {
		return Info{}, err
	}
	riff := int64(binary.LittleEndian.Uint32(head[4:])) + 8
	off := int64(12)
	for range most {
		chunk := make([]byte, 8)
		if off+8 > size {
			info.State, info.Promised = Cut, max(riff, off+8)
			return info, nil
		}
		if err := readAt(r, chunk, off); err != nil {
			return Info{}, err
		}
		length := int64(binary.LittleEndian.Uint32(chunk[4:]))
		off += 8
		switch string(chunk[:4]) {
		case "fmt ":
			if length < 16 || off+16 > size {
				return Info{}, ErrNotAudio
			}
			body := make([]byte, 16)
			if err := readAt(r, body, off); err != nil {
				return Info{}, err
			}
			info.Rate = int(binary.LittleEndian.Uint32(body[4:]))
			perSecond = binary.LittleEndian.Uint32(body[8:])
		case "data":
			if perSecond == 0 || info.Rate == 0 {
				return Info{}, ErrNotAudio
			}
			info.Data = off
			return wavState(info, size, riff, length, int64(perSecond)), nil
		}
		off += length + length%2
	}
	return Info{}, ErrNotAudio
}

func wavState(info Info, size, riff, length, perSecond int64) Info {
	const unknown = 0xFFFFFFFF // of writers that cannot seek back
	have := size - info.Data
	play := min(length, have)
	switch {
	case have <= 0:
		info.State = Empty
		return info
	case length == 0 || length == unknown:
		info.State, play = Open, have
	case length > have:
		info.State, info.Promised = Cut, info.Data+length
	case length == have || length+length%2 == have || riff == size || riff+riff%2 == size:
		info.State = Closed
	default: // the header is older than the data
		info.State, play = Open, have
	}
	info.Duration = seconds(float64(play) / float64(perSecond))
	return info
}

// WAVHeader gives the first info.Data bytes of a WAV file with sizes that fit a file of size bytes: it mends the header of a recording whose writer
// died. It changes nothing in the file.
func WAVHeader(r io.ReaderAt, info Info, size int64) ([]byte, error) {
	const longest = 1 << 20
	if info.Format != WAV || info.Data < 20 || info.Data > longest || size < info.Data || size > 0xFFFFFFFF {
		return nil, ErrNotAudio
	}
	head := make([]byte, info.Data)
	if err := readAt(r, head, 0); err != nil {
		return nil, err
	}
	binary.LittleEndian.PutUint32(head[4:], uint32(size-8))
	binary.LittleEndian.PutUint32(head[info.Data-4:], uint32(size-info.Data))
	return head, nil
}

// inspectWebM reads the size of the Matroska segment. Writers leave it unknown (all ones) until they close the file.
func inspectWebM(r io.ReaderAt, size int64) (Info, error) {
	info := Info{Format: WebM, Rate: 48000} // Opus always decodes to 48 kHz
	buf := make([]byte, min(size, 4096))
	if err := readAt(r, buf, 0); err != nil {
		return Info{}, err
	}
	length, n, _ := vint(buf[4:])
	if n == 0 {
		return Info{}, ErrNotAudio
	}
	off := int64(4+n) + length
	for range 8 { // a few void elements may come before the segment
		if off < 0 || off+12 > int64(len(buf)) {
			return Info{}, ErrNotAudio
		}
		at := buf[off:]
		if bytes.Equal(at[:4], []byte{0x18, 0x53, 0x80, 0x67}) {
			length, n, known := vint(at[4:])
			end := off + 4 + int64(n) + length
			switch {
			case n == 0:
				return Info{}, ErrNotAudio
			case !known:
				info.State = Open
			case end > size:
				info.State, info.Promised = Cut, end
			default:
				info.State = Closed
			}
			return info, nil
		}
		if at[0] != 0xEC {
			return Info{}, ErrNotAudio
		}
		length, n, known := vint(at[1:])
		if n == 0 || !known {
			return Info{}, ErrNotAudio
		}
		off += 1 + int64(n) + length
	}
	return Info{}, ErrNotAudio
}

// vint reads a variable-length integer of EBML and how many bytes it has; 0 bytes if it is none. All ones means an unknown size.
func vint(b []byte) (value int64, n int, known bool) {
	if len(b) == 0 || b[0] == 0 {
		return 0, 0, false
	}
	n = 1
	for b[0]&(0x80>>(n-1)) == 0 {
		n++
	}
	if len(b) < n {
		return 0, 0, false
	}
	value = int64(b[0] & (0xFF >> n))
	for _, c := range b[1:n] {
		value = value<<8 | int64(c)
	}
	return value, n, value != 1<<(7*n)-1
}

// inspectOgg looks for the mark of the last page, and that the page is whole.
func inspectOgg(r io.ReaderAt, size int64) (Info, error) {
	const longest, header = 65307, 27 // bytes of a page and of the fixed part of its header
	tail := make([]byte, min(size, 2*longest))
	if err := readAt(r, tail, size-int64(len(tail))); err != nil {
		return Info{}, err
	}
	info := Info{Format: Ogg, Rate: 48000, State: Open}
	page := tail[max(0, bytes.LastIndex(tail, []byte("OggS"))):]
	if len(page) < header || page[5]&4 == 0 {
		return info, nil
	}
	segments := int(page[26])
	end := header + segments
	for _, n := range page[header:min(end, len(page))] {
		end += int(n)
	}
	if end <= len(page) {
		info.State = Closed
	}
	return info, nil
}

// inspectGSM knows raw GSM 06.10 by the mark that begins each of its frames of 33 bytes and 20 ms.
func inspectGSM(r io.ReaderAt, size int64) (Info, error) {
	const frame, probe = 33, 64
	buf := make([]byte, min(size, frame*probe))
	if err := readAt(r, buf, 0); err != nil {
		return Info{}, err
	}
	for i := 0; i < len(buf); i += frame {
		if buf[i]&0xF0 != 0xD0 {
			return Info{}, ErrNotAudio
		}
	}
	info := Info{Format: GSM, State: Closed, Rate: 8000, Duration: time.Duration(size/frame) * 20 * time.Millisecond}
	if size%frame != 0 {
		info.State = Open
	}
	return info, nil
}
