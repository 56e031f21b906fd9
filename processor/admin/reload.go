package admin

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/rules"
)

// RulesError is the problems of rule files that cannot be put in force.
type RulesError struct{ Problems []string }

// Error implements error.
func (e *RulesError) Error() string {
	return fmt.Sprintf("the rules have errors: %s", strings.Join(e.Problems, "; "))
}

type reloadedJSON struct {
	RuleSet  string        `json:"ruleSet"`
	Revision int64         `json:"revision"`
	Changed  bool          `json:"changed"`
	Segments rules.Summary `json:"segments"`
}

// reload puts the rule files as they are now in force. It answers once all
// partitions have accepted them; what they then do goes on.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	allow, ok := boolOf(w, r, "allowRemovals")
	if !ok {
		return
	}
	done, err := s.deps.Reload(r.Context(), allow)
	if err != nil {
		reloadProblem(w, err)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", reloadedJSON(done))
}

func reloadProblem(w http.ResponseWriter, err error) {
	var wrong *RulesError
	switch {
	case errors.As(err, &wrong):
		problemWith(w, http.StatusUnprocessableEntity, "the rules have errors; those in force stay", wrong.Problems)
	case errors.Is(err, processor.ErrRefused):
		problem(w, http.StatusConflict, err.Error())
	default:
		askAgain(w, err.Error())
	}
}
