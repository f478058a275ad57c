// Package audio reads what kind of sound a recording holds: its container, whether its writer has closed it, and how long it plays.
//
// It knows what Asterisk, FreePBX and MikoPBX write: WAV with PCM, A-law, µ-law or GSM in it (.wav, .WAV, .wav49, .wav16), raw GSM and other raw
// codecs, and what their conversion scripts make: MP3, WebM and Ogg. It is pure: it reads from an io.ReaderAt and opens nothing.
package audio
