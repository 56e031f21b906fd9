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

// ceMode is how a record holds CloudEvents, as its headers say.
type ceMode uint8

const (
	ceUnsaid     ceMode = iota // no header says anything: the value may
	ceBinary                   // the headers are the attributes, the value the data
	ceStructured               // the value is an event
	ceBatch                    // the value is a list of events
	ceForeign                  // the value is an event in a format other than JSON
)

func modeOf(headers []stream.Header) ceMode {
	mode := ceUnsaid
	for i := range headers {
		switch {
		case strings.EqualFold(headers[i].Key, cePrefix+"specversion") && mode == ceUnsaid:
			mode = ceBinary
		case strings.EqualFold(headers[i].Key, contentType) && bytes.HasPrefix(bytes.ToLower(headers[i].Value), []byte(structuredContent)):
			mode = structuredMode(string(headers[i].Value))
		}
	}
	return mode
}

// structuredMode sorts media types that begin with application/cloudevents.
func structuredMode(mediaType string) ceMode {
	switch t, _, err := mime.ParseMediaType(mediaType); {
	case err == nil && strings.HasPrefix(t, structuredContent+"-batch"):
		return ceBatch
	case err == nil && (t == structuredContent || t == structuredContent+"+json"):
		return ceStructured
	}
	return ceForeign
}

// ceMode returns how a record of an input of the kind holds CloudEvents, or
// rejects one that says it does so in a way that is not read.
func (d *Decoder) ceMode(kind Kind, in Input) (ceMode, *Reject) {
	if len(in.Headers) == 0 || d.opts.Format == FormatJSON || kind != Events && kind != Mixed {
		return ceUnsaid, nil
	}
	mode := modeOf(in.Headers)
	switch mode {
	case ceBatch:
		return mode, &Reject{UnsupportedFormat, "a batch of CloudEvents: each record must be one"}
	case ceForeign:
		return mode, &Reject{UnsupportedFormat, "the content-type says a CloudEvent in a format other than JSON"}
	}
	return mode, nil
}

// isCloudEvent reports whether the opened record is a structured CloudEvent. If
// nothing else is taken, or its headers say that it is one, it must be.
func (d *Decoder) isCloudEvent(mode ceMode) (bool, *Reject) {
	switch {
	case d.opts.Format == FormatJSON:
		return false, nil
	case d.env[fieldSpecVersion] != nil:
		return true, nil
	case d.opts.Format == FormatCloudEvents || mode == ceStructured:
		return false, &Reject{UnsupportedFormat, "no CloudEvent: specversion is missing"}
	}
	return false, nil
}

// attributes are what segmentd reads of a CloudEvent's context.
type attributes struct {
	specVersion, id, source, name, partitionKey string
	time, dataContentType                       string
}

// attributes reads the opened record, a structured CloudEvent.
func (d *Decoder) attributes() (a attributes, rejected *Reject) {
	for _, m := range []struct {
		field field
		to    *string
	}{
		{fieldSpecVersion, &a.specVersion}, {fieldID, &a.id}, {fieldSource, &a.source}, {fieldType, &a.name},
		{fieldPartitionKey, &a.partitionKey}, {fieldTime, &a.time}, {fieldDataContentType, &a.dataContentType},
	} {
		text, rejected := d.text(m.field)
		if rejected != nil {
			return a, rejected
		}
		*m.to = string(text)
	}
	if d.env[fieldDataBase64] != nil {
		return a, &Reject{UnsupportedFormat, "data_base64: the data is not JSON"}
	}
	return a, nil
}

// cloudEvent decodes the opened record as a structured CloudEvent.
func (d *Decoder) cloudEvent(in Input) (Item, *Reject) {
	a, rejected := d.attributes()
	if rejected != nil {
		return Item{}, rejected
	}
	return d.fromAttributes(in, a, d.env[fieldData])
}

// binaryCloudEvent decodes a record whose headers are the attributes and whose
// value is the data.
func (d *Decoder) binaryCloudEvent(in Input) (Item, *Reject) {
	a := attributesOf(in.Headers)
	if len(in.Value) == 0 {
		return d.fromAttributes(in, a, nil)
	}
	if rejected := a.checkContent(); rejected != nil {
		return Item{}, rejected
	}
	data, rejected := d.parse(in)
	if rejected != nil {
		return Item{}, rejected
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
	if rejected := a.check(data); rejected != nil {
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
	d.setMessage([]byte(a.message()))
	d.event.Name = d.shared([]byte(a.name))
	if d.properties != nil && data != nil {
		d.fill(d.properties, data)
	}
	return d.eventItem(), nil
}

// message identifies an event. A space cannot occur in a source (RFC 3986), so
// the pair stays unique.
func (a attributes) message() string { return a.source + " " + a.id }

// check holds an event to what CloudEvents 1.0 requires of the attributes that
// are read; data is nil if it has none.
func (a attributes) check(data []byte) *Reject {
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
	case a.dataContentType != "" && !strings.Contains(a.dataContentType, "/"):
		return &Reject{Malformed, "datacontenttype is no media type"}
	case data != nil:
		return a.checkContent()
	}
	return nil
}

// checkContent rejects data that is not JSON.
func (a attributes) checkContent() *Reject {
	if !isJSON(a.dataContentType) {
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
