package kafkatest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OnDisk returns all that the node's files of a partition hold: as it is, and
// the keys, values and headers of their batches, decompressed. A partition that the
// node has not is empty.
func (n *Node) OnDisk(topic string, partition int32) (string, error) {
	dir := filepath.Join(n.DataDir(), fmt.Sprintf("%s-%d", topic, partition))
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var text strings.Builder
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		text.Write(b)
		if !strings.Contains(e.Name(), ".log") { // such as .log.deleted, which waits for its end
			continue
		}
		p := kmsg.NewFetchResponseTopicPartition()
		p.RecordBatches = b
		batches, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: topic, KeepControlRecords: true}, &p, kgo.DefaultDecompressor(), nil)
		for _, r := range batches.Records {
			fmt.Fprintf(&text, "%s=%s %s\n", r.Key, r.Value, r.Headers)
		}
	}
	return text.String(), nil
}
