package main

import (
	"regexp"
	"time"

	"sverka/internal/secret"
)

// Config is config.yaml, key by key. readConfig fills it; what the file leaves out has the value of defaultConfig.
//
// Relative paths are relative to the working directory, not to the file: a service unit names its directory, a shell is in one.
type Config struct {
	Site     string         `yaml:"site"`     // label in reports, metrics and the ledger, part of staged names
	Timezone *time.Location `yaml:"timezone"` // of the PBX's clock
	Country  string         `yaml:"country"`  // ISO 3166-1 alpha-2, upper case
	Language string         `yaml:"language" oneof:"ru en"`
	History  bool           `yaml:"history"`

	CDR         CDRConfig         `yaml:"cdr"`
	Recordings  RecordingsConfig  `yaml:"recordings"`
	Staging     StagingConfig     `yaml:"staging"`
	Bitrix24    Bitrix24Config    `yaml:"bitrix24"`
	CRM         CRMConfig         `yaml:"crm"`
	Employees   EmployeesConfig   `yaml:"employees"`
	Lines       []LineConfig      `yaml:"lines"`
	Ignore      IgnoreConfig      `yaml:"ignore"`
	AMI         *AMIConfig        `yaml:"ami"` // nil: no realtime path
	Routing     RoutingConfig     `yaml:"routing"`
	ClickToCall ClickToCallConfig `yaml:"click_to_call"`
	Ledger      LedgerConfig      `yaml:"ledger"`
	HTTP        HTTPConfig        `yaml:"http"`
	Jobs        JobsConfig        `yaml:"jobs"`
	Digest      DigestConfig      `yaml:"digest"`
}

// CDRConfig says where the PBX keeps its calls.
type CDRConfig struct {
	Driver   string         `yaml:"driver" oneof:"mysql sqlite"`
	Schema   string         `yaml:"schema" oneof:"asterisk mikopbx"`
	DSN      secret.Text    `yaml:"dsn"`      // mysql: user:password@tcp(host:port)/database; sqlite: path of the file
	Table    string         `yaml:"table"`    // cdr, for mikopbx cdr_general
	CEL      string         `yaml:"cel"`      // "" for never
	Internal *regexp.Regexp `yaml:"internal"` // matches extensions
	Settle   time.Duration  `yaml:"settle"`
	Overlap  time.Duration  `yaml:"overlap"`
}

// RecordingsConfig says where the recordings lie and what becomes of them.
type RecordingsConfig struct {
	Dir      string        `yaml:"dir"`
	Settle   time.Duration `yaml:"settle"`
	Format   string        `yaml:"format" oneof:"mp3 keep"`
	Delivery string        `yaml:"delivery" oneof:"push link"`
}

// StagingConfig says where recordings wait for the portal. Endpoint to PublicURL matter with driver s3 only.
type StagingConfig struct {
	Driver    string        `yaml:"driver" oneof:"dir s3"`
	Dir       string        `yaml:"dir"`
	Endpoint  string        `yaml:"endpoint"` // host or host:port
	Bucket    string        `yaml:"bucket"`
	Region    string        `yaml:"region"`
	AccessKey secret.Text   `yaml:"access_key"`
	SecretKey secret.Text   `yaml:"secret_key"`
	Session   secret.Text   `yaml:"session_token"` // of temporary keys
	TLS       bool          `yaml:"tls"`
	CAFile    string        `yaml:"ca_file"`
	Style     string        `yaml:"style" oneof:"auto path virtual"` // where a request names the bucket
	PublicURL string        `yaml:"public_url"`
	Keep      time.Duration `yaml:"keep"`
	MaxBytes  Size          `yaml:"max_bytes"`
}

// Size is a number of bytes, written like 20GiB or 500MB.
type Size int64

// Bitrix24Config says which portal, and how fast it may be asked.
type Bitrix24Config struct {
	Webhook secret.Text `yaml:"webhook"` // https://host/rest/<user>/<code>/
	App     AppConfig   `yaml:"app"`
	Rate    RateConfig  `yaml:"rate"`
	Events  string      `yaml:"events" oneof:"webhook offline"`
}

// AppConfig is a local application of the portal. It is given when ClientID is not empty.
type AppConfig struct {
	Portal       string      `yaml:"portal"`
	ClientID     string      `yaml:"client_id"`
	ClientSecret secret.Text `yaml:"client_secret"`
	OAuth        string      `yaml:"oauth"`
}

// RateConfig is the portal's leaky bucket: Burst requests at once, PerSecond in the long run.
type RateConfig struct {
	Burst     int     `yaml:"burst"`
	PerSecond float64 `yaml:"per_second"`
}

// CRMConfig says what the portal makes of a call in the CRM.
type CRMConfig struct {
	Create            string        `yaml:"create" oneof:"all incoming outgoing none"`
	CreateMaxAge      time.Duration `yaml:"create_max_age"`
	MissedResponsible string        `yaml:"missed_responsible"` // "", an extension or user:17
}

// EmployeesConfig says which employee of the portal an extension is.
type EmployeesConfig struct {
	Map       map[string]int            `yaml:"map"`      // extension: user id
	Fallback  int                       `yaml:"fallback"` // user id; 0: such a call waits as the gap unmapped
	Card      string                    `yaml:"card" oneof:"none ring answer"`
	Overrides map[string]OverrideConfig `yaml:"overrides"` // by extension
}

