package kafkatest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentd/segmentd/processor/embedded"
)

// Where a broker is and where clients are told to find it that Delays are for:
// the same port on another address of loopback, as all of 127.0.0.0/8 is on Linux.
const (
	directHost  = "127.0.0.1"
	delayedHost = "127.0.0.2"
	// delayedListener is that of the real broker that is advertised there.
	delayedListener = "delayed"
)

// Delays of what clients and a broker send each other. Each piece that arrives is
// kept with a chance of 1 in OneIn, for up to Longest; what comes after it on the
// same connection waits too.
type Delays struct {
	Seed    uint64
	OneIn   int
	Longest time.Duration
}

// StartDelayed is Start with delays for whoever begins with one of the addresses
// of delayed. Other clients of an embedded broker need DialDirect to be spared.
// Where nothing can be delayed that is logged: a broker of SEGMENTD_TEST_BROKERS,
// a machine with one address of loopback.
func StartDelayed(t testing.TB, d Delays) (b *Broker, delayed []string) {
	t.Helper()
	real, err := shared()
	if err == nil {
		err = canDelay(real)
	}
	cfg := embedded.Config{MinSessionTimeout: time.Second}
	if err != nil {
		t.Log("nothing is delayed:", err)
		b = Start(t, cfg)
		return b, b.brokers
	}
	cfg.Advertise = delayedHost
	b = Start(t, cfg)
	var target string
	if b.Real() {
		target = real.cluster.Nodes[0].Listeners[delayedListener]
	} else {
		target = direct(b.brokers[0])
		b.brokers = []string{target}
	}
	through := strings.Replace(target, directHost, delayedHost, 1)
	ln, err := net.Listen("tcp", through)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, target: target, delays: d, open: map[net.Conn]bool{}}
	p.work.Go(p.serve)
	t.Cleanup(func() {
		p.close()
		t.Logf("%d of %d pieces of %d connections were delayed", p.kept.Load(), p.pieces.Load(), p.connections.Load())
	})
	return b, []string{through}
}

func canDelay(real backend) error {
	if len(real.brokers) > 0 && real.cluster == nil {
		return errors.New("the broker is not ours")
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(delayedHost, "0"))
	if err != nil {
		return err
	}
	return ln.Close()
}

// DialDirect goes around the delays of a broker of StartDelayed.
func DialDirect(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, direct(address))
}

func direct(address string) string { return strings.Replace(address, delayedHost, directHost, 1) }

// proxy passes connections on to a target.
type proxy struct {
	ln     net.Listener
	target string
	delays Delays
	work   sync.WaitGroup
	mu     sync.Mutex
	open   map[net.Conn]bool // guarded by mu; nil: closed

	connections, pieces, kept atomic.Int64
}

// serve accepts until the listener is closed.
func (p *proxy) serve() {
	for n := uint64(0); ; n += 2 {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.connections.Add(1)
		p.work.Go(func() { p.connect(client, n) })
	}
}

// connect passes on in both directions until one of them ends.
func (p *proxy) connect(client net.Conn, n uint64) {
	defer client.Close()
	broker, err := net.Dial("tcp", p.target)
	if err != nil {
		return // the client finds its connection closed
	}
	defer broker.Close()
	if !p.keep(client, broker) {
		return
	}
	defer p.forget(client, broker)
	var other sync.WaitGroup
	other.Go(func() { p.pass(broker, client, n) })
	p.pass(client, broker, n+1)
	other.Wait()
}

// pass passes on until either end is closed, and closes both then.
func (p *proxy) pass(to, from net.Conn, n uint64) {
	defer to.Close()
	defer from.Close()
	rng := rand.New(rand.NewPCG(p.delays.Seed, n))
	piece := make([]byte, 64<<10)
	for {
		read, err := from.Read(piece)
		if read > 0 {
			p.pieces.Add(1)
			if rng.IntN(p.delays.OneIn) == 0 {
				p.kept.Add(1)
				<-time.After(time.Duration(rng.Int64N(int64(p.delays.Longest))))
			}
			if _, err := to.Write(piece[:read]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		return false
	}
	for _, c := range conns {
		p.open[c] = true
	}
	return true
}

func (p *proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.open, c)
	}
}

// close ends all connections.
func (p *proxy) close() {
	_ = p.ln.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.open = nil
	p.mu.Unlock()
	p.work.Wait()
}
