package pool

import (
	"context"
	"strings"
	"time"
	"unicode"
)

const (
	explainTimeout = 10 * time.Second // of Explain: an instance that failed costs money while it is asked
	maxExplanation = 1000             // bytes of an explanation that are kept: the last ones, which say what came last
)

// explain retires an instance that did not boot, with what its cloud knows of it.
func (r *run) explain(ctx context.Context, cloud Explainer, a action) error {
	callCtx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	text, err := cloud.Explain(callCtx, a.cloudID)
	if err != nil {
		r.failed(ctx, "cannot learn why an instance did not boot", err, "instance", a.instance, "machine", a.cloudID)
	}
	if text = cleanTail(text); text != "" {
		a.reason += ". Its machine says: " + text
	}
	return r.change(ctx, a)
}

// cleanTail returns the end of a text, without what could disturb a terminal or a log.
func cleanTail(text string) string {
	if len(text) > maxExplanation {
		text = "…" + text[len(text)-maxExplanation:]
	}
	text = strings.Map(func(c rune) rune {
		switch {
		case c == '\n':
			return c
		case c == '\t':
			return ' '
		case !unicode.IsPrint(c):
			return -1
		}
		return c
	}, strings.ToValidUTF8(text, ""))
	return strings.TrimSpace(text)
}
