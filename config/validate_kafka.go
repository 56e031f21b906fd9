package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/segmentd/segmentd/processor/access"
	"github.com/segmentd/segmentd/processor/wire/mapping"
)

const inputsExample = `no inputs: say which topics to read and what they hold, for example
inputs:
  - topic: shop.events
    kind: event
  - topic: shop.consent
    kind: decision`

// broker checks where the brokers are.
func (v *validator) broker() {
	c := v.cfg
	switch {
	case c.Embedded && len(c.Kafka.Brokers) > 0:
		v.add("kafka.brokers", "brokers and --embedded exclude each other; give one of them")
	case v.lacks(NeedBroker) && !c.Embedded && len(c.Kafka.Brokers) == 0:
		v.add("", "no broker: give your Kafka's with --brokers host:port,… (or SEGMENTD_KAFKA_BROKERS, or kafka.brokers in the configuration file); to try segmentd without a Kafka, use --embedded")
	}
	for i, b := range c.Kafka.Brokers {
		if err := checkAddress(b, false); err != nil {
			v.add(indexPath("kafka.brokers", i), "%v", err)
		}
	}
}

// checkAddress checks host:port; a listener may leave out the host and take any port.
func checkAddress(address string, listener bool) error {
	host, port, err := net.SplitHostPort(address)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err == nil && portErr == nil && (listener || (host != "" && n > 0)) {
		return nil
	}
	example := "kafka-1:9092"
	if listener {
		example = "127.0.0.1:8080"
	}
	return fmt.Errorf("%q is not an address host:port such as %s", address, example)
}

// inputs checks the topics to read.
func (v *validator) inputs() {
	c := v.cfg
	if v.lacks(NeedInputs) && len(c.Inputs) == 0 {
		v.add("", "%s", inputsExample)
		return
	}
	first := map[string]int{}
	for i, in := range c.Inputs {
		path := indexPath("inputs", i)
		v.input(in, path)
		if in.Topic == "" {
			continue
		}
		if j, twice := first[in.Topic]; twice {
			v.add(path+".topic", "%q is the topic of inputs[%d], too; each topic is read once", in.Topic, j)
		}
		first[in.Topic] = i
	}
	for i, topic := range c.DropInputs {
		path := indexPath("drop_inputs", i)
		if v.topic(topic, path); slices.ContainsFunc(c.Inputs, func(in Input) bool { return in.Topic == topic }) {
			v.add(path, "%q is an input, too; take it out of one of the two", topic)
		}
	}
	v.partitioners()
	if v.lacks(NeedInputs) && len(c.InputsOf(KindEvent)) == 0 {
		v.add("inputs", "none has kind event; at least one is needed")
	}
}

func (v *validator) input(in Input, path string) {
	v.topic(in.Topic, path+".topic")
	if in.Kind == "" {
		v.missing(path+".kind", "missing; allowed: event, decision or request")
	}
	if in.Format == FormatCloudEvents && (in.Kind == KindDecision || in.Kind == KindRequest) {
		v.add(path+".format", "cloudevents is for events; a %s is JSON, and of another shape with map", in.Kind)
	}
	if len(in.Map) > 0 && mapping.Keys(mapping.Kind(in.Kind)) != nil {
		v.mapping(in, path+".map")
	}
}

// partitioners checks that all inputs agree: a subject has one partition, and
// where they do not its decisions never meet its events. any beside another one
// cannot be checked against it.
func (v *validator) partitioners() {
	words := []string{PartitionerMurmur2, PartitionerCRC32, PartitionerFNV1a, PartitionerAny}
	agreed, first := "", 0
	for i, in := range v.cfg.Inputs {
		switch {
		case !slices.Contains(words, in.Partitioner):
		case agreed == "":
			agreed, first = in.Partitioner, i
		case in.Partitioner != agreed:
			v.add(indexPath("inputs", i)+".partitioner", "is %s, inputs[%d].partitioner is %s: all inputs need one, or decisions would not be where the events are that they are about; "+
				"have all topics produced alike", in.Partitioner, first, agreed)
		}
	}
}

