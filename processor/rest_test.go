package processor

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"
)

// moving runs a processor on the partitions that are assigned, generation after
// generation.
func (l *lab) moving() (r *running, assign func(...int32)) {
	l.t.Helper()
	assigned := make(chan []int32)
	r = l.open()
	r.run(func(ctx context.Context) error {
		if err := r.processor.SettleRules(ctx); err != nil {
			return err
		}
		var group errgroup.Group
		end := func() {}
		for {
			select {
			case partitions := <-assigned:
				end()
				if err := group.Wait(); err != nil {
					return err
				}
				gen := l.generation()
				gen.Partitions = partitions
				var generation context.Context
				generation, end = context.WithCancel(ctx)
				group.Go(func() error { return r.processor.Run(generation, gen) })
			case <-ctx.Done():
				end()
				return group.Wait()
			}
		}
	})
	return r, func(partitions ...int32) {
		l.t.Helper()
		select {
		case assigned <- partitions:
		case <-r.done:
			l.t.Fatalf("the processor stopped: %v", r.err)
		}
		eventually(l.t, fmt.Sprintf("%v are assigned", partitions), func() bool {
			joined, states := r.processor.States()
			return joined && len(states) == len(partitions)
		})
	}
}

// becomes waits until partitions are paused, or ready.
func (r *running) becomes(paused bool, partitions ...int32) {
	r.lab.t.Helper()
	for _, id := range partitions {
		eventually(r.lab.t, fmt.Sprintf("partition %d is paused %v", id, paused), func() bool {
			st := r.stateOf(id)
			return st.Paused == paused && st.Ready != paused
		})
	}
}

// What is asked of a partition that another instance owns is refused, and nothing
// comes of it when the partition is ours later.
func TestRestOfAnothersPartition(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules})
	r, assign := l.moving()
	asked := map[string]func(int32) error{
		"pause":  func(id int32) error { return r.processor.Pause(background(t), id) },
		"resume": func(id int32) error { return r.processor.Resume(background(t), id, false) },
		"accept": func(id int32) error { return r.processor.Resume(background(t), id, true) },
	}
	refused := func(id int32) {
		t.Helper()
		for name, ask := range asked {
			var elsewhere *NotOwnedError
			if err := ask(id); !errors.As(err, &elsewhere) || elsewhere.Partition != id {
				t.Errorf("%s of partition %d: %v", name, id, err)
			}
			var none *NoPartitionError
			if err := ask(2); !errors.As(err, &none) {
				t.Errorf("%s of a partition that is not there: %v", name, err)
			}
		}
	}
	refused(0) // no generation has begun
	assign(0)
	refused(1)
	r.becomes(false, 0)
	assign(0, 1)
	r.becomes(false, 0, 1)
	r.stop()
}

// A pause lasts as long as the partition stays; that of all is of those too that
// come later.
func TestPauseLastsWhileThePartitionStays(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules})
	r, assign := l.moving()
	assign(0, 1)
	must(t, r.processor.Pause(background(t), 1))
	assign(0, 1)
	r.becomes(true, 1)
	r.becomes(false, 0)
	assign(0)
	assign(0, 1)
	r.becomes(false, 0, 1)

	assign(0)
	must(t, r.processor.Pause(background(t), -1))
	r.becomes(true, 0)
	assign(0, 1)
	r.becomes(true, 0, 1)
	must(t, r.processor.Resume(background(t), -1, false))
	r.becomes(false, 0, 1)
	assign(1)
	assign(0, 1)
	r.becomes(false, 0, 1)
	r.stop()
}

// Who asks while a partition is not at work yet is told once it rests.
func TestPauseOfWhatBegins(t *testing.T) {
	l := newLab(t, labConfig{rules: clockRules})
	r, assign := l.moving()
	assign(0, 1)
	must(t, r.processor.Pause(background(t), 0))
	if st := r.stateOf(0); !st.Paused {
		t.Errorf("it was told that it rests: %+v", st)
	}
	r.stop()
}
