package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segmentd/segmentd/state/subject"
)

// company is what goes on beside the inputs of a live group.
type company struct {
	speakers    int
	hang, pause time.Duration // of a speaker, at most
	rules       func(revision int) string
	every       time.Duration // the rules change; 0: never
}

// accompany starts the instances and the company, which goes on until an instant.
// finish waits for it, enters what speakers said, and lets all instances run.
func (l *live) accompany(until time.Time, c company) (finish func()) {
	l.startAll()
	group, ctx := errgroup.WithContext(l.t.Context())
	var speakers []*speaker
	for n := range c.speakers {
		s := l.newSpeaker(n, c.hang, c.pause)
		speakers = append(speakers, s)
		group.Go(func() error { return s.run(ctx, until) })
	}
	changed := 0
	if c.every > 0 {
		group.Go(func() (err error) {
			changed, err = l.changeRules(ctx, until, c)
			return err
		})
	}
	l.t.Cleanup(func() { _ = group.Wait() }) // where the test ended before finish
	return func() {
		l.t.Helper()
		l.must(group.Wait())
		for _, s := range speakers {
			for id, said := range s.ledger {
				l.ledger[id] = said
			}
			for what, n := range s.counts {
				l.troubles[what] += n
			}
		}
		if l.troubles["changes of rules"] = changed; c.every > 0 && changed == 0 {
			l.t.Error("the rules never changed")
		}
		l.startAll()
	}
}

// takeTurns lets instances go or come whose turn it is.
func (l *live) takeTurns() {
	for _, i := range l.instances {
		if time.Now().After(i.next) {
			i.turn()
		}
	}
}

// changeRules writes rules of a higher revision now and then, and asks one
// instance after the other to reload them; one that is started finds them anyway.
func (l *live) changeRules(ctx context.Context, until time.Time, c company) (changed int, err error) {
	client := &http.Client{Timeout: 5 * time.Second}
	for revision := 1; time.Until(until) > c.every; revision++ {
		select {
		case <-time.After(c.every):
		case <-ctx.Done():
			return changed, ctx.Err()
		}
		next := filepath.Join(l.dir, "next.yaml")
		if err := os.WriteFile(next, []byte(c.rules(revision)), 0o600); err != nil {
			return changed, err
		}
		if err := os.Rename(next, filepath.Join(l.dir, "rules", "load.yaml")); err != nil {
			return changed, err
		}
		for _, address := range append([]string{l.http}, l.others...) {
			res, err := client.Post("http://"+address+"/v1/admin/reload", "", nil)
			if err != nil {
				continue // it is away
			}
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				changed++
				break
			}
		}
	}
	return changed, nil
}

// revised is rules as of a revision: each fills a segment anew, and every other
// one reads the decisions of a purpose again. 0: as they were written.
func revised(text string, revision int) string {
	text = fmt.Sprintf(strings.Replace(text, "retention: 90d", "retention: 90d\n    consent_expires_after: %dd", 1), 300+revision/2, 30+revision)
	if revision == 0 {
		return text
	}
	return fmt.Sprintf("revision: %d\n%s", revision, text)
}

// check reads what was published and holds it against what was said.
func (l *live) check() (changes []subject.Change) {
	l.t.Helper()
	changes = l.changes()
	l.checkMembers(changes)
	by, found := bySubjectID(changes), 0
	for id, changes := range by {
		for _, what := range violations(l.ledger[id], changes) {
			if found++; found <= 20 {
				l.t.Errorf("%s: %s", id, what)
			}
		}
	}
	l.t.Logf("%d violations in %d changes by %d rule sets (seed %d)", found, len(changes), len(l.ruleSets), l.seed)
	l.controlled(by)
	code := run(context.Background(), []string{"verify", "--brokers", l.brokers}, streams{nil, os.Stderr, os.Stderr})
	if code != 0 {
		l.t.Errorf("verify ends with %d", code)
	}
	return changes
}

// controlled forges a change by each event that was sent after a stop, and wants
// each to be counted.
func (l *live) controlled(by map[string][]subject.Change) {
	l.t.Helper()
	forged := 0
	for id, said := range l.ledger {
		_, events := denialsOf(said, "marketing")
		for message := range events {
			forged++
			c := subject.Change{Segment: "forged", Purpose: "marketing", Kind: subject.Exited, Time: subject.LongAgo, CausedBy: message}
			if len(violations(said, append([]subject.Change{c}, by[id]...))) == 0 {
				l.t.Errorf("%s: a change by %s would not be counted", id, message)
			}
		}
	}
	if l.t.Logf("%d events were sent after a stop", forged); forged == 0 {
		l.t.Error("no event was sent after a stop")
	}
}
