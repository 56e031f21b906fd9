// Package config is the configuration of segmentd: one struct with its
// defaults, filled from a YAML file, the environment (SEGMENTD_…) and flags, in
// that order of rising precedence, and checked as a whole.
//
// The struct's tags and comments are the only place where a setting is
// described: the decoder, the checks, the effective configuration and CONFIG.md
// all follow them.
//
//	yaml     the key in the file; the path of keys also names the environment variable
//	default  the value where no source gives one
//	allowed  the words that are allowed, split by |
//	min, max the bounds, both inclusive
//	unit     bytes: a size such as 256KiB
package config

import "time"

//go:generate go test -run ^TestReference$ -update .

// Config is the whole configuration. It is not safe for concurrent change;
// once loaded nothing changes it, so everybody may read it.
type Config struct {
	// Directory of the rule files.
	Rules string `yaml:"rules"`
	// Let a change of rules remove segments that hold members, or all segments. Their members leave with the
	// reason `rule_removed`.
	AllowRemovals bool `yaml:"allow_removals" default:"false"`
	// Directory of the local image, which can be lost, as Kafka holds the truth, and of the audit log (`audit` in it) and callbacks that
	// were not sent yet (`opendsr`), which are nowhere else. Created where it is absent. One process at a time.
	Data string `yaml:"data" default:"segmentd-data"`
	// Run with a broker of its own in the same process, for one machine. Then `inputs` has a default
	// (topics `events`, `decisions` and `requests`), `topics.create` is true, and the secret is made at the first
	// start and kept in the data directory.
	Embedded bool `yaml:"embedded" default:"false"`
	// Address (host:port) of the embedded broker, for other Kafka clients; port 0 takes a free one.
	BrokerListen string `yaml:"broker_listen" default:"127.0.0.1:9092"`
	// Consumer group; also the prefix of the transactional ids and of the topics that segmentd owns.
	Group string `yaml:"group" default:"segmentd"`
	// File that holds the secret with which the keys of subjects are hashed, at least 16 bytes; white
	// space at its end does not count. Needed with real brokers, unless SEGMENTD_SECRET is set. With
	// another secret the kept state cannot be read. Make one with `openssl rand -base64 32`.
	SecretFile string `yaml:"secret_file"`
	// The secret itself, in place of `secret_file`; from the environment only.
	Secret Secret `yaml:"-" env:"SECRET"`

	Kafka  Kafka   `yaml:"kafka"`
	Inputs []Input `yaml:"inputs"` // Topics to read; none by default with real brokers. In the environment: a YAML list.
	// Topics that were inputs of the group and are none any more: their positions are forgotten, and what they hold
	// beyond is never read. Without this, an instance whose inputs lack a topic that the group has read is refused. It
	// is needed once: take it away when all partitions have been ready.
	DropInputs []string   `yaml:"drop_inputs"`
	Topics     Topics     `yaml:"topics"`
	Processing Processing `yaml:"processing"`
	Output     Output     `yaml:"output"`
	HTTP       HTTP       `yaml:"http"`
	Metrics    Metrics    `yaml:"metrics"`
	Log        Log        `yaml:"log"`
	Controller Controller `yaml:"controller"`
	Privacy    Privacy    `yaml:"privacy"`
	OpenDSR    OpenDSR    `yaml:"opendsr"`

	origins  map[string]string // path → the source that gave the value, where it is no default
	warnings []string          // of loading
}

// Kafka is the cluster and how to talk to it.
type Kafka struct {
	// Addresses (host:port) of some brokers; the others are learnt from them.
	Brokers []string  `yaml:"brokers"`
	TLS     ClientTLS `yaml:"tls"`
	SASL    SASL      `yaml:"sasl"`
	// After how long without a sign of an instance the others take its partitions over. Within the brokers'
	// `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
	SessionTimeout time.Duration `yaml:"session_timeout" default:"10s" min:"1s" max:"30m"`
}

// ClientTLS is TLS towards the brokers; 1.2 is the oldest version spoken.
type ClientTLS struct {
	// Talk TLS to the brokers.
	Enabled bool `yaml:"enabled" default:"false"`
	// PEM file of the authorities that may sign the brokers' certificates; the system's where it is empty.
	// This and the other files are read at each connection, so new ones need no restart.
	CAFile string `yaml:"ca_file"`
	// PEM file of our own certificate, for brokers that ask for one.
	CertFile string `yaml:"cert_file"`
	// PEM file of the key of `cert_file`.
	KeyFile string `yaml:"key_file"`
	// Name the brokers' certificates must bear, where it is not the host of their address.
	ServerName string `yaml:"server_name"`
}

