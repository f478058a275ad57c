package pbxtest

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"
)

const (
	rate     = 8000 // samples a second, 16 bits, mono: MixMonitor's wav
	wavHead  = 44   // bytes
	lowest   = 300  // Hz, what a telephone line carries
	highest  = 3000
	loudness = 8000 // of 32767
)

// keep gives a call its recording: as long as its conversations, with a tone of its own.
func (p *PBX) keep(c *call) {
	c.named = true
	c.Name, c.File, c.Seconds = c.fileName(), p.place(c), c.template.talk()
	// Multiples of the golden ratio lie as far from each other as they can, however many calls there are.
	_, share := math.Modf(float64(p.tones) * math.Phi)
	p.tones++
	c.Tone = lowest + share*(highest-lowest)
	for i, part := range c.template.parts {
		c.Parts[i].Recorded = part.recording
	}
}

// place tells where FreePBX puts the file that the rows of a call name: by the day when recording began, in the PBX's zone.
func (p *PBX) place(c *call) string {
	for _, v := range c.template.variables {
		if v.kind == fileTime {
			day := c.values[v.key]
			return filepath.Join(day[:4], day[4:6], day[6:8], c.fileName())
		}
	}
	return c.fileName()
}

// fileName gives the name that the rows of the call have; "" where they name no file.
func (c *call) fileName() string {
	for _, r := range c.template.rows {
		if name := r.texts[cdrColumn("recordingfile")].with(c.values); name != "" {
			return name
		}
	}
	return ""
}

// WriteRecordings writes the audio of all recorded calls below Options.Dir, and for unanswered calls the empty files that MixMonitor
// leaves when it was started before the answer: a header and nothing else. All files are as old as the end of their call.
func (p *PBX) WriteRecordings(ctx context.Context) error {
	for _, c := range p.calls {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		switch {
		case c.File != "":
			err = p.writeFile(c.File, wav(tone(c.Tone, c.Seconds)), c.End)
		case c.named && c.Sent && !c.template.recordable() && c.fileName() != "":
			err = p.writeFile(p.place(c), wav(nil), c.End)
		}
		if err != nil {
			return fmt.Errorf("write recording of call %s: %w", c.LinkedID, err)
		}
	}
	return nil
}

// writeFile writes a file that was last changed at that time.
func (p *PBX) writeFile(name string, content []byte, changed time.Time) error {
	path := filepath.Join(p.opts.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return err
	}
	return os.Chtimes(path, changed, changed)
}

// tone makes seconds of a sine.
func tone(hertz float64, seconds int) []byte {
	const steps = 1 << 12
	var sine [steps]uint16
	for i := range sine {
		sine[i] = uint16(int16(loudness * math.Sin(2*math.Pi*float64(i)/steps)))
	}
	data := make([]byte, 0, 2*rate*seconds)
	turn := uint32(hertz / rate * (1 << 32))
	var phase uint32
	for range rate * seconds {
		data = binary.LittleEndian.AppendUint16(data, sine[phase>>20])
		phase += turn
	}
	return data
}

// wav puts the header of a closed WAV file before samples.
func wav(samples []byte) []byte {
	b := make([]byte, 0, wavHead+len(samples))
	b = append(b, "RIFF"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(wavHead-8+len(samples)))
	b = append(b, "WAVEfmt "...)
	b = binary.LittleEndian.AppendUint32(b, 16)
	b = binary.LittleEndian.AppendUint16(b, 1) // PCM
	b = binary.LittleEndian.AppendUint16(b, 1) // mono
	b = binary.LittleEndian.AppendUint32(b, rate)
	b = binary.LittleEndian.AppendUint32(b, 2*rate)
	b = binary.LittleEndian.AppendUint16(b, 2)
	b = binary.LittleEndian.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(samples)))
	return append(b, samples...)
}

// Hertz measures the tone of a recording, given as 16 bit little-endian mono samples (ffmpeg -f s16le) at so many a second: the rate of
// its rising zero crossings. It hears through MP3; 0 means that there is no tone.
func Hertz(samples []byte, rate int) float64 {
	at := func(i int) float64 { return float64(int16(binary.LittleEndian.Uint16(samples[2*i:]))) }
	first, last, periods := 0.0, 0.0, -1
	for i := 1; i < len(samples)/2; i++ {
		a, b := at(i-1), at(i)
		if a >= 0 || b < 0 {
			continue
		}
		last = float64(i-1) + a/(a-b)
		if periods++; periods == 0 {
			first = last
		}
	}
	if periods < 1 {
		return 0
	}
	return float64(periods) * float64(rate) / (last - first)
}
