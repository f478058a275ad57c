package wire_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/portal/bitrix24/wire"
)

type values struct {
	Text    wire.Text               `json:"text"`
	Number  wire.Number             `json:"number"`
	Decimal wire.Decimal            `json:"decimal"`
	Flag    wire.Flag               `json:"flag"`
	Object  wire.Object[inner]      `json:"object"`
	Table   wire.Table[wire.Number] `json:"table"`
	List    wire.List[wire.Text]    `json:"list"`
}

type inner struct {
	A wire.Text `json:"a"`
}

func TestValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in   string
		want values
	}{
		{`{}`, values{}},
		{
			`{"text":"a","number":1,"decimal":1.5,"flag":true,"object":{"a":"b"},"table":{"x":1},"list":["a"]}`,
			values{"a", 1, 1.5, true, wire.Object[inner]{V: inner{"b"}}, wire.Table[wire.Number]{"x": 1}, wire.List[wire.Text]{"a"}},
		},
		{
			`{"text":12.50,"number":"17","decimal":"0.25","flag":"Y","object":[],"table":[],"list":{"1":"a","0":"b","x":7}}`,
			values{"12.50", 17, 0.25, true, wire.Object[inner]{}, wire.Table[wire.Number]{}, wire.List[wire.Text]{"a", "b", "7"}},
		},
		{`{"text":null,"number":null,"decimal":null,"flag":null,"object":null,"table":null,"list":null}`, values{}},
		{`{"text":false,"number":false,"decimal":false,"flag":false,"object":false,"table":false,"list":false}`, values{}},
		{`{"text":["a"],"number":[],"decimal":{},"flag":"N","object":"a","table":"a"}`, values{}},
		{
			`{"text":{},"number":"","decimal":"NaN","flag":0,"object":1,"table":[3,"4"]}`,
			values{Table: wire.Table[wire.Number]{"0": 3, "1": 4}},
		},
		{`{"number":"17.0","decimal":"1e400","flag":1}`, values{Number: 17, Flag: true}},
		{`{"number":1e3,"flag":"1"}`, values{Number: 1000, Flag: true}},
		{`{"number":17.5}`, values{}},
		{`{"number":9223372036854775807}`, values{Number: 9223372036854775807}},
		{`{"number":"99999999999999999999","text":"\u0418\u0432\u0430\u043d"}`, values{Text: "Иван"}},
	} {
		var got values
		if err := json.Unmarshal([]byte(test.in), &got); err != nil {
			t.Errorf("%s: %v", test.in, err)
			continue
		}
		if diff := cmp.Diff(got, test.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", test.in, diff)
		}
	}
}

func TestValuesForget(t *testing.T) {
	t.Parallel()
	got := values{"a", 1, 1.5, true, wire.Object[inner]{V: inner{"b"}}, wire.Table[wire.Number]{"x": 1}, wire.List[wire.Text]{"a"}}
	in := `{"text":null,"number":null,"decimal":[],"flag":null,"object":[],"table":null,"list":[]}`
	if err := json.Unmarshal([]byte(in), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, values{List: wire.List[wire.Text]{}}); diff != "" {
		t.Errorf("values read over old ones (-got +want):\n%s", diff)
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in     string
		status int
		ok     bool
		failed bool
		code   string
	}{
		{`{"result":1}`, 200, true, false, ""},
		{"\xef\xbb\xbf{\"result\":1}\n", 200, true, false, ""},
		{`{"result":null}`, 200, true, false, ""},
		{`{"result":[],"error":""}`, 200, true, false, ""},
		{`{"result":[],"time":[]}`, 200, true, false, ""},
		{`{"result":[],"total":"51","time":{"finish":"1.5","operating":null}}`, 200, true, false, ""},
		{`{"error":"","error_description":"x"}`, 200, true, true, ""},
		{`{"error":"X"}`, 200, true, true, "X"},
		{`{"error":17}`, 400, true, true, "17"},
		{`{"error":{"code":1}}`, 400, true, true, ""},
		{`{"result":1}`, 500, true, true, ""},
		{`[]`, 200, false, false, ""},
		{``, 200, false, false, ""},
		{`{"result":`, 200, false, false, ""},
		{`<html>`, 200, false, false, ""},
		{`{"result":1}{"result":2}`, 200, false, false, ""},
	} {
		a, err := wire.Decode([]byte(test.in))
		if (err == nil) != test.ok {
			t.Errorf("%s: got error %v, want ok %t", test.in, err, test.ok)
			continue
		}
		if err != nil {
			continue
		}
		if a.Failed(test.status) != test.failed || a.Code() != test.code {
			t.Errorf("%s, status %d: got failed %t, code %q; want %t, %q", test.in, test.status, a.Failed(test.status), a.Code(), test.failed, test.code)
		}
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		timing wire.Timing
		want   time.Duration
	}{
		{wire.Timing{}, time.Minute},
		{wire.Timing{ResetAt: 100}, time.Minute},
		{wire.Timing{Finish: 100, ResetAt: 90}, time.Minute},
		{wire.Timing{Finish: 100, ResetAt: 130}, 31 * time.Second},
		{wire.Timing{Finish: 100, ResetAt: 1e12}, 10*time.Minute + time.Second},
	} {
		if got := test.timing.Reset(); got != test.want {
			t.Errorf("%+v: got %s, want %s", test.timing, got, test.want)
		}
	}
}