// SASL is how to log in to the brokers.
type SASL struct {
	// Mechanism; empty: no login.
	Mechanism string `yaml:"mechanism" allowed:"plain|scram-sha-256|scram-sha-512"`
	// User name.
	Username string `yaml:"username"`
	// Password; better in `password_file` or the environment.
	Password Secret `yaml:"password"`
	// File that holds the password; a line end at its end does not count. Read at each connection, so a new
	// one needs no restart.
	PasswordFile string `yaml:"password_file"`
}

// The mechanisms of SASL.
const (
	MechanismPlain       = "plain"
	MechanismSCRAMSHA256 = "scram-sha-256"
	MechanismSCRAMSHA512 = "scram-sha-512"
)

// Input is one topic to read.
type Input struct {
	// Name of the topic.
	Topic string `yaml:"topic"`
	// What its records are: what subjects did, what they said about a purpose, or what they ask for as data subjects.
	Kind string `yaml:"kind" allowed:"event|decision|request"`
	// Format of the values; `auto` looks at each record. The 5 bytes that a schema registry's JSON serializer
	// puts in front are taken off.
	Format string `yaml:"format" default:"auto" allowed:"auto|json|cloudevents"`
	// How the producers choose the partition of a key: `murmur2` (Java), `crc32` (librdkafka), `fnv1a`
	// (Sarama, kafka-go). All inputs must have the same. Each record is checked against it; with `any`, on all inputs
	// or none, no record is, and you vouch that all topics are partitioned alike.
	Partitioner string `yaml:"partitioner" default:"murmur2" allowed:"murmur2|crc32|fnv1a|any"`
	// What timestamps are: RFC 3339 text, or a number of seconds, milliseconds or microseconds since 1970.
	TimestampUnit string `yaml:"timestamp_unit" default:"rfc3339" allowed:"rfc3339|s|ms|us"`
	// For records of another shape: a CEL expression for each member of ours, over `key`, `value` and `headers`. Of an
	// event: userId, anonymousId, type (track where it is left out), event, messageId, timestamp, properties, traits, context; of a decision:
	// userId, anonymousId, purpose, status, timestamp, explicit, expiresAt, noticeVersion, method, recordId, and type, event and context for Segment's consent call;
	// of a request: userId, anonymousId, requestId, request, timestamp, traits.
	// Nothing else of a record counts, but a CloudEvent's attributes give what the map leaves out. INPUTS.md has examples.
	Map map[string]string `yaml:"map"`
}

// The kinds of inputs.
const (
	KindEvent    = "event"
	KindDecision = "decision"
	KindRequest  = "request"
)

// The formats of inputs.
const (
	FormatAuto        = "auto"
	FormatJSON        = "json"
	FormatCloudEvents = "cloudevents"
)

// The partitioners of inputs.
const (
	PartitionerMurmur2 = "murmur2"
	PartitionerCRC32   = "crc32"
	PartitionerFNV1a   = "fnv1a"
	PartitionerAny     = "any"
)

// The units of timestamps.
const (
	TimestampRFC3339      = "rfc3339"
	TimestampSeconds      = "s"
	TimestampMilliseconds = "ms"
	TimestampMicroseconds = "us"
)

// Topics says how to make the topics that segmentd owns.
type Topics struct {
	// Make topics that are absent. True by default with `embedded`.
	Create bool `yaml:"create" default:"false"`
	// Partitions of topics it makes. The inputs that exist must all have one number of partitions; owned topics follow them.
	Partitions int `yaml:"partitions" default:"12" min:"1" max:"10000"`
	// Replicas of topics it makes; -1 is the brokers' own default.
	ReplicationFactor int `yaml:"replication_factor" default:"-1" min:"-1" max:"100"`
}

// Processing bounds the work of a partition.
type Processing struct {
	// How long the first record of a batch waits for others.
	Linger time.Duration `yaml:"linger" default:"10ms" min:"0s" max:"10s"`
	// Bytes of input after which a batch is closed.
	BatchBytes int `yaml:"batch_bytes" unit:"bytes" default:"512KiB" min:"64KiB" max:"64MiB"`
	// Most bytes kept of one subject; beyond it the oldest evidence is dropped. A subject is one record, so it must fit into a record batch of 1 MiB.
	MaxSubjectBytes int `yaml:"max_subject_bytes" unit:"bytes" default:"256KiB" min:"4KiB" max:"900KiB"`
	// An event whose timestamp is further ahead of its arrival than this is rejected.
	MaxFutureSkew time.Duration `yaml:"max_future_skew" default:"5m" min:"0s" max:"30d"`
	// How long message ids are remembered to drop duplicates; 0s: not at all.
	DedupeWindow time.Duration `yaml:"dedupe_window" default:"24h" min:"0s" max:"365d"`
}

