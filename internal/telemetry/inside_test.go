package telemetry

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/berth-go/berth/orchestrator"
)

// TestEveryCallIsMeasured: a new method of an engine, of an agent or of a store of snapshots must be measured, or join those that are not.
func TestEveryCallIsMeasured(t *testing.T) {
	without := []string{
		"Inside.Done", "Inside.Err", "Inside.Close", "Host.Close", // no calls
		"Inside.EndedSessions", "Inside.Questions", // which wait for something to happen
	}
	var sources strings.Builder
	for _, name := range []string{"inside.go", "engine.go", "snapshots.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sources.Write(text)
	}
	for receiver, of := range map[string]reflect.Type{
		"i *measuredInside": reflect.TypeFor[orchestrator.Inside](), "h measuredHost": reflect.TypeFor[orchestrator.Host](),
		"e measuredEngine": reflect.TypeFor[orchestrator.Engine](), "s *measuredSnapshots": reflect.TypeFor[orchestrator.SnapshotStore](),
	} {
		for method := range of.Methods() {
			measured := strings.Contains(sources.String(), "func ("+receiver+") "+method.Name+"(")
			if excepted := slices.Contains(without, of.Name()+"."+method.Name); measured == excepted {
				t.Errorf("%s.%s is measured: %v", of.Name(), method.Name, measured)
			}
		}
	}
}