func TestMoment(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 3, 7, 7, 20, 30, 0, time.UTC)
	for _, s := range []string{"2026-03-07T10:20:30+03:00", "2026-03-07T07:20:30Z", "2026-03-07T10:20:30+0300", "2026-03-07 10:20:30+03:00"} {
		if got, err := wire.Moment(s); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %s, %v; want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "2026-03-07T10:20:30", "07.03.2026 10:20:30", "0000-00-00T00:00:00+03:00"} {
		if got, err := wire.Moment(s); err == nil {
			t.Errorf("%q: got %s, want an error", s, got)
		}
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{"<html><head><title>502 Bad Gateway</title><style>b{}</style></head><body><h1>502</h1>\n nginx</body></html>", "502 Bad Gateway 502 nginx"},
		{"<script>alert(1)</script>Hello&nbsp;&amp; <b>good</b>bye<!-- no -->", "Hello & good bye"},
		{"plain   words", "plain words"},
		{"<div", ""},
		{"", ""},
		{"bad \xff bytes", "bad bytes"},
		{strings.Repeat("я", 200), strings.Repeat("я", 160) + "…"},
	} {
		if got := wire.Page([]byte(test.in)); got != test.want {
			t.Errorf("%q: got %q, want %q", test.in, got, test.want)
		}
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want string }{
		{`"a"`, "a"}, {`["a"," b ",1,null,""]`, "a; b"}, {`{"z":"a","b":{"c":["d"]}}`, "d; a"}, {`[]`, ""}, {`null`, ""}, {``, ""}, {`{`, ""},
	} {
		if got := wire.Words(json.RawMessage(test.in)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.in, got, test.want)
		}
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	p := wire.Params{
		"b": 1, "a": "x y+z&=", "start": -1, "id": int64(7), "empty": "", "none": []string{},
		"FILTER": wire.Params{">ID": int64(5), "CALL_ID": []string{"$result[r0][CALL_ID]", "ё"}},
	}
	got := p.Query()
	want := "FILTER%5B%3EID%5D=5&FILTER%5BCALL_ID%5D%5B0%5D=%24result%5Br0%5D%5BCALL_ID%5D&FILTER%5BCALL_ID%5D%5B1%5D=%D1%91&" +
		"a=x+y%2Bz%26%3D&b=1&empty=&id=7&start=-1"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	parsed, err := url.ParseQuery(got)
	if err != nil || parsed.Get("FILTER[CALL_ID][0]") != "$result[r0][CALL_ID]" || parsed.Get("a") != "x y+z&=" {
		t.Errorf("read back: %v, %v", parsed, err)
	}
}

// FuzzDecode wants any bytes to be an answer or an error, and any answer to be used without a panic.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"result":{"CALL_ID":"c"},"time":{"finish":1.5,"operating":"2"}}`, `{"error":"","error_description":"x"}`, `{"result":[]}`,
		"\xef\xbb\xbf{}", `{"total":"5e3","result":{"0":{},"2":{}}}`, `<html><title>x</title>`, `{"error":{},"time":[],"total":{}}`, ``, `{"result":`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		page := wire.Page(b)
		if !utf8.ValidString(page) || utf8.RuneCountInString(page) > 161 {
			t.Errorf("page %q is broken or long", page)
		}
		a, err := wire.Decode(b)
		if err != nil {
			return
		}
		if a.Failed(200) && a.Error == nil {
			t.Errorf("%q failed without an error", b)
		}
		if got := a.Time.V.Reset(); got <= 0 || got > 10*time.Minute+time.Second {
			t.Errorf("reset %s", got)
		}
		_ = wire.Words(a.Result)
		for _, into := range []any{&wire.List[wire.Text]{}, &wire.Table[json.RawMessage]{}, &wire.Object[values]{}} {
			if a.Result != nil && json.Unmarshal(a.Result, into) == nil {
				continue
			}
			if _, isObject := into.(*wire.Object[values]); isObject && a.Result != nil {
				t.Errorf("%s is valid JSON, and any of it should read as an object", a.Result)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	row := `{"ID":"12","PORTAL_USER_ID":"17","PORTAL_NUMBER":"+74951234567","PHONE_NUMBER":"+79161234567","CALL_ID":"externalCall.0123456789abcdef.1772868030",` +
		`"EXTERNAL_CALL_ID":"1772868030.1234","CALL_DURATION":"42","CALL_START_DATE":"2026-03-07T10:20:30+03:00","CALL_FAILED_CODE":"200","RECORD_FILE_ID":null}`
	page := []byte(`{"result":[` + strings.Repeat(row+",", 49) + row + `],"total":50}`)
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		a, err := wire.Decode(page)
		if err != nil {
			b.Fatal(err)
		}
		var rows wire.List[wire.Object[values]]
		if err := json.Unmarshal(a.Result, &rows); err != nil || len(rows) != 50 {
			b.Fatal(err)
		}
	}
}
