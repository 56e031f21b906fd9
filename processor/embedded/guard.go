package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Limits of a request's frame. kfake allocates whatever length it reads and
// panics, in a goroutine that cannot be guarded, on a key it does not know.
const (
	maxFrameBytes  = 64 << 20
	minFrameBytes  = headerBytes + 2 // and an empty client id
	headerBytes    = 8               // api key, api version, correlation id
	joinGroupKey   = 11
	apiVersionsKey = 18 // the one request whose version may be beyond what the broker knows (KIP-511)
)

// Pauses after a connection that could not be accepted.
const (
	leastAcceptPause = 10 * time.Millisecond
	mostAcceptPause  = time.Second
)

// guardedListener accepts connections that check every frame. It goes on after
// an accept that failed, as where the process may open no more files: kfake would
// listen no more.
type guardedListener struct {
	net.Listener
	addr net.Addr
	log  *slog.Logger
	open chan struct{} // closed once clients are let in
	once sync.Once
	shut chan struct{} // closed by Close
}

func (l *guardedListener) Addr() net.Addr { return l.addr }

func (l *guardedListener) Accept() (net.Conn, error) {
	select {
	case <-l.open:
	case <-l.shut:
	}
	for pause := leastAcceptPause; ; pause = min(2*pause, mostAcceptPause) {
		conn, err := l.Listener.Accept()
		if err == nil {
			return &guardedConn{Conn: conn, log: l.log, shut: make(chan struct{})}, nil
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		l.log.Warn("a connection cannot be accepted; trying again", "error", err)
		select {
		case <-time.After(pause):
		case <-l.shut:
			return nil, net.ErrClosed
		}
	}
}

func (l *guardedListener) Close() error {
	l.once.Do(func() { close(l.shut) })
	return l.Listener.Close()
}

// guardedConn lets only whole, plausible request headers through; after a bad
// one it closes the connection. One goroutine reads.
type guardedConn struct {
	net.Conn
	log  *slog.Logger
	buf  [4 + headerBytes]byte
	head []byte // checked bytes that have not been read yet
	rest int    // bytes of the frame that follow
	join joining
	once sync.Once
	shut chan struct{} // closed by Close
}

func (c *guardedConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(c.head) == 0 && c.rest == 0 {
		if err := c.nextFrame(); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(len(p), c.rest)])
	c.rest -= n
	return n, err
}

func (c *guardedConn) nextFrame() error {
	if _, err := io.ReadFull(c.Conn, c.buf[:4]); err != nil {
		return c.outlive(err)
	}
	length := binary.BigEndian.Uint32(c.buf[:4])
	if length < minFrameBytes || length > maxFrameBytes {
		return c.refuse(fmt.Errorf("frame of %d bytes is no Kafka request (%d to %d)", length, minFrameBytes, maxFrameBytes))
	}
	if _, err := io.ReadFull(c.Conn, c.buf[4:]); err != nil {
		return err
	}
	if err := checkHeader(c.buf[4:]); err != nil {
		return c.refuse(err)
	}
	if int16(binary.BigEndian.Uint16(c.buf[4:])) == joinGroupKey {
		return c.readJoin(c.buf[:], int(length))
	}
	c.head, c.rest = c.buf[:], int(length)-headerBytes
	return nil
}

func (c *guardedConn) refuse(err error) error {
	c.log.Warn("connection closed", "remote", c.RemoteAddr().String(), "reason", err)
	_ = c.Close()
	return err
}

func checkHeader(h []byte) error {
	key := int16(binary.BigEndian.Uint16(h))
	version := int16(binary.BigEndian.Uint16(h[2:]))
	req := kmsg.RequestForKey(key)
	switch {
	case req == nil:
		return fmt.Errorf("unknown api key %d", key)
	case version < 0, version > req.MaxVersion() && key != apiVersionsKey:
		return fmt.Errorf("unknown version %d of api key %d", version, key)
	}
	return nil
}
