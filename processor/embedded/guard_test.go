package embedded_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmentd/segmentd/processor/embedded"
)

type raw struct{ net.Conn }

func rawConn(t *testing.T, addr string) raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
	t.Cleanup(func() { _ = conn.Close() })
	return raw{conn}
}

// send writes a request.
func (r raw) send(t *testing.T, req kmsg.Request, version int16) {
	t.Helper()
	req.SetVersion(version)
	body := req.AppendTo(nil)
	if req.IsFlexible() {
		body = append([]byte{0}, body...)
	}
	_, err := r.Write(frame(req.Key(), version, body))
	must(t, err)
}

func frame(key, version int16, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(10+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, 1) // correlation id
	b = binary.BigEndian.AppendUint16(b, 0) // client id
	return append(b, body...)
}

// answered reads one answer; it is false where the connection is closed instead.
func (r raw) answered() bool {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return false
	}
	_, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(size[:])))
	return err == nil
}

// closed reports whether the broker has hung up without an answer.
func (r raw) closed() bool {
	n, err := io.Copy(io.Discard, r)
	var late net.Error
	return n == 0 && !(asTimeout(err, &late) && late.Timeout())
}

func asTimeout(err error, target *net.Error) bool {
	e, ok := err.(net.Error)
	*target = e
	return ok
}

// log is a buffer that goroutines share.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestFramesThatAreNoRequestsCloseTheConnection(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		bytes      []byte
	}{
		{"HTTP", "is no Kafka request", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")},
		{"TLS", "is no Kafka request", []byte{0x16, 0x03, 0x01, 0x02, 0, 1, 0, 1, 0xfc, 3, 3, 0}},
		{"too short", "is no Kafka request", []byte{0, 0, 0, 9, 0, 3, 0, 1, 0, 0, 0, 0, 0}},
		{"negative length", "is no Kafka request", []byte{0xff, 0xff, 0xff, 0xff, 0, 3, 0, 1}},
		{"unknown api key", "unknown api key 9999", frame(9999, 0, nil)},
		{"negative api key", "unknown api key -1", frame(-1, 0, nil)},
		{"unknown version", "unknown version 99 of api key 3", frame(3, 99, nil)},
		{"negative version", "unknown version -1 of api key 3", frame(3, -1, nil)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var warnings log
			b := start(t, embedded.Config{Logger: slog.New(slog.NewTextHandler(&warnings, nil))})
			conn := rawConn(t, b.Addr())
			_, err := conn.Write(tt.bytes)
			must(t, err)
			if !conn.closed() {
				t.Error("connection stays open")
			}
			if !strings.Contains(warnings.String(), tt.want) {
				t.Errorf("log: %s", warnings.String())
			}
			connectsTo(t, b.Addr())
		})
	}
}

func TestTruncatedFrames(t *testing.T) {
	b := start(t, embedded.Config{})
	whole := frame(3, 1, kmsg.NewPtrMetadataRequest().AppendTo(nil))
	for n := range whole {
		conn := rawConn(t, b.Addr())
		_, err := conn.Write(whole[:n])
		must(t, err)
		must(t, conn.Close())
	}
	connectsTo(t, b.Addr())
}

func TestFramesInPiecesAreWhole(t *testing.T) {
	b := start(t, embedded.Config{})
	conn := rawConn(t, b.Addr())
	for range 3 {
		for _, c := range frame(3, 1, kmsg.NewPtrMetadataRequest().AppendTo(nil)) {
			_, err := conn.Write([]byte{c})
			must(t, err)
		}
		if !conn.answered() {
			t.Fatal("no answer")
		}
	}
}

// Whatever a stranger sends, the broker goes on serving the others. Requests with
// tagged fields get no random bytes: kmsg counts through any number of them.
func TestRandomRequests(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	b := start(t, embedded.Config{})
	for range 1500 {
		conn := rawConn(t, b.Addr())
		key, version := int16(rnd.IntN(100))-3, int16(rnd.IntN(16))
		_, _ = conn.Write(frame(key, version, randomBody(rnd, key, version)))
		_ = conn.Close()
	}
	connectsTo(t, b.Addr())
}

func randomBody(rnd *rand.Rand, key, version int16) []byte {
	if req := kmsg.RequestForKey(key); req != nil {
		if req.SetVersion(version); req.IsFlexible() {
			return append([]byte{0}, req.AppendTo(nil)...)
		}
	}
	body := make([]byte, rnd.IntN(60))
	for i := range body {
		if rnd.IntN(3) == 0 {
			body[i] = byte(rnd.IntN(256))
		}
	}
	return body
}
