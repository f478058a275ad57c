package bitrix24

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"sverka/internal/portal"
	"sverka/internal/portal/bitrix24/wire"
)

// Lines gives the external lines of this application, or of this webhook's, and nobody else's.
func (c *Client) Lines(ctx context.Context) ([]portal.Line, error) {
	a, err := c.ask(ctx, methodLines, wire.Params{})
	if err != nil {
		return nil, err
	}
	var rows wire.List[wire.Object[struct {
		Number wire.Text `json:"NUMBER"`
		Name   wire.Text `json:"NAME"`
		Create wire.Flag `json:"CRM_AUTO_CREATE"`
	}]]
	if err := json.Unmarshal(a.Result, &rows); err != nil {
		return nil, c.puzzled(methodLines, "the lines", err)
	}
	lines := make([]portal.Line, 0, len(rows))
	for _, row := range rows {
		lines = append(lines, portal.Line{Number: string(row.V.Number), Name: string(row.V.Name), AutoCreate: bool(row.V.Create)})
	}
	return lines, nil
}

// AddLine makes a line, and gives one that is there already this name and setting: it is idempotent.
func (c *Client) AddLine(ctx context.Context, line portal.Line) error {
	_, err := c.ask(ctx, methodLineAdd, lineParams(line))
	if says(err, textLineExists) {
		return c.UpdateLine(ctx, line)
	}
	return err
}

// UpdateLine gives a line another name or setting. It is idempotent.
func (c *Client) UpdateLine(ctx context.Context, line portal.Line) error {
	_, err := c.ask(ctx, methodLineUpdate, lineParams(line))
	return err
}

// PutLines is AddLine for many lines, in a few requests. It tells what became of each line; its error is that of a whole request.
func (c *Client) PutLines(ctx context.Context, lines []portal.Line) ([]error, error) {
	refused := make([]error, len(lines))
	const atOnce = maxCommands / 2
	for start := 0; start < len(lines); start += atOnce {
		some := lines[start:min(start+atOnce, len(lines))]
		var cs commands
		for i, line := range some {
			key := strconv.Itoa(i)
			cs = append(cs, command{"a" + key, methodLineAdd, lineParams(line)}, command{"u" + key, methodLineUpdate, lineParams(line)})
		}
		var replies []reply
		err := c.repeat(ctx, reading, faultTries, func() (err error) { // idempotent: as harmless as reading
			replies, err = c.sendBatch(ctx, cs)
			return err
		})
		if err != nil {
			return nil, err
		}
		for i := range some {
			add, update := replies[2*i].err, replies[2*i+1].err
			switch {
			case update == nil:
			case add != nil && !says(add, textLineExists):
				refused[start+i] = add // update only says that there is no such line
			default:
				refused[start+i] = update
			}
		}
	}
	return refused, nil
}

// DeleteLine takes a line away, and is content when there is none: it is idempotent.
func (c *Client) DeleteLine(ctx context.Context, number string) error {
	_, err := c.ask(ctx, methodLineDelete, wire.Params{"NUMBER": number})
	if says(err, textNoLine) {
		return nil
	}
	return err
}

func lineParams(line portal.Line) wire.Params {
	p := wire.Params{"NUMBER": line.Number, "NAME": line.Name, "CRM_AUTO_CREATE": "N"}
	if line.AutoCreate {
		p["CRM_AUTO_CREATE"] = "Y"
	}
	return p
}

// says reports whether the portal refused with this description, in lower case.
func says(err error, text string) bool {
	var e *portal.Error
	return errors.As(err, &e) && e.Class == portal.Refused && strings.Contains(strings.ToLower(e.Text), text)
}