// Output is the shape of what is published.
type Output struct {
	// Shape of the changes: segmentd's own, or the track calls that Segment's destinations read.
	Format string `yaml:"format" default:"segmentd" allowed:"segmentd|segment"`
	// First part of the CloudEvents type of a change, as in `segmentd.segment.entered`.
	CETypePrefix string `yaml:"ce_type_prefix" default:"segmentd"`
}

// The formats of outputs.
const (
	OutputSegmentd = "segmentd"
	OutputSegment  = "segment"
)

// HTTP is the listener for health, metrics, look-ups and requests.
type HTTP struct {
	// Address (host:port) to listen on; port 0 takes a free one. Beyond loopback and without tokens only health and metrics are served.
	Listen string `yaml:"listen" default:"127.0.0.1:8080"`
	// Address (host:port) under which other instances' clients reach this one: look-ups that it must answer are sent
	// there. Empty: `listen`, with the machine's name in the place of a wildcard.
	Advertise string    `yaml:"advertise"`
	TLS       ServerTLS `yaml:"tls"`
	// File of the bearer tokens that `/v1` and `/opendsr` then need, on loopback too: a YAML list of `{name, role, hash, expires}`, which
	// `segmentd token create` writes. Read again as it changes. Beyond loopback it needs `http.tls` or `http.behind_tls_proxy`.
	TokensFile string `yaml:"tokens_file"`
	// A proxy in front of `advertise` ends TLS, so that no token crosses a network in the clear: the listener may be plain HTTP beyond loopback.
	// Others are sent to `https://` and `advertise`.
	BehindTLSProxy bool `yaml:"behind_tls_proxy" default:"false"`
	// Serve /debug/pprof: with tokens to operators, without on loopback only.
	Pprof bool `yaml:"pprof" default:"false"`
}

// ServerTLS is TLS of the listener; 1.2 is the oldest version spoken.
type ServerTLS struct {
	// PEM file of the certificate; empty: plain HTTP. Read at each connection, so a new one needs no restart; one that cannot be used
	// leaves the one of before in use, and the log says so.
	CertFile string `yaml:"cert_file"`
	// PEM file of the key of `cert_file`.
	KeyFile string `yaml:"key_file"`
	// PEM file of authorities; where it is given, clients must show a certificate signed by one of them. Read at each connection.
	ClientCAFile string `yaml:"client_ca_file"`
}

// Metrics is what is measured.
type Metrics struct {
	// Metrics with a label for each segment; false for very many segments.
	PerSegment bool `yaml:"per_segment" default:"true"`
}

// Log is how the log is written, to stderr.
type Log struct {
	// Format of the lines.
	Format string `yaml:"format" default:"text" allowed:"json|text"`
	// Least level that is written.
	Level string `yaml:"level" default:"info" allowed:"debug|info|warn|error"`
}

// Controller is who decides what for and how data are processed (GDPR articles 4(7), 13(1), 30(1)(a)): for the record
// of processing and the notice, `segmentd record` and `segmentd notice`.
type Controller struct {
	// Name of the company, authority or person.
	Name string `yaml:"name"`
	// Postal address.
	Address string `yaml:"address"`
	// How subjects reach the controller: an e-mail address, a telephone number, a page.
	Contact string `yaml:"contact"`
	// How to reach the data protection officer, where there is one.
	DPO string `yaml:"dpo"`
	// Why none is needed (article 37(1)), in words, for the record: where special categories are processed, or profiling has a
	// significant effect, it is a gap that neither is said.
	NoDPO string `yaml:"no_dpo"`
	// Name and contact of the representative in the Union, where the controller is outside of it (article 27).
	Representative string `yaml:"representative"`
	// Country of the controller's main establishment.
	Country string `yaml:"country"`
}

