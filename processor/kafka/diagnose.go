package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
)

// diagnosed finds out why brokers end connections with no or few words, or refuse
// a mechanism without saying what they take instead: it tries them by hand. Where
// it finds nothing it returns err.
func (c *Client) diagnosed(ctx context.Context, err error) error {
	if !isHangUp(err) && !isAlert(err) && !errors.Is(err, kafka.UnsupportedSASLMechanism) {
		return err
	}
	for _, address := range c.cfg.Brokers {
		if cause := c.diagnose(ctx, address); errors.Is(cause, ErrAccess) {
			return fmt.Errorf("connect to %s: %w", address, cause)
		}
	}
	return err
}

// diagnose takes the first steps of a connection, up to the login.
func (c *Client) diagnose(ctx context.Context, address string) error {
	conn, err := open(ctx, address, c.cfg.TLS)
	if err != nil {
		if c.cfg.TLS != nil && isHangUp(err) && c.talks(ctx, address, nil) {
			return &accessError{"kafka.tls.enabled: the broker does not speak TLS on this port", err}
		}
		return err
	}
	defer conn.Close()
	pc := c.bare(conn)
	if _, err := pc.RoundTrip(new(apiversions.Request)); err != nil {
		return c.noVersions(ctx, conn, address, err)
	}
	name := "none"
	if c.mechanism != nil {
		name = c.mechanism.Name()
	}
	msg, err := pc.RoundTrip(&saslhandshake.Request{Mechanism: name})
	if err != nil {
		return err
	}
	res := msg.(*saslhandshake.Response)
	offered := strings.ToLower(strings.Join(res.Mechanisms, ", "))
	switch code := kafka.Error(res.ErrorCode); {
	case code == kafka.UnsupportedSASLMechanism && c.mechanism == nil:
		return &accessError{"kafka.sasl.mechanism: it is not set, and the broker wants a login by one of " + offered, nil}
	case code == kafka.UnsupportedSASLMechanism:
		return &accessError{"kafka.sasl.mechanism: the broker does not offer it on this listener, but " + offered, nil}
	case code != 0 && c.mechanism != nil:
		return explain(code)
	}
	return nil
}

// noVersions is why a broker does not even answer the first request.
func (c *Client) noVersions(ctx context.Context, conn *secured, address string, err error) error {
	switch {
	case c.cfg.TLS != nil && conn.asked:
		return conn.refusedCertificate(err)
	case c.cfg.TLS == nil && c.talks(ctx, address, func() (*tls.Config, error) {
		return &tls.Config{InsecureSkipVerify: true}, nil // nothing is said to it
	}):
		return &accessError{"kafka.tls.enabled: it is not set, and the broker speaks TLS on this port", err}
	}
	return explain(err)
}

// talks reports whether a broker answers when it is talked to in another way:
// in plain text the first request, with TLS the handshake.
func (c *Client) talks(ctx context.Context, address string, tlsConfig func() (*tls.Config, error)) bool {
	conn, err := open(ctx, address, tlsConfig)
	if err != nil {
		return false
	}
	defer conn.Close()
	if tlsConfig == nil {
		_, err = c.bare(conn).RoundTrip(new(apiversions.Request))
	}
	return err == nil
}

// bare is a connection without the library's steps, bounded by dialTimeout.
func (c *Client) bare(conn net.Conn) *protocol.Conn {
	pc := protocol.NewConn(conn, c.cfg.ClientID)
	pc.SetVersions(map[protocol.ApiKey]int16{protocol.SaslHandshake: 1})
	pc.SetDeadline(time.Now().Add(dialTimeout))
	return pc
}
