package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"go.yaml.in/yaml/v3"
)

// errNoConfig says that no configuration file was found where one is looked for.
var errNoConfig = errors.New("no configuration")

// configError lists everything that is wrong with a configuration file. It shows values as the file has them, so never what a variable
// holds, and no value of a secret at all.
type configError struct {
	File     string
	Problems []configProblem // in order of lines
}

type configProblem struct {
	Line int // 0: of no line, something is missing
	Text string
}

func (e *configError) Error() string {
	lines := make([]string, 0, len(e.Problems))
	for _, p := range e.Problems {
		if p.Line > 0 {
			lines = append(lines, fmt.Sprintf("%s:%d: %s", e.File, p.Line, p.Text))
		} else {
			lines = append(lines, fmt.Sprintf("%s: %s", e.File, p.Text))
		}
	}
	return strings.Join(lines, "\n")
}

// readConfig reads and checks the configuration in path. getenv gives the variables that the file names as ${NAME}. A wrong file gives one
// *configError with all that is wrong.
func readConfig(path string, getenv func(string) string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	cfg, err := defaultConfig()
	if err != nil {
		return nil, fmt.Errorf("default configuration: %w", err)
	}
	r := &configReader{getenv: getenv, lines: map[string]int{}, failed: map[string]bool{}}
	if root := r.parse(text); root != nil {
		r.value(root, reflect.ValueOf(cfg).Elem(), "")
		r.complete(cfg)
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b configProblem) int { return cmp.Compare(a.Line, b.Line) })
		return nil, &configError{File: path, Problems: r.problems}
	}
	return cfg, nil
}

// findConfig gives the path of the configuration: the given one, else config.yaml here, else /etc/sverka/config.yaml; errNoConfig if none
// is there.
func findConfig(given string) (string, error) {
	if given != "" {
		return given, nil
	}
	return firstFile("config.yaml", "/etc/sverka/config.yaml")
}

func firstFile(places ...string) (string, error) {
	looked := make([]string, 0, len(places))
	for _, place := range places {
		_, err := os.Stat(place)
		if err == nil {
			return place, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("look for configuration: %w", err)
		}
		if abs, err := filepath.Abs(place); err == nil {
			place = abs
		}
		looked = append(looked, place)
	}
	return "", fmt.Errorf("%w: looked for %s; name a file with --config", errNoConfig, strings.Join(looked, " and "))
}

// configReader walks the YAML tree beside the Config and keeps what is wrong.
type configReader struct {
	getenv   func(string) string
	lines    map[string]int  // line of each key that the file has, by path
	failed   map[string]bool // paths whose problem is known, so that one mistake is told once
	problems []configProblem
	unset    []unsetVariable
}

// unsetVariable is a ${NAME} of a variable that is not set. Whether that is wrong shows when all sections are read.
type unsetVariable struct {
	path, name string
	line       int
}

func (r *configReader) bad(line int, format string, args ...any) {
	r.problems = append(r.problems, configProblem{Line: line, Text: fmt.Sprintf(format, args...)})
}

// badValue is bad for the value of a key.
func (r *configReader) badValue(node *yaml.Node, path, format string, args ...any) {
	r.failed[path] = true
	r.bad(node.Line, "%s %s", cmp.Or(path, "the file"), fmt.Sprintf(format, args...))
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	yamlAnchor = regexp.MustCompile(`unknown anchor '.*' referenced`)
)

