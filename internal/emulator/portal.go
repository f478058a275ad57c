package emulator

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"sverka/internal/emulator/event"
	"sverka/internal/emulator/limit"
	"sverka/internal/emulator/php"
)

// Modes of the CRM.
const (
	Simple  = "simple"  // no leads: an unknown caller becomes a contact and a deal
	Classic = "classic" // an unknown caller becomes a lead
)

// Options are what a portal is made of. The zero value is a portal in simple mode with the administrator alone.
type Options struct {
	Mode      string // Simple (default) or Classic
	Seed      Seed
	Faults    Faults
	FaultSeed uint64 // random source of the faults; 0: from the clock
	Limits    Limits
	Rules     Rules
	App       App
	License   string           // LICENSE_FAMILY of app.info: pro (default), ent…; ent has the limits of Enterprise
	Speed     float64          // the clock of the limits runs this many times faster; 0 means 1
	Now       func() time.Time // nil: time.Now
	Dir       string           // where recordings are kept; "": a directory of its own, removed by Close
	Zone      *time.Location   // zone of the server; nil: Europe/Moscow
	Log       *logrus.Entry    // nil: none
}

// Limits are those of the portal's REST. Zero values mean a cloud portal's: 50 requests, 2 a second, 480 s of work per method in ten minutes.
type Limits struct {
	Burst     int
	PerSecond float64
	Operating time.Duration
	Off       bool
}

// Portal is one portal. All its methods may be used at once by several goroutines.
type Portal struct {
	mode    string
	license string
	zone    *time.Location
	now     func() time.Time
	log     *logrus.Entry
	methods map[string]method // by name in lower case
	bucket  *limit.Bucket     // nil: no limits
	work    *limit.Work       // nil: no limits
	secret  []byte            // signs upload tokens
	dir     string
	ownDir  bool
	fetch   *http.Client
	events  event.Book
	life    context.Context // of events on their way
	die     context.CancelFunc
	sending sync.WaitGroup
	slots   chan struct{}

	mu        sync.Mutex // guards what follows
	down      bool
	rules     Rules
	app       *application
	address   string // as http://host; "": not known yet
	renamed   string // host of the portal since it was renamed
	faults    Faults
	random    *mathrand.Rand
	count     Count
	swept     time.Time
	serial    int64 // of CALL_IDs
	live      liveCalls
	stats     statistics
	crm       crm
	users     users
	lines     lines
	records   map[int64]*Record
	lastFile  int64
	happened  []happening
	acting    cause
	changes   int64 // calls of methods so far
	lastWords int64 // id of the last transcription
}

// Count is what clients did so far.
type Count struct {
	HTTP             int            // requests to REST, uploads included
	Uploads          int            // recordings posted to an uploadUrl
	Tokens           int            // requests for tokens
	Events           int            // events posted to handlers
	Commands         int            // commands of batches
	Methods          map[string]int // calls that were worked on, by method, those of batches included
	RefusedBucket    int            // requests refused with QUERY_LIMIT_EXCEEDED
	RefusedOperating int            // calls refused with OPERATION_TIME_LIMIT
	Faults           map[string]int // faults played, by name
}

// New makes a portal. Close it.
func New(o Options) (*Portal, error) {
	p := &Portal{
		mode: o.Mode, zone: o.Zone, now: o.Now, log: o.Log, dir: o.Dir, faults: o.Faults,
		count:   Count{Methods: map[string]int{}, Faults: map[string]int{}},
		secret:  make([]byte, 32),
		records: map[int64]*Record{},
		fetch:   recordFetcher(),
		license: o.License,
		rules:   o.Rules,
	}
	switch p.mode {
	case "":
		p.mode = Simple
	case Simple, Classic:
	default:
		return nil, fmt.Errorf("CRM mode %q is neither %s nor %s", p.mode, Simple, Classic)
	}
	if err := o.Faults.check(); err != nil {
		return nil, err
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		p.log = logrus.NewEntry(l)
	}
	if p.zone == nil {
		z, err := time.LoadLocation("Europe/Moscow")
		if err != nil {
			return nil, fmt.Errorf("server zone: %w", err)
		}
		p.zone = z
	}
	if _, err := rand.Read(p.secret); err != nil {
		return nil, fmt.Errorf("secret of upload tokens: %w", err)
	}
	seed := o.FaultSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	p.random = mathrand.New(mathrand.NewPCG(seed, seed))
	p.life, p.die = context.WithCancel(context.Background())
	p.slots = make(chan struct{}, deliveriesAtOnce)
	if p.license == "" {
		p.license = "pro"
	}
	p.setLimits(o.Limits, o.Speed)
	p.app = p.newApplication(o.App)
	p.methods = allMethods()
	p.swept = p.now()
	p.live = newLiveCalls()
	p.stats = newStatistics()
	p.crm = newCRM()
	p.lines = lines{byNumber: map[lineKey]*line{}}
	if err := p.plantSeed(o.Seed); err != nil {
		return nil, err
	}
	p.crm.happen = p.happenCRM
	if p.dir == "" {
		d, err := os.MkdirTemp("", "sverka-emulator-")
		if err != nil {
			return nil, fmt.Errorf("directory of recordings: %w", err)
		}
		p.dir, p.ownDir = d, true
	} else if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of recordings: %w", err)
	}
	return p, nil
}

