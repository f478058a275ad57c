package emulator

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sverka/internal/emulator/php"
)

// Record is the file of a recording that was once attached to a call.
type Record struct {
	FileID  int64
	CallID  string
	Name    string // as the client called it
	Size    int64  // bytes
	SHA256  string // hex
	Path    string // where the bytes are; "" when the portal deleted them
	Current bool   // the call's statistics row points to it; false: replaced, an orphan if Path is not ""
	Created time.Time
}

// Record gives the recording with an id.
func (p *Portal) Record(fileID int64) (Record, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.records[fileID]
	if r == nil {
		return Record{}, fmt.Errorf("no recording has the file id %d", fileID)
	}
	return *r, nil
}

// Records gives every recording that was ever attached, by file id.
func (p *Portal) Records() []Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Record, 0, len(p.records))
	for _, r := range p.records {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Record) int { return cmp.Compare(a.FileID, b.FileID) })
	return out
}

// Forget deletes a recording as somebody who deletes the file on the portal's Disk does: its call stands without one. It reports whether
// there was such a recording.
func (p *Portal) Forget(fileID int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.records[fileID]
	if r == nil {
		return false
	}
	if c := p.stats.find(r.CallID); c != nil && c.RecordFileID == fileID {
		c.RecordFileID = 0
	}
	r.Current = false
	return true
}

const (
	fetchTimeout = 30 * time.Second
	recordField  = "file" // part of the multipart upload
)

// recordFetcher fetches RECORD_URL. The portal does not check certificates there.
func recordFetcher() *http.Client {
	return &http.Client{
		Timeout:   fetchTimeout,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true},
	}
}

var errNotFinished = refuse("Call is not found in the statistic table. It looks like it is not finished yet.")

func checkName(name string) error {
	if name == "" {
		return refuse("File name is empty")
	}
	// The portal compares the extension as it is written: .MP3 is wrong.
	if ext := path.Ext(name); ext != ".mp3" && ext != ".wav" {
		return refuse("Wrong file extension. Only wav and mp3 are allowed")
	}
	return nil
}

func (p *Portal) finished(callID string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats.find(callID) != nil
}

// diskFault gives the words in which the rules let the portal's Disk fail.
func (p *Portal) diskFault() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules.DiskFault
}

// callAttach takes a recording in one of three ways: an address to fetch, the bytes in base64, or the bytes in a second request.
func callAttach(p *Portal, q *query) (answer, error) {
	id, name := q.text("CALL_ID"), q.text("FILENAME")
	address := q.text("RECORD_URL")
	if address == "" && !q.has("FILENAME") {
		return answer{}, refuse("Required parameters are not set. Request should contain either URL or FILENAME parameter")
	}
	if fault := p.diskFault(); fault != "" {
		return answer{}, refuseCRM(fault)
	}
	if !p.finished(id) {
		return answer{}, errNotFinished
	}
	if address != "" {
		return p.attachFromURL(q.ctx, id, address, name)
	}
	if err := checkName(name); err != nil {
		return answer{}, err
	}
	if !q.has("FILE_CONTENT") {
		u := q.base + "/rest/" + webhookUser + "/" + webhookCode + "/upload.json?token=" + url.QueryEscape(p.sign(id, name))
		if q.by.app != nil {
			u = q.base + "/rest/upload.json?auth=" + url.QueryEscape(q.token) + "&token=" + url.QueryEscape(p.sign(id, name))
		}
		return answer{result: php.Map("uploadUrl", u, "fieldName", recordField)}, nil
	}
	content := q.text("FILE_CONTENT")
	if content == "" {
		return answer{}, refuse("File content is empty.")
	}
	// What is no base64 shows before anything is stored.
	s, err := p.store(base64.NewDecoder(base64.StdEncoding, strings.NewReader(content)))
	var corrupt base64.CorruptInputError
	if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
		return answer{}, refuse("File content is not properly encoded. Base64 encoding is expected.")
	}
	if err != nil {
		return answer{}, err
	}
	return p.attach(id, name, "", s, true)
}

func (p *Portal) attachFromURL(ctx context.Context, callID, address, name string) (answer, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return answer{}, refuse("WRONG_URL: the address of the recording is no http or https address")
	}
	if name == "" {
		name = path.Base(u.Path)
	}
	if err := checkName(name); err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer{}, refuse("WRONG_URL: the address of the recording is no http or https address")
	}
	res, err := p.fetch.Do(req)
	if err != nil {
		// The client's own error would repeat the address, which may be signed.
		var cause *url.Error
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return answer{}, refuse("CONNECTION: " + err.Error())
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return answer{}, refuse(fmt.Sprintf("Server returns HTTP error code %d", res.StatusCode))
	}
	s, err := p.store(res.Body)
	if err != nil {
		return answer{}, refuse("NETWORK: " + err.Error())
	}
	return p.attach(callID, name, address, s, true)
}

