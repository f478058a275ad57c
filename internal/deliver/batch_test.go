package deliver_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sverka/internal/deliver"
	"sverka/internal/portal"
)

// sizes notes how many calls travel in each request.
type sizes struct {
	deliver.Portal
	got []int
}

func (s *sizes) RegisterFinish(ctx context.Context, calls []portal.Call) ([]portal.Outcome, error) {
	s.got = append(s.got, len(calls))
	return s.Portal.RegisterFinish(ctx, calls)
}

// TestBatchCalls asks before each request how many parts it should carry.
func TestBatchCalls(t *testing.T) {
	t.Parallel()
	answers := []int{2, 0, 1000, 3}
	for _, test := range []struct {
		name string
		size func(n *int) func() int
		want []int
	}{
		{"not told", func(*int) func() int { return nil }, []int{25, 5}},
		{"told", func(n *int) func() int {
			return func() int { *n++; return answers[min(*n, len(answers))-1] }
		}, []int{2, 1, 25, 2}},
	} {
		w := setup(t)
		list := wants(30)
		for i := range list {
			list[i].Call.Phone = fmt.Sprintf("+7916111%04d", i)
		}
		p, n := &sizes{Portal: w.client}, 0
		d := deliver.New(p, w.ledger, deliver.Options{BatchCalls: test.size(&n)}, time.Now, quiet())
		if err := d.Deliver(context.Background(), list, nil); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(p.got, test.want); diff != "" {
			t.Errorf("%s: calls in each request (-got +want):\n%s", test.name, diff)
		}
		w.check(list)
	}
}
