package bitrix24

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/wire"
)

// maxCommands is how many commands the portal takes in one batch.
const maxCommands = 50

// command is one call inside a batch. Later commands can use its result by its key.
type command struct {
	key    string
	method string
	params wire.Params
}

// commands are written as one map in their order, because the portal works through them in that order.
type commands []command

func (cs commands) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, cmd := range cs {
		b.WriteByte("{,"[min(i, 1)])
		key, err := json.Marshal(cmd.key)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(cmd.method + "?" + cmd.params.Query())
		if err != nil {
			return nil, err
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// reply is what became of one command.
type reply struct {
	result json.RawMessage // nil when err is set
	err    *portal.Error
}

type batchResult struct {
	Result wire.Table[json.RawMessage]          `json:"result"`
	Errors wire.Table[wire.Object[refused]]     `json:"result_error"`
	Times  wire.Table[wire.Object[wire.Timing]] `json:"result_time"`
}

type refused struct {
	Code        wire.Text `json:"error"`
	Description wire.Text `json:"error_description"`
}

// sendBatch sends commands in one request, once, and gives the reply of each. Its error is that of the request as a whole.
func (c *Client) sendBatch(ctx context.Context, cs commands) ([]reply, error) {
	uses := map[string]int64{}
	for _, cmd := range cs {
		uses[cmd.method]++
	}
	body, err := json.Marshal(struct {
		Halt int      `json:"halt"`
		Cmd  commands `json:"cmd"`
	}{0, cs})
	if err != nil {
		return nil, fmt.Errorf("batch: encode the request: %w", err)
	}
	a, err := c.send(ctx, c.exchange(methodBatch, uses, body))
	c.batches.took(len(cs), float64(a.Time.V.Duration), err)
	if err != nil {
		return nil, err
	}
	var got wire.Object[batchResult]
	if err := json.Unmarshal(a.Result, &got); err != nil {
		return nil, c.puzzled(methodBatch, "its result", err)
	}
	now := time.Now()
	replies := make([]reply, len(cs))
	for i, cmd := range cs {
		t := got.V.Times[cmd.key].V
		if e, ok := got.V.Errors[cmd.key]; ok {
			replies[i].err = c.refuse(cmd.method, 0, string(e.V.Code), string(e.V.Description), t, now)
			continue
		}
		c.operating.Report(cmd.method, spent(t), now)
		result, ok := got.V.Result[cmd.key]
		if !ok {
			replies[i].err = c.puzzled(cmd.method, "the batch says nothing of this command", nil)
			continue
		}
		replies[i].result = result
	}
	return replies, nil
}

// readBatch does commands that only read, any number of them, and gives their results in order. All of them succeed, or it fails.
//
// A batch that never gets its answer may be too much work for the portal's minute: it is cut in halves.
func (c *Client) readBatch(ctx context.Context, cs commands) ([]json.RawMessage, error) {
	if len(cs) > maxCommands {
		first, err := c.readBatch(ctx, cs[:maxCommands])
		if err != nil {
			return nil, err
		}
		rest, err := c.readBatch(ctx, cs[maxCommands:])
		return append(first, rest...), err
	}
	tries := faultTries
	if len(cs) > 1 {
		tries = 3
	}
	results := make([]json.RawMessage, len(cs))
	err := c.repeat(ctx, reading, tries, func() error {
		replies, err := c.sendBatch(ctx, cs)
		if err != nil {
			return err
		}
		for i, r := range replies {
			if r.err != nil {
				return r.err
			}
			results[i] = r.result
		}
		return nil
	})
	var e *portal.Error
	if errors.As(err, &e) && e.Class == portal.Unknown && len(cs) > 1 && ctx.Err() == nil {
		half := len(cs) / 2
		first, err := c.readBatch(ctx, cs[:half])
		if err != nil {
			return nil, err
		}
		rest, err := c.readBatch(ctx, cs[half:])
		return append(first, rest...), err
	}
	return results, err
}
