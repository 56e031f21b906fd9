package processor

import (
	"errors"
	"fmt"

	"github.com/segmentd/segmentd/processor/stream"
)

// ConfigError is a fault that only a change of configuration mends; it stops
// the process.
type ConfigError struct{ Message string }

// Error implements error.
func (e *ConfigError) Error() string { return e.Message }

func configErrorf(format string, args ...any) error {
	return &ConfigError{fmt.Sprintf(format, args...)}
}

// StoppedError says why a partition cannot go on without an operator.
type StoppedError struct {
	Partition int32
	Message   string
}

// Error implements error.
func (e *StoppedError) Error() string {
	return fmt.Sprintf("partition %d stopped: %s", e.Partition, e.Message)
}

// errRecover asks for the recovery path: as after a crash.
var errRecover = errors.New("recover from the changelog")

// errInputMissing: an input topic does not exist, or no broker is known to have it.
var errInputMissing = errors.New("an input topic is missing")

// disposition is what follows from an error in a partition's session.
type disposition uint8

const (
	recoverAgain disposition = iota // back off, then the recovery path
	giveUp                          // end the process
)

// dispose sorts errors, in this one place: what an operator must mend ends the
// process (a GapError is none of them: its partition waits); all else, as the
// broker away or fenced, is tried again by the
// recovery path for as long as the partition is ours.
func dispose(err error) disposition {
	var configured *ConfigError
	var stopped *StoppedError
	if errors.As(err, &configured) || errors.As(err, &stopped) || errors.Is(err, stream.ErrFatal) || errors.Is(err, errStore) {
		return giveUp
	}
	return recoverAgain
}

// errStore marks failures of the local image.
var errStore = errors.New("local store")

func storeError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errStore, err)
}