// parse gives the top node, empty for an empty file, nil if the file is no YAML.
func (r *configReader) parse(text []byte) *yaml.Node {
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	var doc, second yaml.Node
	err := decoder.Decode(&doc)
	if err == nil {
		if next := decoder.Decode(&second); next == nil {
			r.bad(second.Line, "a second document: everything stands in one, without ---")
		} else if !errors.Is(next, io.EOF) {
			err = next
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return &yaml.Node{Kind: yaml.MappingNode}
	case err != nil:
		m := yamlLine.FindStringSubmatch(err.Error())
		if m == nil {
			r.bad(0, "no YAML")
			return nil
		}
		line, _ := strconv.Atoi(m[1])
		// The name of the anchor may be a password that begins with an asterisk.
		r.bad(line, "%s", yamlAnchor.ReplaceAllString(m[2], "a text that begins with * or & needs quotes"))
		return nil
	}
	return doc.Content[0]
}

// value reads node into v, whose key has the given path.
func (r *configReader) value(node *yaml.Node, v reflect.Value, path string) {
	switch {
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		r.badValue(node, path, "must not use anchors and aliases: put a text that begins with * or & in quotes")
	case node.Style&yaml.TaggedStyle != 0:
		r.badValue(node, path, "must not have a tag: put a text that begins with ! in quotes")
	case isText(v.Type()):
		r.scalar(node, v, path)
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null" && path != "":
		r.badValue(node, path, "has no value: leave the key out, or write %s", emptyOf(v.Kind()))
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		// A file of comments: complete says what is missing.
	case v.Kind() == reflect.Slice && node.Kind != yaml.SequenceNode:
		r.badValue(node, path, "must be a list, not %s", kindOf(node))
	case v.Kind() == reflect.Slice:
		items := reflect.MakeSlice(v.Type(), len(node.Content), len(node.Content))
		for i, item := range node.Content {
			at := fmt.Sprintf("%s[%d]", path, i)
			r.lines[at] = item.Line
			setDefaults(items.Index(i))
			r.value(item, items.Index(i), at)
		}
		v.Set(items)
	case node.Kind != yaml.MappingNode:
		r.badValue(node, path, "must have keys, not %s", kindOf(node))
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		r.pairs(node, path, func(key, item *yaml.Node, at string) {
			element := reflect.New(v.Type().Elem()).Elem()
			setDefaults(element)
			r.value(item, element, at)
			v.SetMapIndex(reflect.ValueOf(key.Value), element)
		})
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setDefaults(v.Elem())
		r.fields(node, v.Elem(), path)
	default:
		r.fields(node, v, path)
	}
}

// fields reads the keys of a section.
func (r *configReader) fields(node *yaml.Node, v reflect.Value, path string) {
	known := fieldsOf(v.Type())
	r.pairs(node, path, func(key, item *yaml.Node, at string) {
		i, ok := known[key.Value]
		if !ok {
			r.unknown(key, path, known)
			return
		}
		r.value(item, v.Field(i), at)
		words := strings.Fields(v.Type().Field(i).Tag.Get("oneof"))
		if len(words) == 0 || r.failed[at] || slices.Contains(words, v.Field(i).String()) {
			return
		}
		hint := ""
		if near := nearest(item.Value, words); near != "" {
			hint = fmt.Sprintf(": did you mean %q?", near)
		}
		r.badValue(item, at, "must be %s, not %q%s", strings.Join(words, " or "), item.Value, hint)
	})
}

// pairs gives each key and value of a mapping once.
func (r *configReader) pairs(node *yaml.Node, path string, yield func(key, item *yaml.Node, path string)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, item := node.Content[i], node.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Anchor != "" {
			r.bad(key.Line, "a key must be a plain text")
			continue
		}
		if first, ok := seen[key.Value]; ok {
			r.bad(key.Line, "key %q again: it stands in line %d already", shownKey(key.Value), first)
			continue
		}
		seen[key.Value] = key.Line
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		r.lines[at] = key.Line
		yield(key, item, at)
	}
}

func (r *configReader) unknown(key *yaml.Node, section string, known map[string]int) {
	text := fmt.Sprintf("unknown key %q", shownKey(key.Value))
	if section != "" {
		text += " in " + section
	}
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	if shown := shownKey(key.Value); shown != key.Value {
		text += ": put a space after the colon"
	} else if near := nearest(key.Value, names); near != "" {
		text += fmt.Sprintf(": did you mean %q?", near)
	} else if home := homeOf(key.Value); home != "" && home != section {
		text += fmt.Sprintf(": did you mean %q in %s?", key.Value, home)
	} else {
		text += ": known are " + strings.Join(names, ", ")
	}
	r.bad(key.Line, "%s", text)
}

// shownKey hides what follows a colon in a key: {secret:abc} without a space is one key that holds the secret.
func shownKey(key string) string {
	if name, _, ok := strings.Cut(key, ":"); ok {
		return name + ":…"
	}
	return key
}

// homeOf gives the section that knows a key of the top level, "" if none does.
func homeOf(key string) string {
	top := reflect.TypeFor[Config]()
	for i := range top.NumField() {
		field := top.Field(i)
		section := field.Type
		if section.Kind() == reflect.Pointer {
			section = section.Elem()
		}
		if section.Kind() != reflect.Struct || isText(field.Type) {
			continue
		}
		if _, ok := fieldsOf(section)[key]; ok {
			return field.Tag.Get("yaml")
		}
	}
	return ""
}

// scalar reads a text into v after putting in the variables. It shows node.Value in problems, which is what the file says.
func (r *configReader) scalar(node *yaml.Node, v reflect.Value, path string) {
	if node.Kind != yaml.ScalarNode {
		r.badValue(node, path, "must be %s, not %s", wanted(v), kindOf(node))
		return
	}
	if node.Tag == "!!null" {
		r.badValue(node, path, "has no value: leave the key out, or write '' for an empty text")
		return
	}
	text, missing, err := expand(node.Value, r.getenv)
	if err != nil {
		r.badValue(node, path, "has %v", err)
		return
	}
	if len(missing) > 0 {
		r.failed[path] = true
		for _, name := range missing {
			r.unset = append(r.unset, unsetVariable{path: path, name: name, line: node.Line})
		}
		if v.Kind() == reflect.String {
			v.SetString("")
		}
		return
	}
	if err := set(v, text); err != nil {
		r.badValue(node, path, "must be %s, not %q", wanted(v), node.Value)
	}
}

