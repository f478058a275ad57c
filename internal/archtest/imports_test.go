// Package archtest holds the direction of the project's imports: a noun says what a thing is and does no I/O, the technology package below
// it does the I/O, and only cmd sees everything.
package archtest_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const module = "sverka"

// rule says what a package may import beside the standard library.
type rule struct {
	imports []string // packages of this module; "*" for all but those for tests
	pure    bool     // no module of others, and nothing of the standard library that reaches a disk, a network, a process or a log
}

// rules has a row for each package of the project.
func rules() map[string]rule {
	nouns := []string{"cdr", "internal/portal", "internal/ledger", "internal/reconcile"}
	with := func(more ...string) []string { return append(slices.Clone(nouns), more...) }
	return map[string]rule{
		"cdr":                            {pure: true},
		"internal/portal":                {pure: true, imports: []string{"internal/secret"}},
		"internal/secret":                {pure: true},
		"internal/ledger":                {pure: true, imports: []string{"cdr", "internal/portal"}},
		"internal/reconcile":             {pure: true, imports: []string{"cdr", "internal/portal", "internal/ledger"}},
		"internal/report":                {imports: []string{"internal/reconcile"}},
		"internal/deliver":               {imports: nouns},
		"internal/ledger/sqlite":         {imports: with("internal/secret")},
		"internal/phone":                 {},
		"internal/portal/bitrix24":       {imports: []string{"internal/portal", "internal/secret", "internal/portal/bitrix24/limit", "internal/portal/bitrix24/wire"}},
		"internal/portal/bitrix24/limit": {},
		"internal/portal/bitrix24/wire":  {},
		"cdr/cdrdb":                      {imports: []string{"cdr"}},
		"internal/web":                   {imports: []string{"internal/portal", "internal/secret"}},
		"uploader":                       {imports: with("uploader/audio")},
		"uploader/audio":                 {},
		"uploader/dir":                   {imports: []string{"uploader"}},
		"uploader/s3":                    {imports: []string{"uploader", "internal/secret"}},
		"jobs":                           {imports: with("internal/deliver", "internal/report")},
		"internal/emulator":              {imports: []string{"internal/emulator/event", "internal/emulator/limit", "internal/emulator/oauth", "internal/emulator/php"}},
		"internal/emulator/event":        {},
		"internal/emulator/limit":        {},
		"internal/emulator/oauth":        {},
		"internal/emulator/php":          {},
		"internal/demo":                  {imports: with("internal/emulator")},
		"cmd/sverka":                     {imports: []string{"*"}},
		"internal/ledger/ledgertest":     {imports: nouns},
		"internal/mariadbtest":           {},
		"internal/miniotest":             {},
		"internal/pbxtest":               {imports: []string{"cdr"}},
		"uploader/storetest":             {imports: []string{"uploader"}},
	}
}

// forTests are packages that only tests import.
func forTests() []string {
	return []string{"internal/ledger/ledgertest", "internal/mariadbtest", "internal/miniotest", "internal/pbxtest", "uploader/storetest"}
}

func TestImports(t *testing.T) {
	t.Parallel()
	found, err := imports(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no package found")
	}
	for _, breach := range breaches(found, rules()) {
		t.Error(breach)
	}
}

// imports gives the imports of each package, by directory. It parses the files itself: the answer of go list would be served from the test
// cache after a breach. Files for tests are left out, files for other systems are not.
func imports(root fs.FS) (map[string][]string, error) {
	found := map[string][]string{}
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("parse %s: %w", name, err)
		}
		dir := path.Dir(name)
		found[dir] = append(found[dir], "")
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("parse %s: %w", name, err)
			}
			found[dir] = append(found[dir], imported)
		}
		return nil
	})
	for dir := range found {
		slices.Sort(found[dir])
		found[dir] = slices.Compact(found[dir])[1:] // Without the "" that stands for a package that imports nothing.
	}
	return found, err
}

// breaches gives what packages import against the rules, packages without a rule and rules without a package.
func breaches(found map[string][]string, rules map[string]rule) []string {
	var out []string
	for _, dir := range slices.Sorted(maps.Keys(found)) {
		r, ok := rules[dir]
		if !ok {
			out = append(out, fmt.Sprintf("%s has no row in the table of imports", dir))
			continue
		}
		for _, imported := range found[dir] {
			ours, inside := strings.CutPrefix(imported, module+"/")
			first, _, _ := strings.Cut(imported, "/")
			switch {
			case inside && slices.Contains(forTests(), ours):
				out = append(out, fmt.Sprintf("%s imports %s, which is for tests", dir, ours))
			case inside && !slices.Contains(r.imports, ours) && !slices.Contains(r.imports, "*"):
				out = append(out, fmt.Sprintf("%s imports %s", dir, ours))
			case !inside && r.pure && strings.Contains(first, "."):
				out = append(out, fmt.Sprintf("%s is pure and imports %s", dir, imported))
			case !inside && r.pure && reaches(imported):
				out = append(out, fmt.Sprintf("%s is pure and imports %s, which does I/O", dir, imported))
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(rules)) {
		if _, ok := found[dir]; !ok {
			out = append(out, fmt.Sprintf("%s has a row in the table of imports and no files", dir))
		}
	}
	return out
}

// reaches reports whether a package of the standard library reaches out of the process.
func reaches(imported string) bool {
	first, rest, _ := strings.Cut(imported, "/")
	switch first {
	case "os", "log", "database", "syscall", "unsafe", "plugin", "testing", "C":
		return true
	case "net":
		return rest != "url" && rest != "netip"
	}
	return false
}

// TestBreaches plants breaches of each sort.
func TestBreaches(t *testing.T) {
	t.Parallel()
	file := func(imports ...string) *fstest.MapFile {
		text := "package p\n"
		for _, imported := range imports {
			text += fmt.Sprintf("import _ %q\n", imported)
		}
		return &fstest.MapFile{Data: []byte(text)}
	}
	found, err := imports(fstest.MapFS{
		"cdr/a.go":                  file("time", "net/url"),
		"cdr/b.go":                  file("net/http"),
		"cdr/c.go":                  file("example.org/x"),
		"cdr/a_test.go":             file("sverka/jobs", "os"),
		"cdr/testdata/x/x.go":       file("sverka/jobs"),
		".git/x.go":                 file("sverka/jobs"),
		"internal/portal/a.go":      file("sverka/cdr", "fmt"),
		"jobs/a.go":                 file("sverka/cdr/cdrdb", "sverka/cdr", "example.org/x"),
		"cmd/sverka/a_windows.go":   file("sverka/jobs", "sverka/cdr/cdrdb", "os"),
		"cmd/sverka/b.go":           file("sverka/internal/mariadbtest"),
		"internal/util/a.go":        file(),
		"internal/mariadbtest/a.go": file("os"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := breaches(found, map[string]rule{
		"cdr":                  {pure: true},
		"cdr/cdrdb":            {imports: []string{"cdr"}},
		"internal/portal":      {pure: true},
		"jobs":                 {imports: []string{"cdr"}},
		"cmd/sverka":           {imports: []string{"*"}},
		"internal/mariadbtest": {},
	})
	want := []string{
		"cdr is pure and imports example.org/x",
		"cdr is pure and imports net/http, which does I/O",
		"cmd/sverka imports internal/mariadbtest, which is for tests",
		"internal/portal imports cdr",
		"internal/util has no row in the table of imports",
		"jobs imports cdr/cdrdb",
		"cdr/cdrdb has a row in the table of imports and no files",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("breaches (-want +got):\n%s", diff)
	}
}
