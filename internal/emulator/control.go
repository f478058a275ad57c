package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// control is what tests in any language, and the buttons of the page, make the portal do: POST /emulator/<name> with a form. It answers
// {"result": …}, or 400 with {"error": "…"}. A page of another site cannot use it.
func (p *Portal) control() http.Handler {
	mux := http.NewServeMux()
	for name, do := range map[string]func(*http.Request) (any, error){
		"install": func(r *http.Request) (any, error) { return true, p.Install(r.Context(), r.Form.Get("url")) },
		"call": func(r *http.Request) (any, error) {
			user, err := strconv.Atoi(r.Form.Get("user"))
			if err != nil {
				return nil, fmt.Errorf("user %q is no number", r.Form.Get("user"))
			}
			return p.ClickToCall(r.Context(), user, r.Form.Get("phone"))
		},
		"callback": func(r *http.Request) (any, error) {
			return true, p.RequestCallback(r.Context(), r.Form.Get("phone"), r.Form.Get("line"))
		},
		"expire": func(*http.Request) (any, error) { p.ExpireTokens(); return true, nil },
		"revoke": func(*http.Request) (any, error) { p.RevokeApp(); return true, nil },
		"rename": func(r *http.Request) (any, error) {
			if r.Form.Get("host") == "" {
				return nil, errors.New("host is missing")
			}
			p.Rename(r.Form.Get("host"))
			return true, nil
		},
	} {
		mux.HandleFunc("POST /emulator/"+name, func(w http.ResponseWriter, r *http.Request) {
			p.learn(r)
			err := r.ParseForm()
			var result any
			if err == nil {
				result, err = do(r)
			}
			out, status := map[string]any{"result": result}, http.StatusOK
			if err != nil {
				out, status = map[string]any{"error": err.Error()}, http.StatusBadRequest
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(out) // a client that has gone is no concern of the portal
		})
	}
	return http.NewCrossOriginProtection().Handler(mux)
}
