package wire

import (
	"strings"

	"github.com/segmentd/segmentd/processor/wire/scan"
)

// categories reads Segment's context.consent: whatever is not true is denied.
func (d *Decoder) categories(consent []byte) *Reject {
	preferences, rejected := d.inside(consent, "context.consent", "categoryPreferences")
	if preferences == nil || rejected != nil {
		return rejected
	}
	if preferences[0] != '{' {
		return wrongKind("context.consent.categoryPreferences", preferences, "an object")
	}
	for m := scan.MembersOf(preferences); ; {
		name, value, ok := m.Next()
		if !ok {
			return nil
		}
		if value[0] != 't' {
			d.deny(name)
		}
	}
}

// deniedIDs reads RudderStack's context.consentManagement.
func (d *Decoder) deniedIDs(consent []byte) *Reject {
	const path = "context.consentManagement"
	ids, rejected := d.inside(consent, path, "deniedConsentIds")
	if ids == nil || rejected != nil {
		return rejected
	}
	if ids[0] != '[' {
		return wrongKind(path+".deniedConsentIds", ids, "a list")
	}
	for e := scan.ElementsOf(ids); ; {
		id, ok := e.Next()
		if !ok {
			return nil
		}
		if id[0] != '"' {
			return wrongKind("an element of "+path+".deniedConsentIds", id, "a string")
		}
		d.deny(id)
	}
}

func (d *Decoder) deny(quoted []byte) {
	d.denied = append(d.denied, strings.ToLower(string(d.unquote(quoted))))
}

// inside returns one member of an object, nil where it or the object is missing or null.
func (d *Decoder) inside(object []byte, path, member string) ([]byte, *Reject) {
	switch object[0] {
	case 'n':
		return nil, nil
	case '{':
	default:
		return nil, wrongKind(path, object, "an object")
	}
	for m := scan.MembersOf(object); ; {
		quoted, value, ok := m.Next()
		if !ok {
			return nil, nil
		}
		if string(d.unquote(quoted)) == member {
			if value[0] == 'n' {
				return nil, nil
			}
			return value, nil
		}
	}
}
