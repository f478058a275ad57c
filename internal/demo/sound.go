package demo

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"time"
)

// sampleRate is that of a telephone line, in samples a second. Samples are 16 bit, one channel.
const sampleRate = 8000

// writeWAV writes a recording: two voices that murmur in turn, different for each seed.
func writeWAV(path string, length time.Duration, seed uint64) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	samples := int(length.Seconds() * sampleRate)
	if err := writeHeader(w, samples); err != nil {
		return err
	}
	if err := binary.Write(w, binary.LittleEndian, murmur(samples, rand.New(rand.NewPCG(seed, 0x70a1)))); err != nil {
		return err
	}
	return w.Flush()
}

// writeHeader writes the 44 bytes before the samples.
func writeHeader(w io.Writer, samples int) error {
	size := uint32(2 * samples)
	header := struct {
		RIFF          [4]byte
		Rest          uint32
		WAVE, Fmt     [4]byte
		FmtSize       uint32
		PCM, Channels uint16
		Rate, Bytes   uint32
		Frame, Bits   uint16
		Data          [4]byte
		Size          uint32
	}{
		RIFF: [4]byte([]byte("RIFF")), Rest: 36 + size, WAVE: [4]byte([]byte("WAVE")), Fmt: [4]byte([]byte("fmt ")), FmtSize: 16,
		PCM: 1, Channels: 1, Rate: sampleRate, Bytes: 2 * sampleRate, Frame: 2, Bits: 16, Data: [4]byte([]byte("data")), Size: size,
	}
	if err := binary.Write(w, binary.LittleEndian, header); err != nil {
		return fmt.Errorf("write header: %w", err)
	}
	return nil
}

// voice is a person on the line.
type voice struct {
	pitch  float64 // Hz
	loud   float64
	vowels [len(vowels)][period]float64 // one vibration of the vocal cords for each vowel
}

// newVoice makes a voice; the formants lie higher by size, as they do in a smaller mouth.
func newVoice(pitch, size, loud float64) *voice {
	v := &voice{pitch: pitch, loud: loud}
	for i, formants := range vowels {
		v.vowels[i] = vibration(formants, size, pitch)
	}
	return v
}

// vowels are the lowest three formants of a, e, i, o and u, in Hz.
var vowels = [...][3]float64{{730, 1150, 2450}, {520, 1800, 2500}, {310, 2150, 2800}, {500, 900, 2400}, {330, 780, 2300}}

// period is how many samples hold one vibration in a table.
const period = 256

// murmur makes n samples of two people in conversation: phrases of syllables, a pause, then the other one.
func murmur(n int, random *rand.Rand) []int16 {
	people := [2]*voice{newVoice(100+35*random.Float64(), 1, 0.9), newVoice(180+60*random.Float64(), 1.15, 0.75)}
	out := make([]int16, 0, n+4*sampleRate)
	turn := random.IntN(2)
	for len(out) < n {
		out = phrase(out, people[turn], random)
		out = silence(out, 0.25+0.45*random.Float64(), random)
		if random.IntN(4) > 0 {
			turn = 1 - turn
		}
	}
	return out[:n]
}

// phrase adds a few words. The pitch falls towards the end, or rises when it is a question.
func phrase(out []int16, v *voice, random *rand.Rand) []int16 {
	syllables := 4 + random.IntN(9)
	fall := -0.25
	if random.IntN(4) == 0 {
		fall = 0.2
	}
	for i := range syllables {
		melody := 1 + fall*float64(i)/float64(syllables) + 0.08*(random.Float64()-0.5)
		out = syllable(out, v, v.pitch*melody, random)
		if random.IntN(3) == 0 {
			out = silence(out, 0.04+0.08*random.Float64(), random)
		}
	}
	return out
}

// syllable adds one vowel that glides into another, some with a breath of noise before it.
func syllable(out []int16, v *voice, pitch float64, random *rand.Rand) []int16 {
	if random.IntN(3) == 0 {
		for i := range 300 {
			swell := math.Sin(math.Pi * float64(i) / 300)
			out = append(out, int16(1800*v.loud*swell*(2*random.Float64()-1)))
		}
	}
	from, to := &v.vowels[random.IntN(len(vowels))], &v.vowels[random.IntN(len(vowels))]
	n := int((0.11 + 0.12*random.Float64()) * sampleRate)
	phase := 0.0
	for i := range n {
		at := float64(i) / float64(n)
		k := int(phase) % period
		glide := from[k]*(1-at) + to[k]*at
		swell := math.Min(1, math.Sin(math.Pi*at)*1.6)
		out = append(out, int16(18000*v.loud*swell*glide))
		phase += period * pitch * (1 + 0.01*math.Sin(2*math.Pi*5*float64(i)/sampleRate)) / sampleRate
	}
	return out
}

// vibration gives one period of a vowel: the harmonics that fit on a telephone line, those near a formant strong.
func vibration(formants [3]float64, size, pitch float64) [period]float64 {
	var table [period]float64
	peak := 0.0
	for harmonic := 1; float64(harmonic)*pitch < 3400; harmonic++ {
		hz := float64(harmonic) * pitch
		strength := 0.0
		for i, formant := range formants {
			width := 90 + 50*float64(i)
			off := (hz - formant*size) / width
			strength += math.Pow(0.55, float64(i)) / (1 + off*off)
		}
		for k := range table {
			table[k] += strength * math.Sin(2*math.Pi*float64(harmonic*k)/period)
		}
	}
	for _, x := range table {
		peak = math.Max(peak, math.Abs(x))
	}
	for k := range table {
		table[k] /= peak
	}
	return table
}

// silence adds seconds in which the line only hisses.
func silence(out []int16, seconds float64, random *rand.Rand) []int16 {
	for range int(seconds * sampleRate) {
		out = append(out, int16(random.IntN(41)-20))
	}
	return out
}
