package kafka

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicIDVersion is the first version of Metadata that tells topics' ids
// (KIP-516, Apache Kafka 2.8); kafka-go knows it up to version 8.
const topicIDVersion = 10

// TopicIDs asks for the ids that the cluster gave topics when they were made,
// spelt as Kafka's tools do: a topic that was deleted and made anew has another
// one. Topics that do not exist are left out, without an error; "" is the id of
// one on brokers that give none. A broker may lag behind the others by a moment.
func (c *Client) TopicIDs(ctx context.Context, names ...string) (map[string]string, error) {
	ask := request{Message: &topicIDCall{names: names, client: c.cfg.ClientID}}
	res, err := roundTripOn[*topicIDAnswer](ctx, c, c.admin, ask)
	if isHangUp(err) { // the connection was idle, and its broker had ended it
		res, err = roundTripOn[*topicIDAnswer](ctx, c, c.admin, ask)
	}
	if err != nil {
		return nil, fmt.Errorf("ids of topics: %w", requestError(c.diagnosed(ctx, err)))
	}
	if res.topics == nil {
		return c.withoutIDs(ctx, names)
	}
	ids := make(map[string]string, len(names))
	for _, t := range res.topics {
		switch code := kafka.Error(t.ErrorCode); {
		case t.Topic == nil || code == kafka.UnknownTopicOrPartition:
		case code != 0:
			return nil, fmt.Errorf("id of topic %s: %w", *t.Topic, denied(requestError(code), onTopic("Describe", *t.Topic)))
		case t.TopicID == [16]byte{}:
			ids[*t.Topic] = ""
		default:
			ids[*t.Topic] = base64.RawURLEncoding.EncodeToString(t.TopicID[:])
		}
	}
	return ids, nil
}

// withoutIDs lists which topics exist, on brokers that give them no ids.
func (c *Client) withoutIDs(ctx context.Context, names []string) (map[string]string, error) {
	topics, err := c.Topics(ctx, names...)
	ids := make(map[string]string, len(topics))
	for name := range topics {
		ids[name] = ""
	}
	return ids, err
}

// topicIDCall asks a broker in two requests of its own making: which versions it
// knows, and then for the topics.
type topicIDCall struct {
	names  []string
	client string
}

// topicIDAnswer has no topics where the broker cannot tell ids.
type topicIDAnswer struct{ topics []kmsg.MetadataResponseTopic }

var _ protocol.RawExchanger = (*topicIDCall)(nil)

func (*topicIDCall) ApiKey() protocol.ApiKey   { return protocol.Metadata }
func (*topicIDAnswer) ApiKey() protocol.ApiKey { return protocol.Metadata }

// Required implements protocol.RawExchanger.
func (*topicIDCall) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange implements protocol.RawExchanger.
func (m *topicIDCall) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	versions := kmsg.NewPtrApiVersionsRequest() // version 0, which every broker knows
	known := kmsg.NewPtrApiVersionsResponse()
	if err := m.exchange(rw, versions, known); err != nil {
		return nil, err
	}
	if !tellsTopicIDs(known) {
		return &topicIDAnswer{}, nil
	}
	req := kmsg.NewPtrMetadataRequest()
	req.Version = topicIDVersion
	req.Topics = make([]kmsg.MetadataRequestTopic, len(m.names))
	for i := range m.names {
		req.Topics[i].Topic = &m.names[i]
	}
	res := kmsg.NewPtrMetadataResponse()
	res.Version = topicIDVersion
	if err := m.exchange(rw, req, res); err != nil {
		return nil, err
	}
	return &topicIDAnswer{append([]kmsg.MetadataResponseTopic{}, res.Topics...)}, nil
}

func tellsTopicIDs(known *kmsg.ApiVersionsResponse) bool {
	for _, k := range known.ApiKeys {
		if k.ApiKey == int16(protocol.Metadata) {
			return k.MinVersion <= topicIDVersion && topicIDVersion <= k.MaxVersion
		}
	}
	return false
}

// maxAnswerBytes bounds an answer about topics.
const maxAnswerBytes = 64 << 20

// exchange sends a request and reads its answer.
func (m *topicIDCall) exchange(rw io.ReadWriter, req kmsg.Request, res kmsg.Response) error {
	const correlation = 1 // the connection is ours until the answer is read
	if _, err := rw.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(m.client)).AppendRequest(nil, req, correlation)); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(rw, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 4 || n > maxAnswerBytes {
		return fmt.Errorf("an answer of %d bytes: %w", n, ErrCorrupt)
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(rw, answer); err != nil {
		return err
	}
	if id := binary.BigEndian.Uint32(answer); id != correlation {
		return fmt.Errorf("an answer to another request: %w", ErrCorrupt)
	}
	answer = answer[4:]
	if res.IsFlexible() {
		if len(answer) == 0 || answer[0] != 0 { // no broker sends fields in this header yet
			return fmt.Errorf("the header of an answer: %w", ErrCorrupt)
		}
		answer = answer[1:]
	}
	return res.ReadFrom(answer)
}
