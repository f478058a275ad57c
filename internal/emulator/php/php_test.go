package php_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator/php"
)

func TestParseQuery(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                         `[]`,
		"a=1&b=x+y%20z":            `{"a":"1","b":"x y z"}`,
		"a[b]=1&a[c][d]=2":         `{"a":{"b":"1","c":{"d":"2"}}}`,
		"a[]=1&a[]=2":              `{"a":["1","2"]}`,
		"a[0]=1&a[2]=2&a[]=3":      `{"a":{"0":"1","2":"2","3":"3"}}`,
		"a%5Bb%5D=%D0%AF":          `{"a":{"b":"Я"}}`,
		"a[>ID]=5":                 `{"a":{"\u003eID":"5"}}`,
		"a=1&a=2":                  `{"a":"2"}`,
		"a=1&a[b]=2":               `{"a":{"b":"2"}}`,
		"a=100%&b=%zz&c=%4":        `{"a":"100%","b":"%zz","c":"%4"}`,
		"a.b=1&c d=2":              `{"a_b":"1","c_d":"2"}`,
		"a[b=1":                    `{"a_b":"1"}`,
		"&&=x&a":                   `{"a":""}`,
		"FILTER[ID][]=1&FILTER=no": `{"FILTER":"no"}`,
	} {
		got, err := json.Marshal(php.ParseQuery(in))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestParseJSON(t *testing.T) {
	t.Parallel()
	const in = `{"z":1,"a":[1.5,"x",null,true,{}],"m":{"0":1,"1":2},"big":123456789012345678}`
	v, err := php.ParseJSON([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	// The order of keys stays; an empty map and one with the keys 0 and 1 become lists.
	const want = `{"z":1,"a":[1.5,"x",null,true,[]],"m":[1,2],"big":123456789012345678}`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, bad := range []string{"", "{", `{"a":}`, `{"a":1} x`, `{"a":1}{}`, "[1,]", `{"a" 1}`} {
		if v, err := php.ParseJSON([]byte(bad)); err == nil {
			t.Errorf("%q: got %v, want an error", bad, v)
		}
	}
	deep := make([]byte, 2000)
	for i := range deep {
		deep[i] = '['
		if i >= len(deep)/2 {
			deep[i] = ']'
		}
	}
	if _, err := php.ParseJSON(deep); err == nil {
		t.Error("1,000 brackets deep: got no error")
	}
}

func TestCasts(t *testing.T) {
	t.Parallel()
	type casts struct {
		Text  string
		Int   int64
		Float float64
		True  bool
		Flag  bool
	}
	for _, c := range []struct {
		in   any
		want casts
	}{
		{nil, casts{}},
		{true, casts{"1", 1, 1, true, true}},
		{false, casts{}},
		{int64(7), casts{"7", 7, 7, true, true}},
		{int64(math.MaxInt64), casts{"9223372036854775807", math.MaxInt64, math.MaxInt64, true, true}},
		{1.5, casts{"1.5", 1, 1.5, true, true}},
		{"", casts{}},
		{"0", casts{Text: "0"}},
		{"N", casts{Text: "N", True: true}},
		{"Y", casts{Text: "Y", True: true, Flag: true}},
		{" 12abc", casts{" 12abc", 12, 12, true, true}},
		{"-3.5", casts{"-3.5", -3, -3.5, true, true}},
		{"abc", casts{Text: "abc", True: true, Flag: true}},
		{php.List(1), casts{"Array", 1, 1, true, true}},
		{&php.Array{}, casts{Text: "Array"}},
	} {
		got := casts{php.Text(c.in), php.Int(c.in), php.Float(c.in), php.True(c.in), php.Flag(c.in)}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%v: %s", c.in, d)
		}
	}
}

func TestArray(t *testing.T) {
	t.Parallel()
	var none *php.Array
	if none.Len() != 0 || none.Get("x") != nil || !none.IsList() {
		t.Error("a nil array is not empty")
	}
	a := php.Map("b", 1, "a", "<&>")
	a.Set("b", 2)
	a.Append("x")
	if got, _ := json.Marshal(php.Plain(a)); string(got) != `{"0":"x","a":"\u003c\u0026\u003e","b":2}` {
		t.Errorf("got %s", got)
	}
	if v, ok := a.Param("A"); !ok || v != "<&>" {
		t.Errorf("Param: got %v, %v", v, ok)
	}
	in := map[string]any{"l": []any{int64(1), "x"}, "m": map[string]any{"k": nil}, "e": map[string]any{}, "n": 5}
	want := map[string]any{"l": []any{int64(1), "x"}, "m": map[string]any{"k": nil}, "e": []any{}, "n": int64(5)}
	if d := cmp.Diff(any(want), php.Plain(php.From(in))); d != "" {
		t.Error(d)
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"a[b]=c&d[]=e", "a[[]]=1", "%", "a[][]=1&a[x]=2", "=[", "]["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a := php.ParseQuery(s)
		if _, err := json.Marshal(a); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func TestParamTakesTheLastOfTheSameName(t *testing.T) {
	t.Parallel()
	a := php.Map("FILTER", "first", "start", "0", "filter", "last")
	if got, _ := a.Param("FILTER"); got != "last" {
		t.Errorf("got %v, want last", got)
	}
	if got, ok := a.Param("SORT"); ok {
		t.Errorf("got %v for what is not there", got)
	}
}
