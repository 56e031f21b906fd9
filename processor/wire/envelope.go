package wire

import "github.com/segmentd/segmentd/processor/wire/scan"

// field is a top-level member of an input record that the decoder may read.
type field uint8

const (
	fieldType field = iota
	fieldMessageID
	fieldUserID
	fieldAnonymousID
	fieldEvent
	fieldName
	fieldCategory
	fieldTimestamp
	fieldOriginalTimestamp
	fieldProperties
	fieldTraits
	fieldContext
	fieldPurpose
	fieldStatus
	fieldExplicit
	fieldExpiresAt
	fieldNoticeVersion
	fieldMethod
	fieldRecordID
	fieldRequestID
	fieldRequest
	fieldDocument
	fieldSpecVersion
	fieldID
	fieldSource
	fieldTime
	fieldData
	fieldDataBase64
	fieldDataContentType
	fieldPartitionKey
	fields
)

var fieldNames = [fields]string{"type", "messageId", "userId", "anonymousId", "event", "name", "category", "timestamp",
	"originalTimestamp", "properties", "traits", "context", "purpose", "status", "explicit", "expiresAt",
	"noticeVersion", "method", "recordId", "requestId", "request", "document",
	"specversion", "id", "source", "time", "data", "data_base64", "datacontenttype", "partitionkey"}

func (f field) String() string { return fieldNames[f] }

// fieldOf finds a field by its unquoted name; fields if there is none of it.
func fieldOf(name []byte) field {
	switch string(name) {
	case "type":
		return fieldType
	case "messageId":
		return fieldMessageID
	case "userId":
		return fieldUserID
	case "anonymousId":
		return fieldAnonymousID
	case "event":
		return fieldEvent
	case "name":
		return fieldName
	case "category":
		return fieldCategory
	case "timestamp":
		return fieldTimestamp
	case "originalTimestamp":
		return fieldOriginalTimestamp
	case "properties":
		return fieldProperties
	case "traits":
		return fieldTraits
	case "context":
		return fieldContext
	}
	return rareFieldOf(name)
}

func rareFieldOf(name []byte) field {
	for f := fieldPurpose; f < fields; f++ {
		if string(name) == fieldNames[f] {
			return f
		}
	}
	return fields
}

// envelope holds the raw values of a record's top-level members; nil where a
// member is missing or null.
type envelope [fields][]byte

// scan fills the envelope from a validated object.
func (e *envelope) scan(object, scratch []byte) (grown []byte) {
	*e = envelope{}
	for m := scan.MembersOf(object); ; {
		quoted, value, ok := m.Next()
		if !ok {
			return scratch
		}
		var name []byte
		name, scratch = scan.Unquote(quoted, scratch)
		if f := fieldOf(name); f < fields && value[0] != 'n' {
			e[f] = value
		}
	}
}
