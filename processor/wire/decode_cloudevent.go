package wire

import (
	"bytes"
	"mime"
	"strings"
	"unicode/utf8"

	"github.com/segmentd/segmentd/processor/stream"
	"github.com/segmentd/segmentd/state/subject"
)

// CloudEvents 1.0, Kafka protocol binding 1.0.2: attributes are headers with
// this prefix in binary mode, members of the record in structured mode.
const (
	cePrefix          = "ce_"
	contentType       = "content-type"
	structuredContent = "application/cloudevents"
)

func isBinaryCloudEvent(headers []stream.Header) bool {
	binary := false
	for i := range headers {
		switch {
		case strings.EqualFold(headers[i].Key, cePrefix+"specversion"):
			binary = true
		case strings.EqualFold(headers[i].Key, contentType) && bytes.HasPrefix(headers[i].Value, []byte(structuredContent)):
			return false
		}
	}
	return binary
}

// isCloudEvent reports whether the opened record is a structured CloudEvent.
func (d *Decoder) isCloudEvent() bool {
	return d.opts.Format != FormatJSON && d.env[fieldSpecVersion] != nil
}

// checkFormat rejects what is no CloudEvent where nothing else is taken.
func (d *Decoder) checkFormat() *Reject {
	if d.opts.Format == FormatCloudEvents && d.env[fieldSpecVersion] == nil {
		return &Reject{UnsupportedFormat, "no CloudEvent: specversion is missing"}
	}
	return nil
}

// attributes are what segmentd reads of a CloudEvent's context.
type attributes struct {
	specVersion, id, source, name, partitionKey string
	time, dataContentType                       string
}

// cloudEvent decodes the opened record as a structured CloudEvent.
func (d *Decoder) cloudEvent(in Input) (Item, *Reject) {
	var a attributes
	for _, m := range []struct {
		field field
		to    *string
	}{
		{fieldSpecVersion, &a.specVersion}, {fieldID, &a.id}, {fieldSource, &a.source}, {fieldType, &a.name},
		{fieldPartitionKey, &a.partitionKey}, {fieldTime, &a.time}, {fieldDataContentType, &a.dataContentType},
	} {
		text, rejected := d.text(m.field)
		if rejected != nil {
			return Item{}, rejected
		}
		*m.to = string(text)
	}
	if d.env[fieldDataBase64] != nil {
		return Item{}, &Reject{UnsupportedFormat, "data_base64: the data is not JSON"}
	}
	return d.fromAttributes(in, a, d.env[fieldData])
}

// binaryCloudEvent decodes a record whose headers are the attributes and whose
// value is the data.
func (d *Decoder) binaryCloudEvent(in Input) (Item, *Reject) {
	a := attributesOf(in.Headers)
	if !isJSON(a.dataContentType) {
		return Item{}, &Reject{UnsupportedFormat, "content-type is not JSON"}
	}
	if len(in.Value) == 0 {
		return d.fromAttributes(in, a, nil)
	}
	body, rejected := d.body(in)
	if rejected != nil {
		return Item{}, rejected
	}
	data, err := d.validate(body)
	if err != nil {
		return Item{}, syntaxReject(err, len(in.Value)-len(body))
	}
	return d.fromAttributes(in, a, data)
}

func attributesOf(headers []stream.Header) (a attributes) {
	for i := range headers {
		value := headers[i].Value
		switch strings.ToLower(headers[i].Key) {
		case cePrefix + "specversion":
			a.specVersion = string(value)
		case cePrefix + "id":
			a.id = string(value)
		case cePrefix + "source":
			a.source = string(value)
		case cePrefix + "type":
			a.name = string(value)
		case cePrefix + "partitionkey":
			a.partitionKey = string(value)
		case cePrefix + "time":
			a.time = string(value)
		case contentType:
			a.dataContentType = string(value)
		}
	}
	return a
}

// isJSON reports whether a media type is JSON; none means JSON (CloudEvents
// 1.0, datacontenttype).
func isJSON(mediaType string) bool {
	if mediaType == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(mediaType)
	return err == nil && (t == "application/json" || t == "text/json" || strings.HasSuffix(t, "+json"))
}

func (d *Decoder) fromAttributes(in Input, a attributes, data []byte) (Item, *Reject) {
	if rejected := a.check(); rejected != nil {
		return Item{}, rejected
	}
	id, rejected := d.cloudEventSubject(in, a)
	if rejected != nil {
		return Item{}, rejected
	}
	at, rejected := d.cloudEventTime(in, a.time)
	if rejected != nil {
		return Item{}, rejected
	}
	d.reset(in, id, at)
	// A space cannot occur in a source (RFC 3986), so the pair stays unique.
	d.setMessage([]byte(a.source + " " + a.id))
	d.event.Name = d.shared([]byte(a.name))
	if d.properties != nil && data != nil {
		d.fill(d.properties, data)
	}
	return d.eventItem(), nil
}

// check holds an event to what CloudEvents 1.0 requires.
func (a attributes) check() *Reject {
	switch {
	case !utf8.ValidString(a.id + a.source + a.name):
		return &Reject{Malformed, "an attribute is not valid UTF-8"}
	case a.specVersion != "1.0":
		return &Reject{UnsupportedFormat, "specversion is not 1.0"}
	case a.id == "":
		return &Reject{Malformed, "id is missing"}
	case a.source == "":
		return &Reject{Malformed, "source is missing"}
	case a.name == "":
		return &Reject{Malformed, "type is missing"}
	case !isJSON(a.dataContentType):
		return &Reject{UnsupportedFormat, "datacontenttype is not JSON"}
	}
	return nil
}

// cloudEventSubject is the partition key, else the record's key.
func (d *Decoder) cloudEventSubject(in Input, a attributes) (subject.ID, *Reject) {
	id, name := a.partitionKey, fieldPartitionKey.String()
	if id == "" {
		id, name = string(in.Key), "the record's key"
	}
	if id == "" {
		return subject.ID{}, &Reject{NoSubject, "neither partitionkey nor a key"}
	}
	if rejected := checkID([]byte(id), name); rejected != nil {
		return subject.ID{}, rejected
	}
	return subject.ID{Type: subject.UserID, Value: id}, d.checkKey(in, id, name)
}

// cloudEventTime reads the time attribute, which is RFC 3339 whatever the
// input's unit of timestamps.
func (d *Decoder) cloudEventTime(in Input, text string) (subject.Instant, *Reject) {
	if text == "" {
		return arrivalOnly(in)
	}
	at, wrong := parseRFC3339([]byte(text))
	if wrong != "" {
		return 0, &Reject{BadTimestamp, "time " + wrong}
	}
	return at, d.checkFuture(in, at, "time")
}