// OverrideConfig is what differs for one extension.
type OverrideConfig struct {
	Card    string `yaml:"card" oneof:"none ring answer"` // "": as EmployeesConfig.Card
	Enabled bool   `yaml:"enabled"`                       // true when left out
}

func (c *OverrideConfig) setDefaults() { c.Enabled = true }

// LineConfig is one of our own numbers.
type LineConfig struct {
	Number  string   `yaml:"number"`
	Name    string   `yaml:"name"`
	DID     []string `yaml:"did"`     // how the PBX writes the number
	Enabled bool     `yaml:"enabled"` // true when left out; false: its calls are ignored
}

func (c *LineConfig) setDefaults() { c.Enabled = true }

// IgnoreConfig names calls that are not sent; * is a wildcard.
type IgnoreConfig struct {
	Phones []string `yaml:"phones"`
	DIDs   []string `yaml:"dids"`
}

// AMIConfig says how to reach the Asterisk Manager Interface.
type AMIConfig struct {
	Address  string      `yaml:"address"`
	Username string      `yaml:"username"`
	Secret   secret.Text `yaml:"secret"`
}

func (c *AMIConfig) setDefaults() { c.Address, c.Username = "127.0.0.1:5038", "sverka" }

// RoutingConfig says how a caller reaches the own manager.
type RoutingConfig struct {
	Enabled  bool          `yaml:"enabled"`
	Ring     time.Duration `yaml:"ring"`
	Deadline time.Duration `yaml:"deadline"`
	Workday  bool          `yaml:"workday"`
}

// ClickToCallConfig says how a call that an employee asks for in the portal is dialled.
type ClickToCallConfig struct {
	Channel       string        `yaml:"channel"` // {extension} stands for the employee's
	Context       string        `yaml:"context"`
	Ring          time.Duration `yaml:"ring"`
	CallbackQueue string        `yaml:"callback_queue"`
}

// LedgerConfig says where the steps of delivery are kept, and for how long.
type LedgerConfig struct {
	Driver string        `yaml:"driver" oneof:"sqlite mysql"`
	DSN    secret.Text   `yaml:"dsn"` // sqlite: path of the file; mysql: as CDRConfig.DSN
	Keep   time.Duration `yaml:"keep"`
}

// HTTPConfig says where dashboard, metrics and the portal's events are served.
type HTTPConfig struct {
	Listen    string      `yaml:"listen"`
	PublicURL string      `yaml:"public_url"`
	Token     secret.Text `yaml:"token"`
}

// JobsConfig holds a cron expression, with seconds allowed, or @every for each job.
type JobsConfig struct {
	Reconcile  string `yaml:"reconcile"`
	Recordings string `yaml:"recordings"`
	Verify     string `yaml:"verify"`
	Audit      string `yaml:"audit"`
	Employees  string `yaml:"employees"`
	Prune      string `yaml:"prune"`
	Digest     string `yaml:"digest"`
}

// DigestConfig says who gets the digest: user:17 or chat:42 of the portal, "" for nobody.
type DigestConfig struct {
	To string `yaml:"to"`
}

// defaultConfig gives the values of the keys that config.yaml leaves out. What only a site can know (the webhook, the DSN of the CDR,
// S3, secrets) has none.
func defaultConfig() (*Config, error) {
	zone, err := time.LoadLocation("Europe/Moscow")
	if err != nil {
		return nil, err
	}
	return &Config{
		Site:     "office",
		Timezone: zone,
		Country:  "RU",
		Language: "ru",
		History:  true,
		CDR: CDRConfig{
			Driver:   "mysql",
			Schema:   "asterisk",
			Table:    "cdr",
			CEL:      "cel",
			Internal: regexp.MustCompile(`^\d{2,4}$`),
			Settle:   time.Minute,
			Overlap:  6 * time.Hour,
		},
		Recordings: RecordingsConfig{Dir: "/var/spool/asterisk/monitor", Settle: 5 * time.Second, Format: "mp3", Delivery: "push"},
		Staging: StagingConfig{
			Driver:   "dir",
			Dir:      "/var/lib/sverka/staging",
			TLS:      true,
			Style:    "auto",
			Keep:     7 * 24 * time.Hour,
			MaxBytes: 20 << 30,
		},
		Bitrix24: Bitrix24Config{
			App:    AppConfig{OAuth: "https://oauth.bitrix.info"},
			Rate:   RateConfig{Burst: 50, PerSecond: 2},
			Events: "webhook",
		},
		CRM:         CRMConfig{Create: "all", CreateMaxAge: 24 * time.Hour},
		Employees:   EmployeesConfig{Fallback: 1, Card: "ring"},
		Routing:     RoutingConfig{Ring: 20 * time.Second, Deadline: 800 * time.Millisecond},
		ClickToCall: ClickToCallConfig{Channel: "Local/{extension}@from-internal", Context: "from-internal", Ring: 30 * time.Second},
		Ledger:      LedgerConfig{Driver: "sqlite", DSN: "/var/lib/sverka/ledger.db", Keep: 365 * 24 * time.Hour},
		HTTP:        HTTPConfig{Listen: "127.0.0.1:8025"},
		Jobs: JobsConfig{
			Reconcile:  "@every 30s",
			Recordings: "@every 30s",
			Verify:     "*/15 * * * *",
			Audit:      "30 2 * * *",
			Employees:  "*/5 * * * *",
			Prune:      "15 4 * * *",
			Digest:     "0 9 * * *",
		},
	}, nil
}
