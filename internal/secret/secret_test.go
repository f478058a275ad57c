package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	"go.yaml.in/yaml/v3"

	"sverka/internal/secret"
)

const plain = "c0de-of-the-webhook"

type config struct {
	Webhook secret.Text  `json:"webhook" yaml:"webhook"`
	Token   *secret.Text `json:"token" yaml:"token"`
}

// TestTextNeverShows prints a Text in every way that a program prints things, alone and inside other values.
func TestTextNeverShows(t *testing.T) {
	t.Parallel()
	text := secret.Text(plain)
	inside := config{Webhook: text, Token: &text}
	values := []any{text, &text, inside, &inside, []secret.Text{text}, map[string]secret.Text{"k": text}}
	hex := fmt.Sprintf("%x", plain)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%10.20s", "%t", "%!"} {
		for _, value := range values {
			got := fmt.Sprintf(verb, value)
			if strings.Contains(got, plain) || strings.Contains(strings.ToLower(strings.ReplaceAll(got, " ", "")), hex) {
				t.Errorf("%s of %T shows the secret: %s", verb, value, got)
			}
		}
	}
	for _, value := range values {
		j, err := json.Marshal(value)
		if err != nil || strings.Contains(string(j), plain) {
			t.Errorf("JSON of %T: %s, %v", value, j, err)
		}
		y, err := yaml.Marshal(value)
		if err != nil || strings.Contains(string(y), plain) {
			t.Errorf("YAML of %T: %s, %v", value, y, err)
		}
		for _, formatter := range []logrus.Formatter{&logrus.TextFormatter{}, &logrus.JSONFormatter{}} {
			var out bytes.Buffer
			log := logrus.New()
			log.SetOutput(&out)
			log.SetFormatter(formatter)
			log.WithField("value", value).WithError(errors.New(fmt.Sprint(value))).Info("configured")
			if strings.Contains(out.String(), plain) || !strings.Contains(out.String(), "configured") {
				t.Errorf("log of %T: %s", value, out.String())
			}
		}
	}
}

func TestTextIsRead(t *testing.T) {
	t.Parallel()
	var fromJSON, fromYAML config
	if err := json.Unmarshal([]byte(`{"webhook":"`+plain+`"}`), &fromJSON); err != nil || fromJSON.Webhook.Reveal() != plain {
		t.Errorf("JSON: got %q, %v; want %q", fromJSON.Webhook.Reveal(), err, plain)
	}
	if err := yaml.Unmarshal([]byte("webhook: "+plain), &fromYAML); err != nil || fromYAML.Webhook.Reveal() != plain {
		t.Errorf("YAML: got %q, %v; want %q", fromYAML.Webhook.Reveal(), err, plain)
	}
}

func TestTextPrintsMask(t *testing.T) {
	t.Parallel()
	for text, want := range map[secret.Text]string{plain: "***", "": ""} {
		if got := fmt.Sprint(text); got != want {
			t.Errorf("Sprint(%q): got %q, want %q", text.Reveal(), got, want)
		}
		if got := text.GoString(); got != want {
			t.Errorf("GoString(%q): got %q, want %q", text.Reveal(), got, want)
		}
	}
}
