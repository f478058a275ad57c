package emulator

import (
	"net/http"
	"regexp"
	"strings"

	"sverka/internal/emulator/php"
)

const batchLength = 50

// batch runs commands one after the other. Other requests run in between them.
func (p *Portal) batch(q *query) (answer, error) {
	cmd, _ := q.array("cmd")
	halt := php.Flag(q.arg("halt"))
	result, errs, totals, nexts, times := &php.Array{}, &php.Array{}, &php.Array{}, &php.Array{}, &php.Array{}
	n := 0
	for key, v := range cmd.All() {
		command, ok := v.(string)
		if !ok {
			continue
		}
		n++
		p.mu.Lock()
		p.count.Commands++
		p.mu.Unlock()
		started := p.now()
		name, args := splitCommand(command, result)
		var a answer
		var err error
		switch {
		case n > batchLength:
			err = &Error{Status: http.StatusBadRequest, Code: "ERROR_BATCH_LENGTH_EXCEEDED", Text: "Max batch length exceeded"}
		case strings.EqualFold(name, "batch"), strings.EqualFold(name, "upload"), strings.EqualFold(name, "download"):
			err = &Error{Status: http.StatusMethodNotAllowed, Code: "ERROR_BATCH_METHOD_NOT_ALLOWED", Text: "Method is not allowed for batch usage"}
		default:
			a, err = p.call(name, &query{ctx: q.ctx, args: args, base: q.base, by: q.by, token: q.token, free: q.free})
		}
		if err != nil {
			e := asError(err)
			errs.Set(key, php.Map("error", e.Code, "error_description", e.Text))
			if e.Status == http.StatusTooManyRequests {
				times.Set(key, p.clock(started, load(name, q.by)))
			}
			if halt {
				break
			}
			continue
		}
		result.Set(key, a.result)
		if a.counted {
			totals.Set(key, a.total)
		}
		if a.next > 0 {
			nexts.Set(key, a.next)
		}
		times.Set(key, p.clock(started, load(name, q.by)))
	}
	return answer{result: php.Map(
		"result", result, "result_error", errs, "result_total", totals, "result_next", nexts, "result_time", times,
	)}, nil
}

// splitCommand reads "method?a=b#c" as parse_url does, what follows a # being no part of it, and puts earlier results in.
func splitCommand(command string, results *php.Array) (name string, args *php.Array) {
	command, _, _ = strings.Cut(command, "#")
	name, params, _ := strings.Cut(command, "?")
	args = php.ParseQuery(params)
	resolve(args, results)
	return strings.TrimSuffix(strings.Trim(name, "/"), ".json"), args
}

var (
	reference = regexp.MustCompile(`\$result((?:\[[^\[\]]+\])+)`)
	segment   = regexp.MustCompile(`\[([^\[\]]+)\]`)
)

// resolve replaces $result[key][field] in the values of a, at any depth. A reference to what is not there stays as it is written.
func resolve(a, results *php.Array) {
	for k, v := range a.All() {
		switch v := v.(type) {
		case *php.Array:
			resolve(v, results)
		case string:
			if !strings.Contains(v, "$result") {
				continue
			}
			if m := reference.FindString(v); m == v {
				if r, ok := lookup(m, results); ok {
					a.Set(k, r)
				}
				continue
			}
			a.Set(k, reference.ReplaceAllStringFunc(v, func(m string) string {
				r, ok := lookup(m, results)
				if _, isArray := r.(*php.Array); !ok || isArray {
					return m
				}
				return php.Text(r)
			}))
		}
	}
}

func lookup(ref string, results *php.Array) (any, bool) {
	var v any = results
	for _, m := range segment.FindAllStringSubmatch(ref, -1) {
		a, ok := v.(*php.Array)
		if !ok {
			return nil, false
		}
		if v, ok = a.Lookup(m[1]); !ok {
			return nil, false
		}
	}
	return v, true
}
