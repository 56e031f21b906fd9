package wire

import (
	"fmt"
	"strconv"

	"github.com/segmentd/segmentd/processor/portable"
	"github.com/segmentd/segmentd/processor/wire/scan"
	"github.com/segmentd/segmentd/state/subject"
)

// fromRequests decodes a record of a requests input.
func (d *Decoder) fromRequests(in Input) (Item, *Reject) {
	t, rejected := d.recordType()
	if rejected != nil {
		return Item{}, rejected
	}
	switch t {
	case typeRequest:
		return d.readRequest(in)
	case typeImport:
		return d.readImport(in)
	}
	return Item{}, unsupported(t, "a request topic")
}

// fromMixed decodes a record of an input that holds all kinds.
func (d *Decoder) fromMixed(in Input, mode ceMode) (Item, *Reject) {
	isCloudEvent, rejected := d.isCloudEvent(mode)
	switch {
	case rejected != nil:
		return Item{}, rejected
	case isCloudEvent:
		return d.cloudEvent(in)
	}
	t, rejected := d.recordType()
	switch {
	case rejected != nil:
		return Item{}, rejected
	case t == typeDecision:
		return d.decision(in)
	case t == typeRequest:
		return d.readRequest(in)
	case t == typeImport:
		return d.readImport(in)
	case t == typeTrack && d.isConsentCall():
		return d.consentCall(in)
	}
	return d.fromType(in, t)
}

// readRequest decodes a request. As with decisions, none is rejected for its date.
// One that stops something (erase, restrict) is in force whatever else is wrong with
// it, as long as its subject and what it asks are certain: where its requestId cannot
// be read, its source's position is its id.
func (d *Decoder) readRequest(in Input) (Item, *Reject) {
	id, rejected := d.subject(in)
	if rejected != nil {
		return Item{}, rejected
	}
	at, _ := d.decisionTime(in, fieldTimestamp)
	d.request = subject.Request{Subject: id, Time: at, Arrival: arrival(in), Source: in.Source}
	if rejected = d.requestKind(); rejected != nil {
		return Item{}, rejected
	}
	item := Item{Content: HasRequest, Subject: id, Request: &d.request}
	switch rejected = d.requestID(); {
	case rejected != nil && !d.request.Kind.Stops():
		return Item{}, rejected
	case rejected != nil:
		d.request.RequestID, item.Misunderstood = in.Source.String(), rejected.Detail
	}
	if d.request.Kind == subject.Rectify {
		traits, rejected := d.object(fieldTraits)
		if rejected != nil {
			return Item{}, rejected
		}
		d.readTraits(traits)
		d.request.Traits, d.request.Unread = d.updates, members(traits)-len(d.updates)
	}
	return item, nil
}

// members counts those of an object; 0 where there is none.
func members(object []byte) (n int) {
	if object == nil {
		return 0
	}
	for m := scan.MembersOf(object); ; n++ {
		if _, _, ok := m.Next(); !ok {
			return n
		}
	}
}

// protect takes a request of which a mapping could not evaluate all, if it stops
// something.
func (d *Decoder) protect(in Input, failed string) (Item, *Reject) {
	item, rejected := d.fromRequests(in)
	if rejected != nil || !item.Request.Kind.Stops() {
		return Item{}, &Reject{BadMapping, failed}
	}
	item.Misunderstood = failed
	return item, nil
}

// readImport decodes what another instance has handed over of a subject.
func (d *Decoder) readImport(in Input) (Item, *Reject) {
	id, rejected := d.subject(in)
	if rejected != nil {
		return Item{}, rejected
	}
	at, _ := d.decisionTime(in, fieldTimestamp)
	d.request = subject.Request{Subject: id, Kind: subject.Import, Time: at, Arrival: arrival(in), Source: in.Source}
	if rejected := d.requestID(); rejected != nil {
		return Item{}, rejected
	}
	document, rejected := d.object(fieldDocument)
	switch {
	case rejected != nil:
		return Item{}, rejected
	case document == nil:
		return Item{}, &Reject{Malformed, "document is missing"}
	case len(document) > portable.MaxBytes:
		return Item{}, &Reject{TooLarge, fmt.Sprintf("a document of %d bytes, at most %d are taken", len(document), portable.MaxBytes)}
	}
	of, read, err := portable.Parse(document)
	switch {
	case err != nil:
		return Item{}, &Reject{Malformed, "document: " + err.Error()}
	case of != id:
		return Item{}, &Reject{Malformed, "the document is another subject's"}
	}
	d.request.Portable = read
	return Item{Content: HasRequest, Subject: id, Request: &d.request}, nil
}

func (d *Decoder) requestID() *Reject {
	id, rejected := d.text(fieldRequestID)
	switch {
	case rejected != nil:
		return rejected
	case id == nil:
		return &Reject{Malformed, "requestId is missing"}
	case len(id) > subject.MaxIDBytes:
		return &Reject{Malformed, "requestId is longer than " + strconv.Itoa(subject.MaxIDBytes) + " bytes"}
	case !subject.ValidID(string(id)):
		return &Reject{Malformed, "requestId has control characters, as a line break"}
	}
	d.request.RequestID = string(id)
	return nil
}

func (d *Decoder) requestKind() *Reject {
	text, rejected := d.text(fieldRequest)
	switch {
	case rejected != nil:
		return rejected
	case text == nil:
		return &Reject{Malformed, "request is missing"}
	}
	for k := range subject.Import {
		if string(text) == k.String() {
			d.request.Kind = k
			return nil
		}
	}
	return &Reject{Malformed, "request is none of access, portability, erase, rectify, restrict, unrestrict"}
}