// set gives v the value that text stands for, or leaves it as it is.
func set(v reflect.Value, text string) error {
	var value any
	var err error
	switch v.Interface().(type) {
	case time.Duration:
		value, err = parseDuration(text)
	case Size:
		var size uint64
		if size, err = humanize.ParseBytes(text); size > math.MaxInt64 {
			err = strconv.ErrRange
		}
		value = Size(size)
	case *time.Location:
		if text == "" || text == "Local" { // LoadLocation takes them for UTC and the zone of this machine.
			return errors.New("no name of a zone")
		}
		value, err = time.LoadLocation(text)
	case *regexp.Regexp:
		value, err = regexp.Compile(text)
	case bool:
		value = text == "true"
		if text != "true" && text != "false" {
			err = strconv.ErrSyntax
		}
	case int:
		value, err = strconv.Atoi(text)
	case float64:
		value, err = strconv.ParseFloat(text, 64)
	default:
		v.SetString(text)
		return nil
	}
	if err == nil {
		v.Set(reflect.ValueOf(value))
	}
	return err
}

// wanted says in words what set takes.
func wanted(v reflect.Value) string {
	switch v.Interface().(type) {
	case time.Duration:
		return "a time like 30s, 15m, 6h or 7d"
	case Size:
		return "a size like 500MB or 20GiB"
	case *time.Location:
		return "a zone like Europe/Moscow"
	case *regexp.Regexp:
		return "a regular expression"
	case bool:
		return "true or false"
	case int:
		return "a whole number"
	case float64:
		return "a number"
	default:
		return "a text"
	}
}

var (
	variable  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	bareDays  = regexp.MustCompile(`^(\d{1,5})d(.*)$`)
	errNoUnit = errors.New("a time has a unit, like 30s, 15m, 6h or 7d")
)

// expand puts in the values of ${NAME}. $$ is a literal $, and so is a $ before anything but a brace. It works on a value after YAML was
// parsed, so a variable can hold any character. missing names the variables that are not set or empty.
func expand(text string, getenv func(string) string) (expanded string, missing []string, err error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		switch {
		case !found:
			return b.String(), missing, nil
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			text = after[1:]
		case !strings.HasPrefix(after, "{"):
			b.WriteByte('$')
			text = after
		default:
			name, rest, closed := strings.Cut(after[1:], "}")
			if !closed {
				return "", nil, errors.New("${ without }: write $${ for a literal ${")
			}
			if !variable.MatchString(name) {
				return "", nil, errors.New("no name of a variable in ${…}: write $${ for a literal ${")
			}
			value := getenv(name)
			if value == "" {
				missing = append(missing, name)
			}
			b.WriteString(value)
			text = rest
		}
	}
}

// parseDuration reads what time.ParseDuration reads, and days before it: 90s, 6h, 7d, 1d12h. Never below zero.
func parseDuration(text string) (time.Duration, error) {
	var days time.Duration
	rest := text
	if m := bareDays.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return 0, errNoUnit
		}
		days, rest = time.Duration(n)*24*time.Hour, cmp.Or(m[2], "0s")
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days+d < 0 || strings.HasPrefix(rest, "+") {
		return 0, errNoUnit
	}
	return days + d, nil
}

// isText reports whether a type is written as one text in YAML.
func isText(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[*time.Location](), reflect.TypeFor[*regexp.Regexp]():
		return true
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Pointer:
		return false
	}
	return true
}

// fieldsOf gives the index of each key of a section.
func fieldsOf(t reflect.Type) map[string]int {
	known := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		known[t.Field(i).Tag.Get("yaml")] = i
	}
	return known
}

func setDefaults(v reflect.Value) {
	if d, ok := v.Addr().Interface().(interface{ setDefaults() }); ok {
		d.setDefaults()
	}
}

func kindOf(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "keys"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}

func emptyOf(kind reflect.Kind) string {
	if kind == reflect.Slice {
		return "[]"
	}
	return "{}"
}

// nearest gives the word that text is most probably a misspelling of, "" if none is near.
func nearest(text string, words []string) string {
	best, bestDistance := "", max(1, min(3, len(text)/2))+1
	for _, word := range words {
		if d := distance(strings.ToLower(text), word); d < bestDistance {
			best, bestDistance = word, d
		}
	}
	return best
}

// distance counts the letters to change, add, drop or swap with their neighbour to make b of a.
func distance(a, b string) int {
	var before, last []int
	current := make([]int, len(b)+1)
	for j := range current {
		current[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, current = last, current, make([]int, len(b)+1)
		current[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			current[j] = min(replace, last[j]+1, current[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
	}
	return current[len(b)]
}
