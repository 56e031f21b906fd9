package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/segmentd/segmentd/processor/opendsr"
)

// openDSRDir is where callbacks are that were not sent yet. They are nowhere else.
func openDSRDir(data string) string { return filepath.Join(data, "opendsr") }

// openOpenDSR makes what speaks OpenDSR; nil where it is not spoken.
func (s *service) openOpenDSR() (err error) {
	o := s.cfg.OpenDSR
	if !o.Spoken() {
		return nil
	}
	signer, err := o.Signer()
	if err != nil {
		return usageError(fmt.Errorf("opendsr: %w", err))
	}
	s.dsr, err = opendsr.New(opendsr.Config{ControllerID: o.ControllerID, Domain: o.ProcessorDomain, URL: o.BaseURL(), Certificate: o.Certificate,
		CallbackHosts: o.CallbackHosts, EraseWithin: s.cfg.Privacy.EraseWithin, Dir: openDSRDir(s.cfg.Data)},
		opendsr.Deps{Signer: signer, Results: s.requestResults, Logger: s.log, Count: s.metrics.CountCallback, Waiting: s.metrics.SetCallbacksWaiting})
	return err
}

// requestResults are the published results of requests, for callbacks.
func (s *service) requestResults(ctx context.Context, partition int32, from int64) ([]opendsr.Result, int64, error) {
	published, next, err := s.processor.Results(ctx, partition, from)
	var results []opendsr.Result
	for _, r := range published {
		results = append(results, opendsr.Result{ID: r.RequestID, Status: r.Status, At: r.Time, Offset: r.Offset})
	}
	return results, next, err
}
