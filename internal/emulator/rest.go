package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sverka/internal/emulator/php"
)

// Error is an answer of the portal that says no.
type Error struct {
	Status int    // of HTTP
	Code   string // error; often empty
	Text   string // error_description
}

func (e *Error) Error() string {
	if e.Code == "" {
		return e.Text
	}
	return e.Text + " (" + e.Code + ")"
}

// refuse is how the telephony methods say no.
func refuse(text string) *Error {
	return &Error{Status: http.StatusBadRequest, Code: "ERROR_CORE", Text: text}
}

// refuseCRM is how the CRM methods say no: without a code.
func refuseCRM(text string) *Error { return &Error{Status: http.StatusBadRequest, Text: text} }

// query is one call of a method.
type query struct {
	ctx   context.Context
	args  *php.Array
	base  string // http://host, to make addresses
	by    caller
	token string // access token of the request; "": the webhook
	free  bool   // no operating time is counted
}

func (q *query) arg(name string) any     { v, _ := q.args.Param(name); return v }
func (q *query) text(name string) string { return php.Text(q.arg(name)) }
func (q *query) has(name string) bool    { _, ok := q.args.Param(name); return ok }
func (q *query) array(name string) (*php.Array, bool) {
	a, ok := q.arg(name).(*php.Array)
	return a, ok
}
func (q *query) start() int64 { return php.Int(q.arg("start")) }

// answer is what a method gives back.
type answer struct {
	result  any
	counted bool // total belongs to the answer
	total   int
	next    int     // 0: this was the last page
	work    float64 // seconds of work beside what the method always costs
}

// method is one entry of the method table.
type method struct {
	name  string // as documented
	scope string
	cost  float64 // seconds of work that a call is charged with
	run   func(*Portal, *query) (answer, error)
	// open: run takes the lock itself, since it does I/O.
	open bool
}

const (
	webhookUser = "1"
	webhookCode = "demo"
	maxBody     = 512 << 20 // bytes of a request
)

// Handler serves REST, the page and the recordings.
func (p *Portal) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/rest/", p.serveREST)
	mux.HandleFunc("/oauth/authorize/", p.serveAuthorize)
	mux.HandleFunc("/oauth/token/", p.serveToken)
	mux.Handle("/emulator/", p.control())
	mux.HandleFunc("GET /{$}", p.servePage)
	mux.HandleFunc("GET /state", p.serveState)
	mux.HandleFunc("GET /calls/{id}", p.serveCall)
	mux.HandleFunc("GET /records/{file}", p.serveRecord)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		down := p.down
		p.mu.Unlock()
		if down {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "<html><head><title>503 Service Temporarily Unavailable</title></head><body><center>"+
				"<h1>503 Service Temporarily Unavailable</h1></center><hr><center>nginx</center></body></html>\n")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (p *Portal) serveREST(w http.ResponseWriter, r *http.Request) {
	started := p.now()
	if to := p.learn(r); to != "" {
		http.Redirect(w, r, to, http.StatusFound)
		return
	}
	p.mu.Lock()
	p.count.HTTP++
	if started.Sub(p.swept) >= sweepEvery {
		p.sweep()
	}
	p.mu.Unlock()
	if p.bucket != nil && !p.bucket.Take() {
		p.mu.Lock()
		p.count.RefusedBucket++
		p.mu.Unlock()
		p.write(w, started, "", answer{}, &Error{Status: http.StatusServiceUnavailable, Code: "QUERY_LIMIT_EXCEEDED", Text: "Too many requests"})
		return
	}
	f, slow := p.draw()
	broken := &Error{Status: http.StatusInternalServerError, Code: "INTERNAL_SERVER_ERROR", Text: "Internal server error"}
	switch f {
	case errorBefore:
		p.pause(r.Context(), slow)
		p.write(w, started, "", answer{}, broken)
		return
	case resetBefore:
		reset(w)
		return
	}
	used, a, err := p.serveMethod(r)
	p.pause(r.Context(), slow)
	switch f {
	case lost:
		panic(http.ErrAbortHandler) // the server cuts the connection without an answer
	case errorAfter:
		p.write(w, started, "", answer{}, broken)
		return
	case resetAfter:
		reset(w)
		return
	}
	p.write(w, started, used, a, err)
}

// serveMethod authorises a request, reads its parameters and runs its method. The text says what is loaded with
// its work, "" if nothing is.
func (p *Portal) serveMethod(r *http.Request) (string, answer, error) {
	rest := strings.Split(strings.TrimPrefix(r.URL.Path, "/rest/"), "/")
	name := strings.TrimSuffix(rest[len(rest)-1], ".json")
	// The portal goes on working when the client has gone.
	q := &query{ctx: context.WithoutCancel(r.Context()), base: origin(r), args: &php.Array{}}
	upload := strings.EqualFold(name, "upload")
	if !upload {
		args, err := readArgs(r)
		if err != nil {
			return "", answer{}, err
		}
		q.args = args
	}
	switch {
	case len(rest) == 1:
		by, err := p.tokenCaller(accessToken(r, q))
		if err != nil {
			return "", answer{}, err
		}
		q.by = by
	case len(rest) == 2:
		return "", answer{}, &Error{Status: http.StatusUnauthorized, Code: "NO_AUTH_FOUND", Text: "Wrong authorization data"}
	case len(rest) > 3 || rest[0] != webhookUser || rest[1] != webhookCode:
		return "", answer{}, &Error{Status: http.StatusUnauthorized, Code: "INVALID_CREDENTIALS", Text: "Invalid request credentials"}
	default:
		q.by = p.webhookCaller()
	}
	if upload {
		a, err := p.upload(r)
		p.tell()
		return load("upload", q.by), a, err
	}
	if strings.EqualFold(name, "batch") {
		a, err := p.batch(q)
		return "", a, err
	}
	a, err := p.call(name, q)
	return load(name, q.by), a, err
}

