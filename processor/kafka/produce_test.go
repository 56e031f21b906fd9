package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmentd/segmentd/processor/kafka"
	"github.com/segmentd/segmentd/processor/stream"
)

// Batches that were written though their answer was lost or a refusal are
// recognised by their sequence when they come again.
func TestProducerWritesOnce(t *testing.T) {
	b, c := cluster(t, "t")
	p := c.NewProducer(kafka.ProducerConfig{})
	ctx := context.Background()
	var want []string
	for i := range 30 {
		switch i % 3 {
		case 1: // written, and refused all the same
			hooks(b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicasAfterAppend})
		case 2: // no answer
			hooks(b).ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("hang up"), true
			})
		}
		prefix := fmt.Sprintf("%d-", i)
		produced, err := p.Send(ctx, messages("t", prefix, 5))
		must(t, err)
		if len(produced) != 1 || produced[0].Count != 5 {
			t.Errorf("%+v", produced)
		}
		for j := range 5 {
			want = append(want, fmt.Sprint(prefix, j))
		}
	}
	if got := readAll(t, c, "t"); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestProducerReportsOffsets(t *testing.T) {
	_, c := cluster(t, "t")
	p := c.NewProducer(kafka.ProducerConfig{Compression: kafka.LZ4})
	for i := range 3 {
		produced, err := p.Send(context.Background(), messages("t", "v", 2))
		must(t, err)
		if produced[0].BaseOffset != int64(2*i) {
			t.Errorf("%+v", produced)
		}
	}
}

func TestProducerGivesUp(t *testing.T) {
	b, c := cluster(t, "t")
	p := c.NewProducer(kafka.ProducerConfig{})
	hooks(b).Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.TopicAuthorizationFailed})
	if _, err := p.Send(context.Background(), messages("t", "v", 1)); !errors.Is(err, stream.ErrFatal) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Send(ctx, messages("t", "v", 1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_, err := p.Send(context.Background(), messages("t", "ok", 1))
	must(t, err)
	if got := readAll(t, c, "t"); !slices.Equal(got, []string{"ok0"}) {
		t.Error(got)
	}
}
