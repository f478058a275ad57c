// Package b24jssdk_test runs Bitrix24's own JavaScript SDK against the emulator, over HTTPS as the SDK insists. What the SDK cannot do with
// the emulator, a client of a real portal could not do either, or the emulator is wrong.
package b24jssdk_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/emulator"
)

type m = map[string]any

// seed has two pages and a bit of employees.
func seed() emulator.Seed {
	s := emulator.Seed{Contacts: []emulator.SeedItem{{Phone: "+79161234567", Name: "Мария", Assigned: 17, Deal: true}}}
	for id := 10; id < 130; id++ {
		s.Employees = append(s.Employees, emulator.Employee{ID: id, Name: fmt.Sprintf("Сотрудник %d", id), Active: true})
	}
	return s
}

// serve runs a portal with TLS and gives its webhook.
func serve(t *testing.T, dir string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := emulator.Run(ctx, emulator.RunOptions{Listen: "127.0.0.1:0", TLSDir: dir, Options: emulator.Options{Seed: seed()}, Stdout: w})
		_ = w.CloseWithError(err)
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "webhook: "))
}

func TestSDK(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("node_modules/@bitrix24/b24jssdk/package.json"); err != nil {
		t.Fatalf("%v: run make test-deps", err)
	}
	dir := t.TempDir()
	webhook := serve(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	node := exec.CommandContext(ctx, "node", "sdk.mjs", webhook)
	node.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+filepath.Join(dir, "ca.pem"))
	var complaints bytes.Buffer
	node.Stderr = &complaints
	answer, err := node.Output()
	if err != nil {
		t.Fatalf("node sdk.mjs: %v\n%s%s", err, answer, complaints.String())
	}
	var got m
	if err := json.Unmarshal(answer[bytes.LastIndexByte(bytes.TrimSpace(answer), '\n')+1:], &got); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	text, err := os.ReadFile("testdata/want.json")
	if err != nil {
		t.Fatal(err)
	}
	var want m
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatalf("testdata/want.json: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