// accessToken is the token of a request: auth in the query or the body, or a header.
func accessToken(r *http.Request, q *query) string {
	if t := q.text("auth"); t != "" {
		q.token = t
	} else if t := r.URL.Query().Get("auth"); t != "" {
		q.token = t
	} else if t, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		q.token = t
	}
	return q.token
}

// call runs one method, and counts it.
func (p *Portal) call(name string, q *query) (answer, error) {
	if strings.EqualFold(name, "batch") {
		return p.batch(q)
	}
	m, ok := p.methods[strings.ToLower(name)]
	if !ok {
		return answer{}, &Error{Status: http.StatusNotFound, Code: "ERROR_METHOD_NOT_FOUND", Text: "Method not found!"}
	}
	if err := p.permit(m, q.by); err != nil {
		return answer{}, err
	}
	metered := p.work != nil && !q.free
	used := load(m.name, q.by)
	if metered {
		if _, _, over := p.work.Use(used); over {
			p.mu.Lock()
			p.count.RefusedOperating++
			p.mu.Unlock()
			return answer{}, &Error{
				Status: http.StatusTooManyRequests, Code: "OPERATION_TIME_LIMIT", Text: "Method is blocked due to operation time limit.",
			}
		}
	}
	a, err := p.runMethod(m, q)
	p.tell()
	if metered {
		p.work.Add(used, m.cost+a.work)
	}
	return a, err
}

func (p *Portal) runMethod(m method, q *query) (answer, error) {
	p.mu.Lock()
	p.count.Methods[m.name]++
	p.changes++
	if m.open {
		p.mu.Unlock()
	} else {
		defer p.mu.Unlock()
		p.acting = q.cause()
	}
	return m.run(p, q)
}

// readArgs reads the parameters of a request: its query, and a JSON, form or multipart body. A body that is no JSON though it says so
// counts for nothing: the method runs without parameters.
func readArgs(r *http.Request) (*php.Array, error) {
	args := php.ParseQuery(r.URL.RawQuery)
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "multipart/form-data" && params["boundary"] != "" {
		if err := r.ParseMultipartForm(32 << 20); err != nil {
			return args, nil
		}
		defer func() { _ = r.MultipartForm.RemoveAll() }()
		for k, vals := range r.MultipartForm.Value {
			for _, v := range vals {
				php.SetPath(args, k, v)
			}
		}
		return args, nil
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, &Error{Status: http.StatusBadRequest, Code: "INVALID_REQUEST", Text: "Request body is not complete"}
	case len(b) > maxBody:
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Code: "INVALID_REQUEST", Text: "Request body is too large"}
	case len(b) == 0:
	case kind == "application/json":
		v, err := php.ParseJSON(b)
		if err != nil {
			return args, nil
		}
		if body, ok := v.(*php.Array); ok {
			for k, v := range body.All() {
				args.Set(k, v)
			}
		}
	case kind == "application/x-www-form-urlencoded":
		for k, v := range php.ParseQuery(string(b)).All() {
			args.Set(k, v)
		}
	}
	return args, nil
}

// load is what operating time is counted by: the method, and the application or the webhook.
func load(name string, by caller) string { return strings.ToLower(name) + "|" + by.number() }

// clock is the time block of an answer.
func (p *Portal) clock(started time.Time, used string) *php.Array {
	end := p.now()
	seconds := func(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
	took := end.Sub(started).Seconds()
	block := php.Map(
		"start", seconds(started), "finish", seconds(end), "duration", took, "processing", took,
		"date_start", started.In(p.zone).Format(iso), "date_finish", end.In(p.zone).Format(iso),
	)
	name, _, _ := strings.Cut(used, "|")
	if _, ok := p.methods[name]; ok && p.work != nil {
		worked, until, _ := p.work.Use(used)
		block.Set("operating_reset_at", until.Unix())
		block.Set("operating", worked)
	}
	return block
}

func (p *Portal) write(w http.ResponseWriter, started time.Time, used string, a answer, err error) {
	status, out := http.StatusOK, &php.Array{}
	if err != nil {
		e := asError(err)
		status = e.Status
		out.Set("error", e.Code)
		out.Set("error_description", e.Text)
		if e.Status == http.StatusTooManyRequests {
			out.Set("time", p.clock(started, used))
		}
	} else {
		out.Set("result", a.result)
		if a.counted {
			out.Set("total", a.total)
		}
		if a.next > 0 {
			out.Set("next", a.next)
		}
		out.Set("time", p.clock(started, used))
	}
	p.writeJSON(w, status, out)
}

func (p *Portal) writeJSON(w http.ResponseWriter, status int, out *php.Array) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out); err != nil {
		p.log.WithError(err).Error("answer cannot be written as JSON")
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"error":"ERROR_UNEXPECTED_ANSWER","error_description":"Server returned an unexpected response"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that has gone is no concern of the portal
}

func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Status: http.StatusInternalServerError, Code: "INTERNAL_SERVER_ERROR", Text: err.Error()}
}

func (p *Portal) pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// reset ends the connection with a TCP reset, or as near as the protocol allows.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	raw := conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		raw = t.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}

// noteDropped tells whoever runs the emulator what the client will never be told.
func (p *Portal) noteDropped(method string, keys []string) {
	if len(keys) > 0 {
		p.log.WithField("method", method).WithField("keys", fmt.Sprintf("%q", keys)).Warn("filter keys are not known and were dropped")
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