// enterprise is the license family whose portals bear more requests.
const enterprise = "ent"

func (p *Portal) setLimits(l Limits, speed float64) {
	if l.Off {
		return
	}
	if l.Burst == 0 {
		l.Burst = 50
		if p.license == enterprise {
			l.Burst = 250
		}
	}
	if l.PerSecond == 0 {
		l.PerSecond = 2
		if p.license == enterprise {
			l.PerSecond = 5
		}
	}
	if l.Operating == 0 {
		l.Operating = 480 * time.Second
	}
	if speed == 0 {
		speed = 1
	}
	clock := limit.NewClock(p.now, speed)
	p.bucket = &limit.Bucket{Clock: clock, Size: l.Burst, Leak: l.PerSecond}
	p.work = &limit.Work{Clock: clock, Limit: l.Operating}
}

// Close gives up the events that are on their way, and removes the recordings if the portal made their directory itself.
func (p *Portal) Close() error {
	p.die()
	p.sending.Wait()
	if !p.ownDir {
		return nil
	}
	return os.RemoveAll(p.dir)
}

// Calls gives the rows of the call statistics in order of ID.
func (p *Portal) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]Call, len(p.stats.rows))
	for i, c := range p.stats.rows {
		out[i] = *c
	}
	return out
}

// Live gives the calls that are registered and not finished, in order of registration.
func (p *Portal) Live() []LiveCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]LiveCall, 0, len(p.live.byID))
	for _, c := range p.live.byID {
		l := c.LiveCall
		l.Shown = slices.Clone(l.Shown)
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b LiveCall) int { return int(a.serial - b.serial) })
	return out
}

// Requests tells what clients did so far.
func (p *Portal) Requests() Count {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.count
	c.Methods, c.Faults = cloneCounts(c.Methods), cloneCounts(c.Faults)
	return c
}

func cloneCounts(m map[string]int) map[string]int {
	out := make(map[string]int, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// SetFaults changes the faults from the next request on. Probabilities that make no sense are taken as they are.
func (p *Portal) SetFaults(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = f
}

// SetDown takes the portal out of service, or back in: while it is down it answers every request with 503 and a page.
func (p *Portal) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// Do calls a method as a request would, without HTTP, faults or limits. Objects are map[string]any, lists and empty maps []any, whole
// numbers int64. The error of the portal is an *Error.
func (p *Portal) Do(ctx context.Context, method string, params map[string]any) (any, error) {
	q := &query{ctx: ctx, args: php.From(params).(*php.Array), base: "http://localhost", by: p.webhookCaller(), free: true}
	a, err := p.call(method, q)
	if err != nil {
		return nil, err
	}
	return php.Plain(a.result), nil
}

// Plant inserts any row into the statistics, and gives it an ID, a CALL_ID and a start if it has none.
func (p *Portal) Plant(c Call) Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.ID == 0 {
		c.ID = p.stats.last + 1
	}
	if c.CallID == "" {
		c.CallID = p.newCallID()
	}
	if c.Start.IsZero() {
		c.Start = p.now()
	}
	c.Start = c.Start.In(p.zone).Truncate(time.Second)
	p.stats.insert(&c)
	return c
}

// Sweep does what the portal's own agent does once in a while: calls that began more than 30 days ago and are not finished are forgotten.
func (p *Portal) Sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep()
}

const (
	sweepEvery = time.Hour
	liveFor    = 30 * 24 * time.Hour // counted from CALL_START_DATE
)

func (p *Portal) sweep() {
	p.swept = p.now()
	for _, c := range p.live.byID {
		if c.Start.Before(p.swept.Add(-liveFor)) {
			p.live.remove(c)
		}
	}
}