// Privacy is by when erased data are gone, and what the record of processing and the notice say beyond the rules. Words of yours are
// shown as they are.
type Privacy struct {
	// How long after an erasure or a withdrawal what it deleted may still be in files of the data directory. They are
	// scrubbed once a quarter of it has passed.
	EraseWithin time.Duration `yaml:"erase_within" default:"1h" min:"1m" max:"30d"`
	// How long the data directory keeps the image of a partition that another instance has. Never longer than `erase_within`: what is
	// erased there meanwhile is not known here.
	KeepUnowned time.Duration `yaml:"keep_unowned" default:"24h" min:"10m" max:"30d"`
	// How long after an erasure what it deleted may still be on the compacted topics of the group (changelog, members). At a
	// start their settings are held against it. Changes and results go by `retention.ms`.
	EraseFromTopicsWithin time.Duration `yaml:"erase_from_topics_within" default:"4d" min:"1m" max:"365d"`
	// Whom the data are about, in fideslang's keys of data subjects.
	DataSubjects []string `yaml:"data_subjects" default:"customer"`
	// Where the data come from, in words (article 14(2)(f)), such as `what you do in our shop and app`.
	Sources string `yaml:"sources"`
	// How long you keep the messages on the input topics, in words (articles 13(2)(a), 30(1)(f)): segmentd deletes nothing there.
	InputRetention string `yaml:"input_retention"`
	// How to withdraw a consent, in words (article 13(2)(c)).
	Withdrawal string `yaml:"withdrawal"`
	// The supervisory authority to complain to, with its contact (article 13(2)(d)).
	Authority string `yaml:"authority"`
	// Security measures around segmentd, in words (article 30(1)(g)); its own are in the record anyway.
	Security string `yaml:"security"`
	// Transfers out of the Union or to international organisations (article 30(1)(e)); none are stated by default.
	Transfers []Transfer `yaml:"transfers"`
}

// Transfer is one transfer of memberships to a third country or international organisation.
type Transfer struct {
	// Who receives them there.
	Recipient string `yaml:"recipient"`
	// The country or organisation.
	Country string `yaml:"country"`
	// What protects them there: an adequacy decision, standard contractual clauses, …
	Safeguards string `yaml:"safeguards"`
}

// OpenDSR is the protocol by which a controller hands on the requests of data subjects to its processors, at `/opendsr/v2`: OpenDSR 2.0.
// It is spoken once `controller_id` is given; all but `url` and `callback_hosts` is needed then, and an input of kind `request`
// in segmentd's own shapes.
type OpenDSR struct {
	// What the controller is called in answers.
	ControllerID string `yaml:"controller_id"`
	// Domain under which the controller reaches OpenDSR here. The certificate is issued for it.
	ProcessorDomain string `yaml:"processor_domain"`
	// URL (https, at `processor_domain`) from which the certificate can be downloaded. segmentd does not serve it.
	Certificate string `yaml:"certificate"`
	// PEM file of that certificate, which an authority has signed; those of authorities in between may follow it. Read at the start, like `key_file`.
	CertFile string `yaml:"cert_file"`
	// PEM file of its key (RSA of 2048 bits at least, or ECDSA), with which answers and callbacks are signed.
	KeyFile string `yaml:"key_file"`
	// URL without a path under which the controller reaches it, for `results_url`. Empty: `https://` and `processor_domain`.
	URL string `yaml:"url"`
	// Where callbacks (`status_callback_urls`) may be sent: each a host, with its port unless that is the scheme's, such as `dsr.example.com`. Only https is spoken to them,
	// and http to loopback addresses. A request with another callback is refused, so none are sent by default.
	CallbackHosts []string `yaml:"callback_hosts"`
}

// OwnTopics are the names of the topics a group owns.
type OwnTopics struct {
	Changes, Members, Rejected, RequestResults, Changelog, Rules string
}

// OwnTopics returns the names of the topics the configured group owns.
func (c *Config) OwnTopics() OwnTopics {
	return OwnTopics{
		Changes:        c.Group + "-changes",
		Members:        c.Group + "-members",
		Rejected:       c.Group + "-rejected",
		RequestResults: c.Group + "-request-results",
		Changelog:      c.Group + "-changelog",
		Rules:          c.Group + "-rules",
	}
}

// All lists the names.
func (t OwnTopics) All() []string {
	return []string{t.Changes, t.Members, t.Rejected, t.RequestResults, t.Changelog, t.Rules}
}

// InputsOf returns the inputs of one kind, in the order they are configured.
func (c *Config) InputsOf(kind string) []Input {
	var found []Input
	for _, in := range c.Inputs {
		if in.Kind == kind {
			found = append(found, in)
		}
	}
	return found
}
