package rules

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

// TestPeersRulesLoad loads the rules of the shared scenarios.
func TestPeersRulesLoad(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "..", "shared", "scenarios", "peers.jsonl"))
	if err != nil {
		t.Skipf("the shared scenarios are not beside the repository: %v", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var scenario struct{ ID, Rules string }
		if err := json.Unmarshal(lines.Bytes(), &scenario); err != nil {
			t.Fatal(err)
		}
		_, problems := Load(fstest.MapFS{"rules.yaml": {Data: []byte(scenario.Rules)}})
		for _, p := range problems {
			if p.Severity == Error {
				t.Errorf("%s: %v", scenario.ID, p)
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}
