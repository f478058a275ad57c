package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const minimal = `
cdr: {dsn: "sverka:pw@tcp(127.0.0.1:3306)/asteriskcdrdb"}
bitrix24: {webhook: "https://example.bitrix24.ru/rest/1/code/"}
`

// variables gives a getenv of these pairs.
func variables(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// read gives the configuration and the problems without the directory in front.
func read(t *testing.T, text string, getenv func(string) string) (*Config, string) {
	t.Helper()
	path := write(t, text)
	cfg, err := readConfig(path, getenv)
	if err == nil {
		return cfg, ""
	}
	var wrong *configError
	if !errors.As(err, &wrong) {
		t.Fatalf("got %T (%v), want *configError", err, err)
	}
	return nil, strings.ReplaceAll(err.Error(), path, "config.yaml")
}

func configDiff(got, want any) string {
	return cmp.Diff(want, got,
		cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() }),
		cmp.Comparer(func(a, b *regexp.Regexp) bool { return a.String() == b.String() }))
}

// TestExampleIsTheDefaults loads the config.yaml that users start from: what it shows and what leaving keys out gives is the same.
func TestExampleIsTheDefaults(t *testing.T) {
	t.Parallel()
	env := variables("CDR_PASSWORD", "p@ss:/$x", "B24_CODE", "c0de", "AMI_SECRET", "ami", "SVERKA_TOKEN", "tok", "S3_ACCESS_KEY", "ak", "S3_SECRET_KEY", "sk")
	got, err := readConfig("../../config.yaml", env)
	if err != nil {
		t.Fatal(err)
	}
	want, problems := read(t, minimal, variables())
	if problems != "" {
		t.Fatal(problems)
	}
	// What has no default.
	want.CDR.DSN = "sverka:p@ss:/$x@tcp(127.0.0.1:3306)/asteriskcdrdb"
	want.Staging.Endpoint, want.Staging.Bucket, want.Staging.AccessKey, want.Staging.SecretKey = "s3.example.ru", "recordings", "ak", "sk"
	want.Bitrix24.Webhook = "https://example.bitrix24.ru/rest/1/c0de/"
	want.Bitrix24.App.Portal = "https://example.bitrix24.ru"
	want.AMI = &AMIConfig{Address: "127.0.0.1:5038", Username: "sverka", Secret: "ami"}
	want.HTTP.Token = "tok"
	// An empty collection that is written is not nil.
	want.Lines, want.Ignore = []LineConfig{}, IgnoreConfig{Phones: []string{}, DIDs: []string{}}
	want.Employees.Map, want.Employees.Overrides = map[string]int{}, map[string]OverrideConfig{}
	if diff := configDiff(got, want); diff != "" {
		t.Errorf("config.yaml and the defaults differ (-defaults +config.yaml):\n%s", diff)
	}
}

// TestExampleHasEveryKey compares the keys of config.yaml with those of Config, both ways.
func TestExampleHasEveryKey(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keysOf(reflect.TypeFor[Config](), ""), keysIn(tree, "")); diff != "" {
		t.Errorf("keys (-Config +config.yaml):\n%s", diff)
	}
	for i, line := range strings.Split(string(text), "\n") {
		if len(line) > 160 {
			t.Errorf("config.yaml:%d: %d columns", i+1, len(line))
		}
	}
}

func keysOf(t reflect.Type, path string) []string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Location]() || t == reflect.TypeFor[regexp.Regexp]() {
		return []string{path}
	}
	var keys []string
	for i := range t.NumField() {
		keys = append(keys, keysOf(t.Field(i).Type, strings.TrimPrefix(path+"."+t.Field(i).Tag.Get("yaml"), "."))...)
	}
	slices.Sort(keys)
	return keys
}

func keysIn(tree map[string]any, path string) []string {
	var keys []string
	for key, value := range tree {
		at := strings.TrimPrefix(path+"."+key, ".")
		if section, ok := value.(map[string]any); ok && len(section) > 0 {
			keys = append(keys, keysIn(section, at)...)
		} else {
			keys = append(keys, at)
		}
	}
	slices.Sort(keys)
	return keys
}

