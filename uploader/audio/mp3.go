package audio

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// frame is the header of one MPEG audio layer III frame.
type frame struct {
	size    int // bytes, the header included
	rate    int // Hz
	bitrate int // bit/s
	samples int
	side    int // bytes of side information after the header
	version byte
}

// parseFrame reads a frame header (ISO 11172-3, 13818-3 and the 2.5 extension, which 8 kHz recordings use).
func parseFrame(h []byte) (frame, bool) {
	if h[0] != 0xFF || h[1]&0xE0 != 0xE0 || h[1]&0x06 != 0x02 {
		return frame{}, false
	}
	version := h[1] >> 3 & 3 // 0: 2.5, 2: 2, 3: 1
	bit, rate := h[2]>>4, h[2]>>2&3
	if version == 1 || bit == 0 || bit == 15 || rate == 3 {
		return frame{}, false
	}
	mono := h[3]>>6 == 3
	f := frame{version: version}
	rates := [...]int{44100, 48000, 32000}
	if version == 3 {
		kbit := [...]int{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320}
		f.rate, f.bitrate, f.samples, f.side = rates[rate], kbit[bit]*1000, 1152, 32
		if mono {
			f.side = 17
		}
	} else {
		kbit := [...]int{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160}
		f.rate, f.bitrate, f.samples, f.side = rates[rate]/2, kbit[bit]*1000, 576, 17
		if version == 0 {
			f.rate /= 2
		}
		if mono {
			f.side = 9
		}
	}
	f.size = f.samples/8*f.bitrate/f.rate + int(h[2]>>1&1)
	return f, true
}

// afterID3 gives the offset behind an ID3v2 tag, 0 if there is none.
func afterID3(r io.ReaderAt) (int64, error) {
	h := make([]byte, 10)
	if err := readAt(r, h, 0); err != nil {
		return 0, err
	}
	if string(h[:3]) != "ID3" {
		return 0, nil
	}
	n := int64(h[6]&0x7F)<<21 | int64(h[7]&0x7F)<<14 | int64(h[8]&0x7F)<<7 | int64(h[9]&0x7F)
	if h[5]&0x10 != 0 { // a footer
		n += 10
	}
	return n + 10, nil
}

// inspectMP3 looks for frames that follow each other. With search they need not begin at once: the file's name says that it is an MP3.
func inspectMP3(r io.ReaderAt, size int64, search bool) (Info, error) {
	const window = 64 << 10
	start, err := afterID3(r)
	if err != nil {
		return Info{}, err
	}
	if start+4 > size {
		return Info{}, ErrNotAudio
	}
	buf := make([]byte, min(size-start, window))
	if err := readAt(r, buf, start); err != nil {
		return Info{}, err
	}
	last := 0
	if search {
		last = len(buf) - 4
	}
	for at := 0; at <= last; at++ {
		first, ok := parseFrame(buf[at:])
		if !ok || !followed(buf[at:], first) {
			continue
		}
		return mp3Info(buf[at:], first, start+int64(at), size), nil
	}
	return Info{}, ErrNotAudio
}

// followed reports whether two more frames of the same kind come after the first, as far as buf goes. One frame alone proves nothing.
func followed(buf []byte, first frame) bool {
	at := first.size
	for range 2 {
		if at+4 > len(buf) {
			return false
		}
		f, ok := parseFrame(buf[at:])
		if !ok || f.version != first.version || f.rate != first.rate {
			return false
		}
		at += f.size
	}
	return true
}

func mp3Info(buf []byte, first frame, start, size int64) Info {
	info := Info{Format: MP3, State: Closed, Rate: first.rate, Duration: seconds(float64(size-start) * 8 / float64(first.bitrate))}
	at := 4 + first.side
	if at+16 > first.size || at+16 > len(buf) {
		return info
	}
	tag := buf[at:]
	if id := string(tag[:4]); id != "Xing" && id != "Info" {
		return info
	}
	flags := tag[7]
	tag = tag[8:]
	if flags&1 != 0 {
		frames := binary.BigEndian.Uint32(tag)
		if frames > 0 {
			info.Duration = seconds(float64(frames) * float64(first.samples) / float64(first.rate))
		}
		tag = tag[4:]
	}
	if flags&2 == 0 {
		return info
	}
	promised := start + int64(binary.BigEndian.Uint32(tag))
	// Encoders differ on whether the frame of the tag itself counts.
	if promised > size+int64(first.size) {
		info.State, info.Promised = Cut, promised
	}
	return info
}

// WalkMP3 reads an MP3 frame by frame, in constant memory, and gives how long it plays. whole is false when the last frame is not complete.
// ErrNotAudio if there are no frames or more rubbish than frames.
func WalkMP3(r io.ReaderAt, size int64) (play time.Duration, whole bool, err error) {
	start, err := afterID3(r)
	if err != nil {
		return 0, false, err
	}
	in := bufio.NewReaderSize(io.NewSectionReader(r, start, max(0, size-start)), 64<<10)
	var sound float64
	var frames, rubbish int64
	whole = true
	for {
		h, err := in.Peek(4)
		if len(h) < 4 {
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, false, fmt.Errorf("read mp3: %w", err)
			}
			break
		}
		if tag := string(h); tag[:3] == "TAG" || tag == "APET" || tag == "LYRI" {
			break
		}
		f, ok := parseFrame(h)
		if !ok {
			rubbish++
			if _, err := in.Discard(1); err != nil {
				return 0, false, fmt.Errorf("read mp3: %w", err)
			}
			continue
		}
		if n, err := in.Discard(f.size); err != nil {
			if !errors.Is(err, io.EOF) {
				return 0, false, fmt.Errorf("read mp3: %w", err)
			}
			whole = n == f.size
			break
		}
		frames++
		sound += float64(f.samples) / float64(f.rate)
	}
	if frames == 0 || rubbish > (size-start)/2 {
		return 0, false, ErrNotAudio
	}
	return seconds(sound), whole, nil
}
