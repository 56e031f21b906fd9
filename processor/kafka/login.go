package kafka

import (
	"context"
	"fmt"
	"sync"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// SASL says how to authenticate; the zero SASL does not.
type SASL struct {
	Mechanism string // "", "plain", "scram-sha-256" or "scram-sha-512"
	Username  string
	// Password is asked at each connection, by several goroutines at once.
	Password func() (string, error)
}

// mechanisms are Kafka's names.
var mechanisms = map[string]string{"plain": "PLAIN", "scram-sha-256": scram.SHA256.Name(), "scram-sha-512": scram.SHA512.Name()}

func (s SASL) mechanism() (sasl.Mechanism, error) {
	if s.Mechanism == "" {
		return nil, nil
	}
	if mechanisms[s.Mechanism] == "" {
		return nil, fmt.Errorf("kafka.sasl.mechanism %q: must be plain, scram-sha-256 or scram-sha-512", s.Mechanism)
	}
	return &login{SASL: s}, nil
}

// login is a mechanism whose password may change. What the library derives from
// one, by thousands of rounds of a hash, is kept until it does.
type login struct {
	SASL

	mu       sync.Mutex
	password string         // guarded by mu
	made     sasl.Mechanism // guarded by mu: with password
}

// Name implements sasl.Mechanism.
func (l *login) Name() string { return mechanisms[l.Mechanism] }

// Start implements sasl.Mechanism.
func (l *login) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	m, err := l.current()
	if err != nil {
		return nil, nil, &accessError{"kafka.sasl.password_file", err}
	}
	return m.Start(ctx)
}

func (l *login) current() (sasl.Mechanism, error) {
	password, err := l.Password()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.made != nil && l.password == password {
		return l.made, nil
	}
	if l.made, err = l.with(password); err != nil {
		return nil, err
	}
	l.password = password
	return l.made, nil
}

func (l *login) with(password string) (sasl.Mechanism, error) {
	switch l.Mechanism {
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, l.Username, password)
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, l.Username, password)
	}
	return plain.Mechanism{Username: l.Username, Password: password}, nil
}
