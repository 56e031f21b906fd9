package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// producer is one epoch of a transactional producer.
type producer struct {
	id    int64
	epoch int16
}

// journal remembers which transactions were being committed. kfake writes the
// markers of a transaction's partitions one after another and nothing before:
// without the journal a kill in between would leave the transaction committed
// in some and open in others. Used by kfake's one request goroutine alone.
//
// INVARIANT: "committing" is on disk before the first marker of a commit, and
// "begun" before the first record of the transaction after it.
type journal struct {
	file *os.File
	path string
	size int64
	last map[producer]bool // true: committing
}

const (
	journalName       = "commits.log"
	journalEntryBytes = 15 // id, epoch, committing, checksum
	journalMaxBytes   = 1 << 20
)

// readJournal returns what the journal of a directory says of each producer.
func readJournal(dir string) (map[producer]bool, error) {
	b, err := os.ReadFile(filepath.Join(dir, journalName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the broker's journal: %w", err)
	}
	last := map[producer]bool{}
	for ; len(b) >= journalEntryBytes; b = b[journalEntryBytes:] {
		if crc32.ChecksumIEEE(b[:11]) != binary.BigEndian.Uint32(b[11:]) {
			break
		}
		last[producer{int64(binary.BigEndian.Uint64(b)), int16(binary.BigEndian.Uint16(b[8:]))}] = b[10] == 1
	}
	return last, nil
}

// newJournal begins an empty one.
func newJournal(dir string) (*journal, error) {
	path := filepath.Join(dir, journalName)
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("begin the broker's journal: %w", err)
	}
	return &journal{file: f, path: path, last: map[producer]bool{}}, nil
}

func (j *journal) close() error { return j.file.Close() }

// note writes what a producer is about to do, unless that is known.
func (j *journal) note(p producer, committing bool) error {
	if known, ok := j.last[p]; ok && known == committing {
		return nil
	}
	if j.size > journalMaxBytes {
		if err := j.rewrite(); err != nil {
			return err
		}
	}
	j.last[p] = committing
	return j.write(p, committing)
}

func (j *journal) write(p producer, committing bool) error {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, journalEntryBytes), uint64(p.id))
	b = binary.BigEndian.AppendUint16(b, uint16(p.epoch))
	if committing {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	n, err := j.file.Write(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
	j.size += int64(n)
	return err
}

// rewrite keeps the newest entry of the newest epoch of each producer.
func (j *journal) rewrite() error {
	newest := map[int64]int16{}
	for p := range j.last {
		newest[p.id] = max(newest[p.id], p.epoch)
	}
	f, err := os.Create(j.path + ".tmp")
	if err != nil {
		return err
	}
	old := *j
	*j = journal{file: f, path: old.path, last: map[producer]bool{}}
	for p, committing := range old.last {
		if newest[p.id] != p.epoch {
			continue
		}
		j.last[p] = committing
		if err := j.write(p, committing); err != nil {
			*j = old
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(os.Rename(j.path+".tmp", j.path), old.file.Close())
}

// watch notes the beginnings and commits of transactions before kfake carries
// them out; a request that cannot be noted is not carried out.
func (j *journal) watch(c *kfake.Cluster) {
	for key, note := range map[kmsg.Key]func(kmsg.Request) error{
		kmsg.AddPartitionsToTxn: j.noteAdd,
		kmsg.Produce:            j.noteProduce,
		kmsg.EndTxn:             j.noteEnd,
	} {
		c.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			if err := note(req); err != nil {
				c.KeepControl()
				return nil, fmt.Errorf("note in the broker's journal: %w", err), true
			}
			return nil, nil, false
		})
	}
}

func (j *journal) noteAdd(req kmsg.Request) error {
	r := req.(*kmsg.AddPartitionsToTxnRequest)
	if r.Version <= 3 {
		return j.note(producer{r.ProducerID, r.ProducerEpoch}, false)
	}
	for _, t := range r.Transactions {
		if err := j.note(producer{t.ProducerID, t.ProducerEpoch}, false); err != nil {
			return err
		}
	}
	return nil
}

// noteProduce sees the beginnings that are not announced (KIP-890).
func (j *journal) noteProduce(req kmsg.Request) error {
	r := req.(*kmsg.ProduceRequest)
	if r.Version < 12 || r.TransactionID == nil {
		return nil
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if len(p.Records) < batchHeaderBytes {
				continue
			}
			if err := j.note(headerOf(p.Records).producer, false); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *journal) noteEnd(req kmsg.Request) error {
	r := req.(*kmsg.EndTxnRequest)
	if !r.Commit {
		return nil
	}
	return j.note(producer{r.ProducerID, r.ProducerEpoch}, true)
}
