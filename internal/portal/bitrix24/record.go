package bitrix24

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"path"
	"strings"
	"time"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/wire"
)

// slowest is the slowest line, in bytes per second, on which an upload still gets the time that it needs.
const slowest = 64 << 10

// AttachFile gives a finished call its recording and answers the id of the file in the portal. name ends in .mp3 or .wav, in lower case;
// it should be unique, since the portal keeps the recordings of a month in one folder. open gives the file from its beginning, exactly
// size bytes, and may be asked more than once; it is read as a stream.
//
// A repeated AttachFile replaces the recording, so it is safe after an unknown outcome. Errors of open and of reading are returned as
// they are, with nothing attached; all others are *portal.Error.
func (c *Client) AttachFile(
	ctx context.Context, id portal.CallID, name string, size int64, open func() (io.ReadCloser, error),
) (fileID int64, err error) {
	if size <= 0 {
		return 0, fmt.Errorf("attach %s: the recording is empty", name)
	}
	fileID, err = c.attach(ctx, id, name, size, open)
	var e *portal.Error
	if errors.As(err, &e) && stale(e) && c.access.throughApp() {
		// The address of an upload holds the token: with a new token there is a new address.
		return c.attach(ctx, id, name, size, open)
	}
	return fileID, err
}

func (c *Client) attach(
	ctx context.Context, id portal.CallID, name string, size int64, open func() (io.ReadCloser, error),
) (fileID int64, err error) {
	// Without FILE_CONTENT nothing is attached yet, the portal only makes up an address: as harmless as reading.
	a, err := c.ask(ctx, methodAttach, wire.Params{"CALL_ID": string(id), "FILENAME": name})
	if err != nil {
		return 0, err
	}
	var to wire.Object[struct {
		Address wire.Text `json:"uploadUrl"`
		Field   wire.Text `json:"fieldName"`
	}]
	if err := json.Unmarshal(a.Result, &to); err != nil || to.V.Address == "" {
		return 0, c.puzzled(methodAttach, "it has no uploadUrl", err)
	}
	x, err := c.upload(string(to.V.Address), orDefault(string(to.V.Field), "file"), name, size, open)
	if err != nil {
		return 0, err
	}
	err = c.repeat(ctx, writing, faultTries, func() error {
		var err error
		a, err = c.send(ctx, x)
		return err
	})
	if err != nil {
		return 0, err
	}
	var done wire.Object[struct {
		FileID wire.Number `json:"FILE_ID"`
	}]
	if err := json.Unmarshal(a.Result, &done); err != nil || done.V.FileID <= 0 {
		return 0, c.puzzled(methodUpload, "it has no FILE_ID", err)
	}
	return int64(done.V.FileID), nil
}

// upload makes the request that carries the file.
func (c *Client) upload(address, field, name string, size int64, open func() (io.ReadCloser, error)) (exchange, error) {
	u, err := c.access.address().Parse(address)
	if err != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return exchange{}, c.puzzled(methodAttach, "its uploadUrl is no https address", nil)
	}
	var frame bytes.Buffer
	form := multipart.NewWriter(&frame)
	_, err = form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {mime.FormatMediaType("form-data", map[string]string{"name": field, "filename": name})},
		"Content-Type":        {audioType(name)},
	})
	if err != nil {
		return exchange{}, fmt.Errorf("attach %s: %w", name, err)
	}
	head := bytes.Clone(frame.Bytes())
	if err := form.Close(); err != nil {
		return exchange{}, fmt.Errorf("attach %s: %w", name, err)
	}
	tail := frame.Bytes()[len(head):]
	hidden := uploadRedactor(c.access.secrets(), u)
	return exchange{
		method: methodUpload, uses: map[string]int64{methodUpload: 1}, url: u, media: form.FormDataContentType(),
		length:  int64(len(head)) + size + int64(len(tail)),
		timeout: c.timeout + time.Duration(size/slowest)*time.Second,
		redact:  &hidden,
		open: func() (io.ReadCloser, error) {
			file, err := open()
			if err != nil {
				return nil, fmt.Errorf("open the recording: %w", err)
			}
			exact := &exactly{r: file, left: size}
			return &body{Reader: io.MultiReader(bytes.NewReader(head), exact, bytes.NewReader(tail)), Closer: file}, nil
		},
	}, nil
}

type body struct {
	io.Reader
	io.Closer
}

// exactly passes on exactly the bytes that were promised. A file that is shorter or longer is an error before its last byte is out, so
// that the portal never gets a whole request around half a recording.
type exactly struct {
	r    io.Reader
	left int64
}

// sourceError is a fault of what is sent, not of the sending.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read the recording: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

func (x *exactly) Read(p []byte) (int, error) {
	if x.left == 0 {
		return 0, io.EOF
	}
	n, err := x.r.Read(p[:min(int64(len(p)), x.left)])
	x.left -= int64(n)
	switch {
	case x.left > 0 && errors.Is(err, io.EOF):
		return n, &sourceError{fmt.Errorf("%d bytes are missing: %w", x.left, io.ErrUnexpectedEOF)}
	case err != nil && !errors.Is(err, io.EOF):
		return n, &sourceError{err}
	case x.left > 0:
		return n, nil
	}
	var more [1]byte
	extra, err := io.ReadFull(x.r, more[:])
	switch {
	case extra > 0:
		return 0, &sourceError{errors.New("the file is longer than it was")}
	case errors.Is(err, io.EOF):
		return n, nil
	}
	return 0, &sourceError{err}
}

func audioType(name string) string {
	if strings.EqualFold(path.Ext(name), ".wav") {
		return "audio/wav"
	}
	return "audio/mpeg"
}

// uploadRedactor hides what the signed address holds: its path may be the webhook, its query a token.
func uploadRedactor(hidden []string, u *url.URL) redactor {
	secrets := []string{u.String(), u.RequestURI(), u.RawQuery}
	for _, values := range u.Query() {
		for _, v := range values {
			if len(v) >= shortCode {
				secrets = append(secrets, v, url.QueryEscape(v))
			}
		}
	}
	return newRedactor(append(secrets, hidden...)...)
}
