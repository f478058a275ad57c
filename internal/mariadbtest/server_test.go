package mariadbtest_test

import (
	"database/sql"
	"net"
	"testing"

	"sverka/internal/mariadbtest"
)

func open(t *testing.T, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	s := mariadbtest.Start(t)
	one, two := s.Database(t), s.Database(t)
	owner, reader, other := open(t, one), open(t, mariadbtest.ReadOnly(one)), open(t, two)
	if _, err := owner.Exec("CREATE TABLE x (n INT)"); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Exec("INSERT INTO x VALUES (7)"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.QueryRow("SELECT n FROM x").Scan(&n); err != nil || n != 7 {
		t.Errorf("reader sees %d, %v, want 7", n, err)
	}
	if _, err := reader.Exec("INSERT INTO x VALUES (8)"); err == nil {
		t.Error("the reader may write")
	}
	if err := other.QueryRow("SELECT n FROM x").Scan(&n); err == nil {
		t.Error("one database is seen from another")
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	s := mariadbtest.StartOwn(t)
	db := open(t, s.Database(t))
	if _, err := db.Exec("CREATE TABLE x (n INT)"); err != nil {
		t.Fatal(err)
	}
	s.Stop(t)
	if c, err := net.Dial("tcp", s.Address()); err == nil {
		_ = c.Close()
		t.Error("a stopped server takes connections")
	}
	s.Restart(t)
	var n int
	if err := db.QueryRow("SELECT COUNT(*) FROM x").Scan(&n); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}
