//go:build !segmentd_ungated

package consent_test

import (
	"testing"

	"github.com/segmentd/segmentd/processor/consent"
)

// TestConsentIsAskedFor holds that a build without tags has the gate.
func TestConsentIsAskedFor(t *testing.T) {
	if !consent.Gated {
		t.Fatal("the gate is open in a build without tags")
	}
}
