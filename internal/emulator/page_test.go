package emulator_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"sverka/internal/emulator"
)

// get gives the status and the text of a page of the portal.
func (s server) get(path string) (int, string) {
	s.t.Helper()
	res, err := http.Get(s.root() + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestCallPage(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	id := s.done(m{"PHONE_NUMBER": "+79161234567", "EXTERNAL_CALL_ID": "1773219600.7"})
	s.upload(s.uploadURL(id, "a.mp3"), "file", "a.mp3", []byte("x"))
	status, text := s.get("/calls/1")
	if status != http.StatusOK {
		t.Fatalf("got %d", status)
	}
	for _, want := range []string{"Мария", id, "1773219600.7", `src="/records/1"`, "a.mp3", "Иван Петров", "Дело № 1", "Контакт № 1: Мария", "состоялся"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %s", want)
		}
	}
	for _, path := range []string{"/calls/2", "/calls/x"} {
		if status, _ := s.get(path); status != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", path, status)
		}
	}
}

func TestStateChangesWithWhatIsShown(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{})
	_, before := s.get("/state")
	if _, again := s.get("/state"); again != before {
		t.Errorf("nothing happened, and %q became %q", before, again)
	}
	for _, c := range []struct {
		name string
		do   func()
	}{
		{"a call rings", func() { s.register(m{"SHOW": 1}) }},
		{"a row is planted", func() { s.Plant(emulator.Call{UserID: 17, Phone: "1", Type: 2, Status: "200"}) }},
		{"the application goes", s.RevokeApp},
	} {
		c.do()
		_, now := s.get("/state")
		if now == before {
			t.Errorf("%s: the state is still %q", c.name, now)
		}
		before = now
	}
}

func TestPageOfManyEmployees(t *testing.T) {
	t.Parallel()
	big := emulator.Seed{}
	for id := 2; id <= 10_000; id++ {
		big.Employees = append(big.Employees, emulator.Employee{ID: id, Name: "Сотрудник", LastName: strconv.Itoa(id), Active: true})
	}
	s := setup(t, emulator.Options{Seed: big})
	s.register(m{"USER_ID": 9999, "SHOW": 1})
	_, text := s.get("/")
	for _, c := range []struct {
		text string
		want bool
	}{{"<span>10000</span>", true}, {"<div>Сотрудник 2</div>", true}, {"<div>Сотрудник 500</div>", false}, {"<div>Сотрудник 9999</div>", true}} {
		if got := strings.Contains(text, c.text); got != c.want {
			t.Errorf("%s is shown: %v, want %v", c.text, got, c.want)
		}
	}
}
