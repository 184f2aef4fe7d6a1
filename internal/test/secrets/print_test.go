package secrets_test

import (
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/secrets"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/seal"
)

// TestPrintedValuesShowNoSecret prints the public types that hold secrets, by fmt and by slog.
func TestPrintedValuesShowNoSecret(t *testing.T) {
	s := secrets.New()
	secret, key := s.Plant("a secret"), s.Key("a key", seal.KeySize)
	env := map[string]string{"TOKEN": secret}
	url := "https://robot:" + secret + "@host.example/org/name"
	remote, err := naming.ParseRemote(url)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.AES(key, key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := berth.Config{Name: "p", Env: env, Sealer: sealer}
	request := berth.SessionRequest{TaskID: "t", Repository: url, Env: env}
	cmd := new(berth.Session).Command(t.Context(), "true")
	cmd.Env = []string{"TOKEN=" + secret}
	values := []any{
		cfg, &cfg, request, &request, berth.SessionRequest{Repository: "https://" + secret + "#@host"}, cmd,
		remote, &remote, agent.Fetch{URL: remote.URL, Username: secret, Password: secret, Env: env}, agent.Session{Env: env},
		agent.Command{Env: cmd.Env}, &agent.Command{Env: cmd.Env}, orchestrator.Credential{Username: secret, Password: secret},
		orchestrator.RegistryAuth{Username: "u", Password: secret, IdentityToken: secret, RegistryToken: secret},
		pool.Spec{UserData: []byte(secret)}, &pool.Spec{UserData: key}, sealer, seal.Chain(sealer, sealer),
	}
	for _, value := range values {
		s.Value("what is printed", value)
	}
	for _, value := range []any{
		[]berth.Config{cfg}, map[string]berth.SessionRequest{"r": request}, struct{ R berth.SessionRequest }{request},
	} {
		s.Printed("what is printed", value)
	}
	for _, fault := range s.Check("") {
		t.Error(fault)
	}
}
