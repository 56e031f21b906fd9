package embedded

import (
	"errors"
	"log/slog"
	"net"
	"syscall"
	"testing"
)

// failing is a listener of which as many accepts fail as there are errors.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	server, client := net.Pipe()
	_ = client.Close()
	return server, nil
}

func (f *failing) Close() error { return nil }

func TestConnectionsThatCannotBeAcceptedEndNothing(t *testing.T) {
	guard := func(errs ...error) *guardedListener {
		l := &guardedListener{Listener: &failing{errs: errs}, log: slog.New(slog.DiscardHandler), open: make(chan struct{}), shut: make(chan struct{})}
		close(l.open)
		return l
	}
	l := guard(&net.OpError{Op: "accept", Err: syscall.EMFILE}, &net.OpError{Op: "accept", Err: syscall.ECONNABORTED})
	conn, err := l.Accept()
	if err != nil {
		t.Fatal("the listener gave up:", err)
	}
	_ = conn.Close()

	closed := guard(&net.OpError{Op: "accept", Err: net.ErrClosed})
	if _, err := closed.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("a closed listener:", err)
	}
	endless := guard(syscall.EMFILE, syscall.EMFILE, syscall.EMFILE)
	if err := endless.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := endless.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("a listener closed while accepts fail:", err)
	}
}