// mapping checks the expressions of an input, and that those are there without
// which each record would be rejected.
func (v *validator) mapping(in Input, path string) {
	_, problems := mapping.Compile(mapping.Kind(in.Kind), in.Map)
	for _, p := range problems {
		v.add(joinPath(path, p.Key), "%s", p.Text)
	}
	has := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(key string) bool { _, ok := in.Map[key]; return ok })
	}
	lacks := func(text string) {
		if !v.unread[path] {
			v.add(path, "%s", text)
		}
	}
	if !has("userId", "anonymousId") && in.Format != FormatCloudEvents {
		lacks("userId and anonymousId are missing; one of them is needed (userId: key, if it is the record's key)")
	}
	switch {
	case in.Kind == KindEvent && in.Format == FormatJSON && !has("event", "type"):
		lacks("event is missing; a text in quotes gives all records one name")
	case in.Kind == KindDecision && !has("type") && !(has("purpose") && has("status")):
		lacks("purpose and status are both needed")
	case in.Kind == KindRequest && !(has("request") && has("requestId")):
		lacks("request and requestId are both needed")
	}
}

func (v *validator) topic(name, path string) {
	switch {
	case name == "":
		v.missing(path, "missing; the name of a topic is needed")
	case !topicName.MatchString(name) || name == "." || name == "..":
		v.add(path, "%q is not a topic's name; allowed: letters, digits, '.', '_' and '-'", name)
	case len(name) > maxTopicBytes:
		v.add(path, "%d characters; at most %d are allowed", len(name), maxTopicBytes)
	}
	for _, own := range v.cfg.OwnTopics().All() {
		if name == own {
			v.add(path, "%q is a topic that segmentd writes; it cannot be an input", name)
		}
	}
}

// security checks TLS and SASL towards the brokers.
func (v *validator) security() {
	k := v.cfg.Kafka
	if v.uses(NeedBroker) {
		if _, err := k.TLS.Config(); err != nil {
			v.lines("kafka.tls", err)
		}
	}
	if !k.TLS.Enabled && k.TLS != (ClientTLS{}) {
		v.add("kafka.tls", "has settings but enabled is not true")
	}
	if s := k.SASL; s.Mechanism != "" {
		v.login(s)
	} else if s != (SASL{}) {
		v.missing("kafka.sasl.mechanism", "missing; allowed: plain, scram-sha-256 or scram-sha-512")
	}
}

func (v *validator) login(s SASL) {
	if s.Username == "" {
		v.missing("kafka.sasl.username", "missing; it is needed with mechanism %s", s.Mechanism)
	}
	switch {
	case s.Password != "" && s.PasswordFile != "":
		v.add("kafka.sasl.password_file", "password is given, too; only one of the two is allowed")
	case s.Password == "" && s.PasswordFile == "":
		v.missing("kafka.sasl.password_file", "missing; give password_file, or SEGMENTD_KAFKA_SASL_PASSWORD")
	case v.uses(NeedBroker):
		if _, err := s.ReadPassword(); err != nil {
			v.add("kafka.sasl.password_file", "%v", err)
		}
	}
}

// lines reports each line of a joined error as a problem of its own.
func (v *validator) lines(path string, err error) {
	for line := range strings.Lines(err.Error()) {
		v.add(path, "%s", strings.TrimSuffix(line, "\n"))
	}
}

// listener checks the HTTP side.
func (v *validator) listener() {
	h := v.cfg.HTTP
	if err := checkAddress(h.Listen, true); err != nil {
		v.add("http.listen", "%v", err)
	}
	if h.Advertise != "" {
		if err := checkAddress(h.Advertise, false); err != nil {
			v.add("http.advertise", "%v", err)
		}
	}
	if !v.uses(NeedListener) {
		return
	}
	if _, err := h.TLS.Config(nil); err != nil {
		v.lines("http.tls", err)
	}
	if h.TokensFile == "" {
		return
	}
	if _, err := access.Load(h.TokensFile); err != nil {
		v.lines("http.tokens_file", err)
	}
	if !h.Loopback() && h.TLS == (ServerTLS{}) && !h.BehindTLSProxy {
		v.add("http.tokens_file", "beyond loopback (http.listen: %s) tokens would cross the network in the clear: set http.tls, or http.behind_tls_proxy where a proxy ends TLS", h.Listen)
	}
}

// risks are settings that are allowed and can hurt.
func (c *Config) risks() []string {
	var warnings []string
	for i, in := range c.Inputs {
		if in.Partitioner == PartitionerAny {
			warnings = append(warnings, fmt.Sprintf("inputs[%d].partitioner: any: the partitions of %s are not checked; where its producers hash keys unlike those of the other inputs, decisions do not reach the events they are about", i, in.Topic))
		}
	}
	if c.Kafka.SASL.Mechanism == MechanismPlain && !c.Kafka.TLS.Enabled {
		warnings = append(warnings, "kafka.sasl.mechanism: plain without kafka.tls: the password crosses the network in the clear")
	}
	return warnings
}

// Loopback reports whether the listener can be reached from this machine only.
func (h HTTP) Loopback() bool {
	host, _, err := net.SplitHostPort(h.Listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