func TestReadConfigProblems(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, text string
		want       string // all lines
	}{
		{"misspelt key", "timezon: Europe/Moscow" + minimal, `config.yaml:1: unknown key "timezon": did you mean "timezone"?`},
		{
			"misspelt key in a section", "staging:\n  drvier: dir" + minimal,
			`config.yaml:2: unknown key "drvier" in staging: did you mean "driver"?`,
		},
		{
			"misspelt key of a line", "lines:\n- number: '+74951234567'\n  dids: [s]" + minimal,
			`config.yaml:3: unknown key "dids" in lines[0]: did you mean "did"?`,
		},
		{
			"key of another section", "webhook: https://example.bitrix24.ru/rest/1/code/" + minimal,
			`config.yaml:1: unknown key "webhook": did you mean "webhook" in bitrix24?`,
		},
		{
			"key nothing is near to", "digest:\n  colour: red" + minimal,
			`config.yaml:2: unknown key "colour" in digest: known are to`,
		},
		{
			"no space after the colon hides the secret", "ami: {secret:hunter2}" + minimal,
			`config.yaml:1: unknown key "secret:…" in ami: put a space after the colon`,
		},
		{"duplicate key", "site: a\nsite: b" + minimal, `config.yaml:2: key "site" again: it stands in line 1 already`},
		{
			"all at once, in order of lines",
			"language: fr\nhistory: yes\nstaging:\n  max_bytes: lots\n  keep: 7\n  max_byte: 1" + minimal,
			`config.yaml:1: language must be ru or en, not "fr"
config.yaml:2: history must be true or false, not "yes"
config.yaml:4: staging.max_bytes must be a size like 500MB or 20GiB, not "lots"
config.yaml:5: staging.keep must be a time like 30s, 15m, 6h or 7d, not "7"
config.yaml:6: unknown key "max_byte" in staging: did you mean "max_bytes"?`,
		},
		{"zone", "timezone: Europe/Moskow" + minimal, `config.yaml:1: timezone must be a zone like Europe/Moscow, not "Europe/Moskow"`},
		{"zone of this machine", "timezone: Local" + minimal, `config.yaml:1: timezone must be a zone like Europe/Moscow, not "Local"`},
		{"country", "country: Russia" + minimal, `config.yaml:1: country must be a country of two letters like RU`},
		{"site", "site: a/b" + minimal, `config.yaml:1: site must be a short name of letters, digits, spaces and . _ -`},
		{"nothing", "", "config.yaml: cdr.dsn is missing: user:password@tcp(127.0.0.1:3306)/database\n" + webhookMissing},
		{"only comments", "# nothing", "config.yaml: cdr.dsn is missing: user:password@tcp(127.0.0.1:3306)/database\n" + webhookMissing},
		{"a list", "- a", "config.yaml: cdr.dsn is missing: user:password@tcp(127.0.0.1:3306)/database\n" + webhookMissing + "\nconfig.yaml:1: the file must have keys, not a list"},
		{"key without a value", "ami:\nsite:" + minimal, "config.yaml:1: ami has no value: leave the key out, or write {}\nconfig.yaml:2: site has no value: leave the key out, or write '' for an empty text"},
		{"keys for a text", "site: {a: b}" + minimal, "config.yaml:1: site must be a text, not keys"},
		{"text for keys", "crm: all" + minimal, "config.yaml:1: crm must have keys, not a single value"},
		{"text for a list", "lines: 1" + minimal, "config.yaml:1: lines must be a list, not a single value"},
		{"broken YAML", "site: a\n  bad: b" + minimal, "config.yaml:2: mapping values are not allowed in this context"},
		{"two documents", strings.TrimSpace(minimal) + "\n---\nsite: a", "config.yaml:3: a second document: everything stands in one, without ---"},
		{"brace not closed", "site: ${SITE" + minimal, "config.yaml:1: site has ${ without }: write $${ for a literal ${"},
		{"no name", "site: ${A B}" + minimal, "config.yaml:1: site has no name of a variable in ${…}: write $${ for a literal ${"},
		{"variable not set", "site: ${SITE}" + minimal, "config.yaml:1: site: the variable SITE is not set"},
		{
			"variable of S3 not set", "staging:\n  driver: s3\n  endpoint: s3.example.ru\n  bucket: b\n  access_key: ${AK}\n  secret_key: x" + minimal,
			"config.yaml:5: staging.access_key: the variable AK is not set",
		},
		{
			"S3 incomplete", "staging:\n  driver: s3\n  endpoint: https://s3.example.ru" + minimal,
			`config.yaml:1: staging.bucket is missing
config.yaml:1: staging.access_key is missing
config.yaml:1: staging.secret_key is missing
config.yaml:3: staging.endpoint must be host or host:port, without http:// (staging.tls says which)`,
		},
		{"link without S3", "recordings: {delivery: link}" + minimal, "config.yaml:1: recordings.delivery link needs staging.driver s3: the portal cannot reach a directory"},
		{
			"numbers", "employees:\n  fallback: -1\n  map: {'102': 0}\nstaging: {max_bytes: 0}\ncrm: {missed_responsible: 'user:x', create_max_age: -1h}" + minimal,
			`config.yaml:2: employees.fallback must be the id of a user, or 0
config.yaml:3: employees.map.102 must be the id of a user
config.yaml:4: staging.max_bytes must be above zero
config.yaml:5: crm.create_max_age must be a time like 30s, 15m, 6h or 7d, not "-1h"
config.yaml:5: crm.missed_responsible must be an extension, or an employee of the portal like user:17`,
		},
		{
			"override", "employees:\n  overrides:\n    '102': {card: rings, enable: true}" + minimal,
			`config.yaml:3: employees.overrides.102.card must be none or ring or answer, not "rings": did you mean "ring"?
config.yaml:3: unknown key "enable" in employees.overrides.102: did you mean "enabled"?`,
		},
		{
			"lines that claim the same", "lines:\n- {number: '1', did: [s]}\n- {number: '1', did: [t, s]}\n- {name: x}" + minimal,
			`config.yaml:3: lines[1].number is the number of lines[0] already
config.yaml:3: lines[1].did[1] belongs to lines[0] already
config.yaml:4: lines[2].number is missing`,
		},
		{"addresses", "http: {listen: 8025}\nami: {address: localhost}\nclick_to_call: {channel: SIP/1}\ndigest: {to: everybody}" + minimal, `config.yaml:1: http.listen must look like 127.0.0.1:8025
config.yaml:2: ami.address must look like 127.0.0.1:8025
config.yaml:3: click_to_call.channel must hold {extension}
config.yaml:4: digest.to must look like user:17 or chat:42`},
		{
			"a local app alone", "cdr: {driver: sqlite, dsn: cdr.db}\nbitrix24:\n  app: {portal: 'https://example.bitrix24.ru', client_id: local.1, client_secret: x}", "",
		},
		{
			"half a local app", "cdr: {driver: sqlite, dsn: cdr.db}\nbitrix24:\n  app: {client_id: local.1}",
			`config.yaml:3: bitrix24.app.portal is missing: the address of the portal, like https://example.bitrix24.ru
config.yaml:3: bitrix24.app.client_secret is missing: Bitrix24 shows it beside the client_id of the local app`,
		},
		{"cron", "jobs: {verify: ''}" + minimal, "config.yaml:1: jobs.verify must be a cron expression or @every"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, got := read(t, tt.text, variables())
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

const webhookMissing = "config.yaml: bitrix24.webhook is missing: make an incoming webhook in Bitrix24 with the scopes telephony, user and crm"

// TestReadConfigHidesSecrets puts a secret where it does not fit: no problem shows it.
func TestReadConfigHidesSecrets(t *testing.T) {
	t.Parallel()
	const plain = "hunter2"
	tests := []struct{ name, text string }{
		{"webhook over plain http", minimalWith("http://example.bitrix24.ru/rest/1/hunter2/", "")},
		{"webhook without the user", minimalWith("https://example.bitrix24.ru/rest/hunter2/", "")},
		{"webhook that is no address", minimalWith("https://exa mple/rest/1/hunter2/%zz", "")},
		{"webhook with a method", minimalWith("https://example.bitrix24.ru/rest/1/hunter2/profile.json", "")},
		{"webhook as keys", "bitrix24: {webhook: {hunter2: x}}\ncdr: {driver: sqlite, dsn: cdr.db}"},
		{"webhook with a tag", "bitrix24: {webhook: !hunter2 x}\ncdr: {driver: sqlite, dsn: cdr.db}"},
		{"webhook as an alias", "bitrix24: {webhook: *hunter2}\ncdr: {driver: sqlite, dsn: cdr.db}"},
		{"webhook with an anchor", "bitrix24: {webhook: &hunter2 x}\ncdr: {driver: sqlite, dsn: cdr.db}"},
		{"DSN without a database", minimalWith("", "sverka:hunter2@tcp(127.0.0.1:3306)/")},
		{"DSN without a slash", minimalWith("", "sverka:hunter2@tcp(127.0.0.1:3306)")},
		{"DSN with an unknown network", minimalWith("", "sverka:x@hunter2/db")},
		{"DSN cut by a password", minimalWith("", "sverka:x/y?loc=hunter2@tcp(127.0.0.1)")},
		{"DSN from a variable", minimalWith("", "sverka:${PASSWORD}")},
		{"variable in a plain key", "timezone: ${PASSWORD}" + minimal},
		{"variable in a choice", "language: ${PASSWORD}" + minimal},
		{"no space after the colon", "bitrix24: {webhook:https://example.bitrix24.ru/rest/1/hunter2/}\ncdr: {driver: sqlite, dsn: cdr.db}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, got := read(t, tt.text, variables("PASSWORD", plain))
			if got == "" || strings.Contains(got, plain) {
				t.Errorf("got %q, want problems without %s", got, plain)
			}
		})
	}
	cfg, problems := read(t, minimalWith("https://example.bitrix24.ru/rest/1/hunter2/", "sverka:hunter2@tcp(127.0.0.1:3306)/db"), variables())
	if problems != "" {
		t.Fatal(problems)
	}
	if got := fmt.Sprintf("%v %+v %#v %s", cfg, cfg.CDR, cfg.Bitrix24, cfg.Bitrix24.Webhook); strings.Contains(got, plain) {
		t.Errorf("a printed configuration shows a secret: %s", got)
	}
}

func minimalWith(webhook, dsn string) string {
	if webhook == "" {
		webhook = "https://example.bitrix24.ru/rest/1/code/"
	}
	if dsn == "" {
		dsn = "sverka:pw@tcp(127.0.0.1:3306)/asteriskcdrdb"
	}
	return fmt.Sprintf("cdr: {dsn: %q}\nbitrix24: {webhook: %q}\n", dsn, webhook)
}

func TestReadConfigWebhook(t *testing.T) {
	t.Parallel()
	tests := []struct {
		webhook string
		ok      bool
	}{
		{"https://example.bitrix24.ru/rest/1/code/", true},
		{"https://example.bitrix24.ru/rest/1/code", true},
		{"https://crm.example.ru:8443/rest/17/abc123/", true},
		{"http://127.0.0.1:8024/rest/1/demo/", true},
		{"http://localhost:8024/rest/1/demo/", true},
		{"http://[::1]:8024/rest/1/demo/", true},
		{"http://127.0.0.1.example.ru/rest/1/demo/", false},
		{"http://10.0.0.1/rest/1/demo/", false},
		{"ftp://127.0.0.1/rest/1/demo/", false},
		{"example.bitrix24.ru/rest/1/code/", false},
		{"https://example.bitrix24.ru/rest/1/code/profile", false},
		{"https://user:pw@example.bitrix24.ru/rest/1/code/", false},
		{"https:///rest/1/code/", false},
	}
	for _, tt := range tests {
		_, problems := read(t, minimalWith(tt.webhook, ""), variables())
		if (problems == "") != tt.ok {
			t.Errorf("%s: got %q, want accepted: %v", tt.webhook, problems, tt.ok)
		}
	}
}

func TestReadConfigValues(t *testing.T) {
	t.Parallel()
	got, problems := read(t, `
site: ${SITE}-2
country: kz
cdr: {driver: sqlite, schema: mikopbx, dsn: '${DIR}/cdr.db', internal: '^\d{3}$', settle: 1d12h, overlap: 2d}
bitrix24: {webhook: 'http://127.0.0.1:8024/rest/1/${CODE}/', rate: {per_second: 1.5}}
staging: {access_key: '${UNSET}', tls: '${UNSET}', max_bytes: 1.5TiB, keep: 7d}
employees: {map: {0102: 17, 201: "18"}, overrides: {201: {enabled: false}, 202: {card: answer}}, fallback: '${FALLBACK}'}
lines: [{number: +74951234567, did: [74951234567, s]}, {number: '2', enabled: false}]
ami: {secret: '${UNSET}'}
http: {token: 'a$$b$c$'}
`, variables("SITE", "office", "DIR", "/data", "CODE", "demo", "FALLBACK", "0"))
	if problems != "" {
		t.Fatal(problems)
	}
	want, err := defaultConfig()
	if err != nil {
		t.Fatal(err)
	}
	want.Site, want.Country = "office-2", "KZ"
	want.CDR.Driver, want.CDR.Schema, want.CDR.DSN, want.CDR.Table = "sqlite", "mikopbx", "/data/cdr.db", "cdr_general"
	want.CDR.Internal, want.CDR.Settle = regexp.MustCompile(`^\d{3}$`), 36*time.Hour
	want.CDR.Overlap = 48 * time.Hour
	want.Bitrix24.Webhook, want.Bitrix24.Rate.PerSecond = "http://127.0.0.1:8024/rest/1/demo/", 1.5
	want.Staging.MaxBytes = 3 << 39
	want.Employees.Map = map[string]int{"0102": 17, "201": 18}
	want.Employees.Overrides = map[string]OverrideConfig{"201": {}, "202": {Card: "answer", Enabled: true}}
	want.Employees.Fallback = 0
	want.Lines = []LineConfig{{Number: "+74951234567", DID: []string{"74951234567", "s"}, Enabled: true}, {Number: "2"}}
	want.AMI = &AMIConfig{Address: "127.0.0.1:5038", Username: "sverka"}
	want.HTTP.Token = "a$b$c$"
	if diff := configDiff(got, want); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"60s", time.Minute, true},
		{"6h", 6 * time.Hour, true},
		{"7d", 168 * time.Hour, true},
		{"1d12h30m", 36*time.Hour + 30*time.Minute, true},
		{"800ms", 800 * time.Millisecond, true},
		{"0", 0, true},
		{"0s", 0, true},
		{"", 0, false},
		{"7", 0, false},
		{"d", 0, false},
		{"-1d", 0, false},
		{"1d-1h", 0, false},
		{"-1h", 0, false},
		{"1d+1h", 0, false},
		{"1.5d", 0, false},
		{"99999999d", 0, false},
		{"99999d2562047h", 0, false},
		{"1h1d", 0, false},
	}
	for _, tt := range tests {
		got, err := parseDuration(tt.text)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("parseDuration(%q) = %v, %v; want %v, accepted: %v", tt.text, got, err, tt.want, tt.ok)
		}
	}
}

func TestFindConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, second := filepath.Join(dir, "config.yaml"), filepath.Join(dir, "etc", "config.yaml")
	_, err := firstFile(first, second)
	if want := "no configuration: looked for " + first + " and " + second + "; name a file with --config"; !errors.Is(err, errNoConfig) || err.Error() != want {
		t.Errorf("no file: got %v, want %s", err, want)
	}
	for _, path := range []string{second, first} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := firstFile(first, second); err != nil || got != path {
			t.Errorf("got %s, %v; want %s", got, err, path)
		}
	}
	if got, err := findConfig(second); err != nil || got != second {
		t.Errorf("a given file: got %s, %v; want %s", got, err, second)
	}
	if _, err := readConfig(filepath.Join(dir, "absent.yaml"), variables()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("named file that is absent: got %v, want it to say so", err)
	}
}

// FuzzReadConfig looks for a file that makes reading panic or show the value of a variable.
func FuzzReadConfig(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("site: ${SECRET}\nlines: [{did: ${SECRET}}]\n? {a: b}\n: c"))
	f.Add([]byte("a: &a [*a]\n<<: *a\nami: !!binary x\n---\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := write(t, string(text))
		_, err := readConfig(path, func(string) string { return "zq8-secret-zq8" })
		if err != nil && strings.Contains(err.Error(), "zq8-secret-zq8") {
			t.Errorf("shows a variable: %v", err)
		}
	})
}
