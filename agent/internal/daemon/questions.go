package daemon

import (
	"strconv"

	"github.com/berth-go/berth/agent/internal/credential"
	"github.com/berth-go/berth/agent/internal/wire"
)

// takeQuestions answers with questions of sessions' gits.
func takeQuestions(desk *credential.Desk) func(*request) error {
	return func(r *request) error {
		seen, err := strconv.ParseUint(r.query.Get("seen"), 10, 64)
		client := r.query.Get("manager")
		if err != nil || client == "" {
			return &wire.Error{Code: wire.CodeInvalid, Message: "no number, or no manager"}
		}
		return writeJSON(r, desk.Take(r.Context(), client, seen))
	}
}

// answerQuestion takes an answer.
func answerQuestion(desk *credential.Desk) func(*request) error {
	return func(r *request) error {
		var a wire.Answer
		if err := readJSON(r, &a); err != nil {
			return err
		}
		desk.Answer(r.values["id"], a)
		return nil
	}
}
