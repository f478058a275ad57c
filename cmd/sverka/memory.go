package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// memory keeps the few texts that the service needs over a restart, in a file of its own beside the ledger. Losing it is harmless: what it
// holds saves work, or is found out again.
type memory struct {
	path string
	mu   sync.Mutex
}

// Recall gives what was remembered last; "" for nothing.
func (m *memory) Recall(_ context.Context, key string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	texts, err := m.read()
	return texts[key], err
}

// Remember keeps a text on the disk before it comes back. It is idempotent.
func (m *memory) Remember(_ context.Context, key, text string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	texts, err := m.read()
	if err != nil {
		return err
	}
	if texts[key] == text {
		return nil
	}
	texts[key] = text
	if text == "" {
		delete(texts, key)
	}
	return m.write(texts)
}

func (m *memory) read() (map[string]string, error) {
	texts := make(map[string]string)
	data, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return texts, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &texts); err != nil {
		return nil, fmt.Errorf("read %s: %w; remove the file, the service finds out again what it held", m.path, err)
	}
	return texts, nil
}

// write replaces the file as a whole: temp, sync, rename.
func (m *memory) write(texts map[string]string) (err error) {
	data, err := json.MarshalIndent(texts, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(m.path), filepath.Base(m.path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), m.path)
}