// upload takes the bytes of the third way. The token says for which call and under which name.
func (p *Portal) upload(r *http.Request) (answer, error) {
	p.mu.Lock()
	p.count.Uploads++
	p.mu.Unlock()
	callID, name, ok := p.verify(r.URL.Query().Get("token"))
	if !ok {
		return answer{}, &Error{Status: http.StatusForbidden, Code: "ACCESS_DENIED", Text: "Access denied!"}
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return answer{}, refuse("File is not uploaded")
	}
	for {
		part, err := parts.NextPart()
		if err != nil {
			return answer{}, refuse("File is not uploaded")
		}
		if part.FormName() != recordField || part.FileName() == "" {
			continue
		}
		s, err := p.store(part)
		if err == nil && s.size == 0 {
			err = errors.Join(refuse("File content is empty."), os.Remove(s.path))
		}
		if err != nil {
			return answer{}, err
		}
		if !p.finished(callID) {
			return answer{}, errors.Join(errNotFinished, os.Remove(s.path))
		}
		return p.attach(callID, name, "", s, false)
	}
}

type token struct {
	Call string `json:"call"`
	Name string `json:"name"`
}

const tokenKind = "telephony"

func (p *Portal) sign(callID, name string) string {
	b, err := json.Marshal(token{callID, name})
	if err != nil {
		panic(err) // two strings can always be written as JSON
	}
	body := base64.RawURLEncoding.EncodeToString(b)
	return tokenKind + "|" + body + "|" + p.seal(body)
}

func (p *Portal) seal(body string) string {
	m := hmac.New(sha256.New, p.secret)
	_, _ = io.WriteString(m, body)
	return hex.EncodeToString(m.Sum(nil))
}

func (p *Portal) verify(s string) (callID, name string, ok bool) {
	part := strings.Split(s, "|")
	if len(part) != 3 || part[0] != tokenKind || !hmac.Equal([]byte(part[2]), []byte(p.seal(part[1]))) {
		return "", "", false
	}
	b, err := base64.RawURLEncoding.DecodeString(part[1])
	if err != nil {
		return "", "", false
	}
	var t token
	if err := json.Unmarshal(b, &t); err != nil {
		return "", "", false
	}
	return t.Call, t.Name, true
}

// stored are bytes on the disk that belong to no call yet.
type stored struct {
	path string
	size int64
	sum  string
}

// store writes a stream to a new file. A stream that breaks off leaves nothing.
func (p *Portal) store(r io.Reader) (s stored, err error) {
	f, err := os.CreateTemp(p.dir, "upload-*.part")
	if err != nil {
		return stored{}, fmt.Errorf("store recording: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, h), r)
	if err != nil {
		return stored{}, fmt.Errorf("store recording: %w", err)
	}
	return stored{path: f.Name(), size: n, sum: hex.EncodeToString(h.Sum(nil))}, nil
}

// attach makes stored bytes the recording of a call. The file that was there before is deleted, or stays as an orphan after a two-step
// upload, as in the portal.
func (p *Portal) attach(callID, name, address string, s stored, deleteOld bool) (answer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acting = cause{user: adminID}
	c := p.stats.find(callID)
	if c == nil {
		return answer{}, errors.Join(errNotFinished, os.Remove(s.path))
	}
	id := p.lastFile + 1
	kept := filepath.Join(p.dir, strconv.FormatInt(id, 10)+path.Ext(name))
	if err := os.Rename(s.path, kept); err != nil {
		return answer{}, fmt.Errorf("keep recording: %w", err)
	}
	p.lastFile = id
	if old := p.records[c.RecordFileID]; old != nil {
		old.Current = false
		if deleteOld {
			if err := os.Remove(old.Path); err != nil {
				return answer{}, fmt.Errorf("delete replaced recording: %w", err)
			}
			old.Path = ""
		}
	}
	p.records[id] = &Record{FileID: id, CallID: c.CallID, Name: name, Size: s.size, SHA256: s.sum, Path: kept, Current: true, Created: p.today()}
	c.RecordFileID = id
	if address != "" {
		c.RecordURL = address
	}
	for _, a := range p.crm.byOrigin["VI_"+c.CallID] {
		a.FileID = id
		p.crm.happen("ACTIVITY", "UPDATE", a.ID)
	}
	return answer{result: php.Map("FILE_ID", id)}, nil
}

func (p *Portal) serveRecord(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(r.PathValue("file"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	rec, err := p.Record(id)
	if err != nil || rec.Path == "" {
		http.NotFound(w, r)
		return
	}
	http.ServeFile(w, r, rec.Path)
}

func diskFile(p *Portal, q *query) (answer, error) {
	id := php.Int(q.arg("id"))
	if id <= 0 {
		return answer{}, &Error{Status: http.StatusBadRequest, Code: "ERROR_ARGUMENT", Text: "Invalid value of parameter {Parameter #0}"}
	}
	r := p.records[id]
	if r == nil || r.Path == "" {
		return answer{}, &Error{Status: http.StatusBadRequest, Code: "ERROR_NOT_FOUND", Text: fmt.Sprintf("Could not find entity with id %d", id)}
	}
	address := fmt.Sprintf("%s/records/%d", q.base, r.FileID)
	return answer{result: php.Map(
		"ID", itoa(r.FileID), "NAME", r.Name, "CODE", nil, "STORAGE_ID", "1", "TYPE", "file", "PARENT_ID", "1", "DELETED_TYPE", "0",
		"GLOBAL_CONTENT_VERSION", "1", "FILE_ID", itoa(r.FileID), "SIZE", itoa(r.Size), "CREATE_TIME", r.Created.Format(iso),
		"UPDATE_TIME", r.Created.Format(iso), "DELETE_TIME", nil, "CREATED_BY", "1", "UPDATED_BY", "1", "DELETED_BY", nil,
		"DOWNLOAD_URL", address, "DETAIL_URL", address,
	)}, nil
}
