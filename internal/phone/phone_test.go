package phone_test

import (
	"testing"

	"sverka/internal/phone"
)

func reader(t testing.TB, country string) *phone.Reader {
	t.Helper()
	r, err := phone.New(country)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestE164(t *testing.T) {
	t.Parallel()
	tests := []struct {
		country, raw, want string
	}{
		{"RU", "+79161234567", "+79161234567"},
		{"RU", "89161234567", "+79161234567"},
		{"RU", "79161234567", "+79161234567"},
		{"RU", "9161234567", "+79161234567"},
		{"RU", "+7 (916) 123-45-67", "+79161234567"},
		{"RU", "8 916 123\u00a045 67", "+79161234567"},
		{"RU", "+789161234567", "+79161234567"},
		{"RU", "sip:+79161234567@10.0.0.1:5060", "+79161234567"},
		{"RU", "SIP:89161234567@example.ru;user=phone", "+79161234567"},
		{"RU", "tel:+79161234567", "+79161234567"},
		{"RU", `"Иван" <79161234567>`, "+79161234567"},
		{"RU", "84951112233", "+74951112233"},
		{"RU", "88002000600", "+78002000600"},
		{"RU", "810380501234567", "+380501234567"},
		{"RU", "00380501234567", "+380501234567"},
		{"RU", "380501234567", "+380501234567"},
		{"RU", "8104915112345678", "+4915112345678"},
		{"RU", "375291234567", "+375291234567"},
		{"RU", "0079161234567", "+79161234567"},
		{"RU", "77011234567", "+77011234567"},
		{"UA", "0501234567", "+380501234567"},
		{"UA", "79161234567", "+79161234567"},
		{"DE", "0151 12345678", "+4915112345678"},
		{"US", "(212) 555-0123", "+12125550123"},
		{"US", "01179161234567", "+79161234567"},
		{"RU", "112", "112"},
		{"RU", "900", "900"},
		{"RU", "0611", "0611"},
		{"RU", "123456", "123456"},
		{"RU", "1234567", "1234567"},
		{"RU", "7", ""},
		{"RU", "", ""},
		{"RU", "anonymous", ""},
		{"RU", "Anonymous", ""},
		{"RU", "unknown", ""},
		{"RU", "Restricted", ""},
		{"RU", "asterisk", ""},
		{"RU", "s", ""},
		{"RU", "<unknown>", ""},
		{"RU", "sip:anonymous@anonymous.invalid", ""},
		{"RU", "vmu201", ""},
		{"RU", "*97", ""},
		{"RU", "791612345677916123456779161234", ""},
		{"RU", "+7916123456779161", ""},
		{"RU", "+", ""},
		{"RU", "\xff\xfe", ""},
	}
	for _, tt := range tests {
		if got := reader(t, tt.country).E164(tt.raw); got != tt.want {
			t.Errorf("%s: E164(%q) = %q, want %q", tt.country, tt.raw, got, tt.want)
		}
	}
}

func TestUnknownCountry(t *testing.T) {
	t.Parallel()
	for _, c := range []string{"", "XX", "RUS", "7"} {
		if r, err := phone.New(c); err == nil {
			t.Errorf("New(%q) = %v, want an error", c, r)
		}
	}
	if _, err := phone.New("ru"); err != nil {
		t.Errorf("New(ru) = %v, want none", err)
	}
}

func FuzzE164(f *testing.F) {
	for _, s := range []string{"+79161234567", "89161234567", "810380501234567", "00380501234567", "anonymous", "112", "+789161234567", "<8>", "+0000000"} {
		f.Add(s)
	}
	readers := map[string]*phone.Reader{"RU": reader(f, "RU"), "US": reader(f, "US"), "DE": reader(f, "DE"), "IT": reader(f, "IT"), "KZ": reader(f, "KZ")}
	f.Fuzz(func(t *testing.T, raw string) {
		for country, r := range readers {
			once := r.E164(raw)
			if twice := r.E164(once); twice != once {
				t.Errorf("%s: E164(%q) = %q, and of that %q", country, raw, once, twice)
			}
			if len(once) > 16 {
				t.Errorf("%s: E164(%q) = %q, longer than a number can be", country, raw, once)
			}
		}
	})
}
