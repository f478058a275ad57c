package emulator_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sverka/internal/emulator"
)

// serve runs a portal as the command does, and gives the addresses that it prints and a function that stops it.
func serve(t *testing.T, o emulator.RunOptions) (webhook, page string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r, w := io.Pipe()
	o.Listen, o.Stdout = "127.0.0.1:0", w
	done := make(chan error, 1)
	go func() { done <- emulator.Run(ctx, o) }()
	lines := bufio.NewScanner(r)
	for _, p := range []*string{&webhook, &page} {
		if !lines.Scan() {
			t.Fatal("no addresses are printed")
		}
		*p = lines.Text()
	}
	webhook, ok1 := strings.CutPrefix(webhook, "webhook: ")
	page, ok2 := strings.CutPrefix(page, "page: ")
	if !ok1 || !ok2 {
		t.Fatalf("got %q and %q", webhook, page)
	}
	return webhook, page, func() error { cancel(); return <-done }
}

func TestRun(t *testing.T) {
	t.Parallel()
	webhook, page, stop := serve(t, emulator.RunOptions{})
	for address, kind := range map[string]string{webhook + "server.time": "application/json; charset=utf-8", page: "text/html; charset=utf-8"} {
		res, err := http.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != kind {
			t.Errorf("%s: got %d %s", address, res.StatusCode, res.Header.Get("Content-Type"))
		}
	}
	if err := stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	if _, err := http.Get(page); err == nil {
		t.Error("the page is still there")
	}
}

func TestRunWithTLS(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tls")
	var first []byte
	for range 2 { // the CA stays the same at the second start
		webhook, _, stop := serve(t, emulator.RunOptions{TLSDir: dir})
		pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = pem
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(first) {
			t.Fatal("ca.pem holds no certificate")
		}
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
		for _, host := range []string{"127.0.0.1", "localhost"} {
			res, err := (&http.Client{Transport: tr}).Get(strings.Replace(webhook, "127.0.0.1", host, 1) + "server.time")
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
		}
		tr.CloseIdleConnections()
		if !strings.HasPrefix(webhook, "https://") {
			t.Errorf("got webhook %s", webhook)
		}
		if err := stop(); err != nil {
			t.Errorf("stopped with %v", err)
		}
	}
}

func TestRunRefusesAWrongAddress(t *testing.T) {
	t.Parallel()
	if err := emulator.Run(context.Background(), emulator.RunOptions{Listen: "nowhere:xx", Stdout: io.Discard}); err == nil {
		t.Error("got no error")
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := setup(t, emulator.Options{Mode: "classic"})
	id := s.done(m{"PHONE_NUMBER": "+79161234567", "TYPE": 1})
	s.upload(s.uploadURL(id, "a.mp3"), "file", "a.mp3", []byte("x"))
	s.finish(s.register(m{"PHONE_NUMBER": "+79995550002"}), m{"DURATION": 0, "STATUS_CODE": "304", "FAILED_REASON": "x"})
	s.Plant(emulator.Call{Phone: "<script>", UserID: 18, Type: 2, Duration: 3725, Status: "200"})
	s.register(m{"PHONE_NUMBER": "+79995550003", "SHOW": 1})
	res, err := http.Get(strings.TrimSuffix(s.URL, "rest/1/demo/"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, want := range []string{
		"Мария", "&#43;79161234567", "Иван Петров", "↗", `src="/records/1"`, "пропущен", "1:02:05", "&lt;script&gt;", "Заявка", "Сейчас на линии",
		"карточка открыта: Иван Петров", "Сделка: Мария", `class="gone"`, `http-equiv="refresh"`, "состоялся", "11.03.2026",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not show %s", want)
		}
	}
	if strings.Count(text, `<div class="call `) != 1 {
		t.Errorf("%d call cards, want that of the one call that is shown", strings.Count(text, `<div class="call `))
	}
	if strings.Contains(text, "http://") || strings.Contains(text, "https://") {
		t.Error("the page uses something from elsewhere")
	}
}
