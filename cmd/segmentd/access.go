package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/segmentd/segmentd/processor"
	"github.com/segmentd/segmentd/processor/access"
	"github.com/segmentd/segmentd/processor/admin"
	"github.com/segmentd/segmentd/processor/audit"
	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/transparency"
	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// auditDir is where the audit log is. Unlike the image it cannot be made anew.
func auditDir(data string) string { return filepath.Join(data, "audit") }

func (s *service) openAdmin(secret []byte) (err error) {
	if s.cfg.HTTP.TokensFile != "" {
		if s.tokens, err = access.Open(s.cfg.HTTP.TokensFile, s.log); err != nil {
			return usageError(fmt.Errorf("http.tokens_file: %w", err))
		}
	}
	s.audit, err = audit.Open(audit.Config{Dir: auditDir(s.cfg.Data)},
		audit.Deps{Logger: s.log, Written: s.metrics.CountAuditEntry, Failed: s.metrics.CountAuditFailure})
	if err != nil {
		return err
	}
	s.onClose(s.audit.Close)
	tlsConfig, err := s.cfg.HTTP.TLS.Config(func(err error) {
		s.log.Error("the listener's certificate stays as it is: its files cannot be used", "error", err)
	})
	if err != nil {
		return usageError(fmt.Errorf("http.tls: %w", err))
	}
	if err := s.openOpenDSR(); err != nil {
		return err
	}
	addresses := s.client.NewAddressBook(s.cfg.Group, s.sharedTopic())
	s.admin, err = admin.New(admin.Config{Listen: s.cfg.HTTP.Listen, Advertise: s.cfg.HTTP.Advertise, Pprof: s.cfg.HTTP.Pprof, TLS: tlsConfig,
		BehindTLSProxy: s.cfg.HTTP.BehindTLSProxy},
		admin.Deps{Tokens: s.tokens, Audit: s.audit.Append, Pseudonym: pseudonyms(secret), Metrics: s.metrics,
			Processor: s.processor, Gatherer: s.metrics.Gatherer(), Logger: s.log, Reload: s.reload, Absent: s.absentInputs, Receipt: s.receipt, Accessed: s.accessed,
			Owner: addresses.Owner, Owners: s.ownersIn(addresses), OpenDSR: s.dsr})
	if err != nil {
		return usageError(err)
	}
	return nil
}

// ownersIn lists who owns partitions.
func (s *service) ownersIn(addresses *kafka.AddressBook) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) { return addresses.Owners(ctx, s.partitions()) }
}

// receipt is the receipt of a subject's decisions.
func (s *service) receipt(c processor.Consents) any {
	return transparency.NewReceipt(s.documentSource(c.Rules),
		transparency.Decided{Subject: c.Subject, Proofs: c.Dossier.Proofs, Record: c.Record, Dropped: c.Dossier.Dropped, At: c.At, Made: time.Now()})
}

// accessed is what is kept about a subject with what goes with it.
func (s *service) accessed(kept processor.AccessDocument) any {
	return transparency.NewAccess(s.documentSource(s.processor.Rules()), kept)
}

// pseudonyms returns what the audit log writes of ids; safe for concurrent use.
func pseudonyms(secret []byte) func(subject.ID) string {
	var mu sync.Mutex
	keyer := state.NewKeyer(secret) // guarded by mu
	return func(id subject.ID) string {
		mu.Lock()
		defer mu.Unlock()
		return keyer.AuditID(id)
	}
}

// headEvery is how often the audit log's head is published, where it has moved.
const headEvery = time.Minute

// publishHead writes the head of the audit log into the log, which is kept
// elsewhere: whoever cuts the end of the one off does not reach the other.
func (s *service) publishHead(ctx context.Context) error {
	var published audit.Head
	for {
		if head := s.audit.Head(); head != published {
			s.log.Info("the audit log's head", "head", head.String())
			published = head
		}
		select {
		case <-time.After(headEvery):
		case <-ctx.Done():
			if head := s.audit.Head(); head != published {
				s.log.Info("the audit log's head", "head", head.String())
			}
			return nil
		}
	}
}
