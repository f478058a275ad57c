package bitrix24

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"sverka/internal/portal/bitrix24/wire"
)

// pageSize is the length of a page of any list, which the portal fixes.
const pageSize = 50

// listing is a method that gives rows in pages, in the order of their ids.
type listing struct {
	method string
	sort   wire.Params // how the method is asked to sort by ID
	filter wire.Params
	other  wire.Params
}

// page asks for the page that begins at an offset; -1 gives the first one without counting all rows.
func (l listing) page(start int) wire.Params {
	p := maps.Clone(l.other)
	if p == nil {
		p = wire.Params{}
	}
	maps.Copy(p, l.sort)
	if len(l.filter) > 0 {
		p["FILTER"] = l.filter
	}
	p["start"] = start
	return p
}

// after asks for the first page of the rows behind an id.
func (l listing) after(id int64) wire.Params {
	filter := maps.Clone(l.filter)
	if filter == nil {
		filter = wire.Params{}
	}
	filter[">ID"] = id
	l.filter = filter
	return l.page(-1)
}

type row interface{ id() int64 }

// reader takes in pages, drops rows that were there before, and minds that the portal sorts as it was asked.
type reader[T row] struct {
	list  listing
	yield func(T) error
	seen  map[int64]struct{}
}

// page takes in one page, and gives its length and its highest id.
func (r *reader[T]) page(c *connection, result json.RawMessage) (length int, highest int64, err error) {
	var rows wire.List[T]
	if err := json.Unmarshal(result, &rows); err != nil {
		return 0, 0, c.puzzled(r.list.method, "its rows", err)
	}
	for _, item := range rows {
		id := item.id()
		if id <= 0 {
			return 0, 0, c.puzzled(r.list.method, "a row without an ID", nil)
		}
		if id <= highest {
			return 0, 0, c.puzzled(r.list.method, fmt.Sprintf("row %d comes behind row %d: the portal does not sort by ID", id, highest), nil)
		}
		highest = id
		if _, ok := r.seen[id]; ok {
			continue
		}
		r.seen[id] = struct{}{}
		if err := r.yield(item); err != nil {
			return 0, 0, err
		}
	}
	return len(rows), highest, nil
}

// readAll gives every row of a list once, also the ones that are added while it reads.
//
// The first page says how many rows there are; the others come by offset, many in one batch. Then, and wherever the portal gives no
// total, rows are read by their id until a page is not full. When fewer rows came than were promised, some went away meanwhile and others
// may have slipped between two pages, so all is read again by id.
func readAll[T row](ctx context.Context, c *Client, l listing, yield func(T) error) error {
	r := &reader[T]{list: l, yield: yield, seen: map[int64]struct{}{}}
	a, err := c.ask(ctx, l.method, l.page(0))
	if err != nil {
		return err
	}
	length, last, err := r.page(c.connection, a.Result)
	if err != nil {
		return err
	}
	total := int(a.Total)
	for start := pageSize; start < total; {
		var cs commands
		for ; start < total && len(cs) < maxCommands; start += pageSize {
			cs = append(cs, command{fmt.Sprintf("p%d", start/pageSize), l.method, l.page(start)})
		}
		results, err := c.readBatch(ctx, cs)
		if err != nil {
			return err
		}
		for _, result := range results {
			var highest int64
			if length, highest, err = r.page(c.connection, result); err != nil {
				return err
			}
			last = max(last, highest)
		}
	}
	if len(r.seen) < total {
		length, last = pageSize, 0
	}
	return r.rest(ctx, c, length, last)
}

// rest reads on behind the row last, until a page is not full. length is that of the page that ended there.
func (r *reader[T]) rest(ctx context.Context, c *Client, length int, last int64) error {
	for length >= pageSize {
		a, err := c.ask(ctx, r.list.method, r.list.after(last))
		if err != nil {
			return err
		}
		var highest int64
		if length, highest, err = r.page(c.connection, a.Result); err != nil {
			return err
		}
		if length >= pageSize && highest <= last {
			return c.puzzled(r.list.method, "the portal ignores the filter by ID", nil)
		}
		last = highest
	}
	return nil
}
