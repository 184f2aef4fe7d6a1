package wire

// Bounds of the questions for credentials.
const (
	MostQuestions = 16       // of one session at a time
	MostQuestion  = 16 << 10 // bytes of a question, and of an answer
)

// Question is agent.Question.
type Question struct {
	ID       string `json:"id"`
	Number   uint64 `json:"number"`
	Session  string `json:"session"`
	URL      string `json:"url"`
	Push     bool   `json:"push,omitempty"`
	Rejected bool   `json:"rejected,omitempty"`
	SSH      []byte `json:"ssh,omitempty"` // only if Session.SSH: a request to an agent of ssh. URL is "" then
	Bind     []byte `json:"bind,omitempty"`
}

// Answer is agent.Answer.
type Answer struct {
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
	Refusal  string `json:"refusal,omitempty"`
	SSH      []byte `json:"ssh,omitempty"`
}
