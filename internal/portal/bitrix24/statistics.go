package bitrix24

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/wire"
)

// margin widens the dates of a filter. The portal shifts them by the time zone of the webhook's owner; the exact limits are compared here.
const margin = 24 * time.Hour

// maxIDs is how many ids one command of a batch asks for. It is less than a page, so that a page with one row for each, and a few
// duplicates, is not full and needs no look behind it.
const maxIDs = 40

// statRow is a row of the statistics as the portal writes it.
type statRow struct {
	ID         wire.Number `json:"ID"`
	CallID     wire.Text   `json:"CALL_ID"`
	ExternalID wire.Text   `json:"EXTERNAL_CALL_ID"`
	UserID     wire.Number `json:"PORTAL_USER_ID"`
	Phone      wire.Text   `json:"PHONE_NUMBER"`
	Line       wire.Text   `json:"PORTAL_NUMBER"`
	Type       wire.Number `json:"CALL_TYPE"`
	Start      wire.Text   `json:"CALL_START_DATE"`
	Duration   wire.Number `json:"CALL_DURATION"`
	Status     wire.Text   `json:"CALL_FAILED_CODE"`
	RecordFile wire.Number `json:"RECORD_FILE_ID"`
	Activity   wire.Number `json:"CRM_ACTIVITY_ID"`
	AppID      wire.Text   `json:"REST_APP_ID"`
}

func (r statRow) id() int64 { return int64(r.ID) }

func (c *connection) row(r statRow) (portal.Row, error) {
	start, err := wire.Moment(string(r.Start))
	if err != nil {
		return portal.Row{}, c.puzzled(methodStatistic, "CALL_START_DATE of row "+strconv.FormatInt(r.id(), 10), err)
	}
	return portal.Row{
		ID:           r.id(),
		CallID:       portal.CallID(r.CallID),
		ExternalID:   string(r.ExternalID),
		UserID:       int(r.UserID),
		Phone:        string(r.Phone),
		Line:         string(r.Line),
		Type:         portal.CallType(r.Type),
		Start:        start,
		Duration:     int(r.Duration),
		Status:       portal.StatusCode(r.Status),
		RecordFileID: int64(r.RecordFile),
		ActivityID:   int64(r.Activity),
		AppID:        string(r.AppID),
	}, nil
}

func statistics(filter wire.Params) listing {
	return listing{method: methodStatistic, sort: wire.Params{"SORT": "ID", "ORDER": "ASC"}, filter: filter}
}

// Statistics gives every row whose call started in [from, to) to yield, each once, in no promised order. It is complete, also for rows
// added while it reads, or it returns an error; an error of yield stops it and is returned as it is. The webhook's owner must be allowed
// to see the statistics of all employees, or the portal leaves rows out and says nothing.
func (c *Client) Statistics(ctx context.Context, from, to time.Time, yield func(portal.Row) error) error {
	if !from.Before(to) {
		return nil
	}
	l := statistics(wire.Params{
		">=CALL_START_DATE": from.Add(-margin).Format(time.RFC3339),
		"<CALL_START_DATE":  to.Add(margin).Format(time.RFC3339),
	})
	return readAll(ctx, c, l, func(r statRow) error {
		row, err := c.row(r)
		if err != nil {
			return err
		}
		if row.Start.Before(from) || !row.Start.Before(to) {
			return nil
		}
		return yield(row)
	})
}

// StatisticsByExternalID gives the rows of calls with these external ids, in the order of their row ids. Any number of ids may be asked
// for; one id may have several rows (duplicates) or none.
func (c *Client) StatisticsByExternalID(ctx context.Context, ids []string) ([]portal.Row, error) {
	return c.statisticsBy(ctx, "EXTERNAL_CALL_ID", ids, func(r statRow) string { return string(r.ExternalID) })
}

// StatisticsByCallID gives the rows of these calls of the portal, in the order of their row ids.
func (c *Client) StatisticsByCallID(ctx context.Context, ids []portal.CallID) ([]portal.Row, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = string(id)
	}
	return c.statisticsBy(ctx, "CALL_ID", texts, func(r statRow) string { return string(r.CallID) })
}

func (c *Client) statisticsBy(ctx context.Context, field string, ids []string, key func(statRow) string) ([]portal.Row, error) {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > 0 && ids[0] == "" {
		ids = ids[1:] // calls without the field are no answer to anything
	}
	var rows []portal.Row
	var readers []*reader[statRow]
	var cs commands
	for chunk := range slices.Chunk(ids, maxIDs) {
		asked := make(map[string]bool, len(chunk))
		folded := make(map[string]bool, len(chunk))
		for _, id := range chunk {
			asked[id], folded[fold(id)] = true, true
		}
		r := &reader[statRow]{list: statistics(wire.Params{field: chunk}), seen: map[int64]struct{}{}}
		r.yield = func(item statRow) error {
			switch id := key(item); {
			case asked[id]:
			case folded[fold(id)]:
				return nil // the portal's database compares without case
			default:
				// An unknown filter is dropped silently, and every row of the portal comes. That would read as "no such call".
				return c.puzzled(methodStatistic, fmt.Sprintf("row %d was not asked for: the portal ignores the filter %s", item.id(), field), nil)
			}
			row, err := c.row(item)
			if err == nil {
				rows = append(rows, row)
			}
			return err
		}
		cs = append(cs, command{"s" + strconv.Itoa(len(cs)), methodStatistic, r.list.page(-1)})
		readers = append(readers, r)
	}
	for start := 0; start < len(cs); start += maxCommands {
		end := min(start+maxCommands, len(cs))
		results, err := c.readBatch(ctx, cs[start:end])
		if err != nil {
			return nil, err
		}
		for i, result := range results {
			r := readers[start+i]
			length, last, err := r.page(c.connection, result)
			if err == nil {
				err = r.rest(ctx, c, length, last)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(rows, func(a, b portal.Row) int { return int(a.ID - b.ID) })
	return rows, nil
}

func fold(id string) string { return strings.ToLower(strings.TrimRight(id, " ")) }
