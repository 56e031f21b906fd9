package core

import (
	"encoding/json"
	"strings"
)

// ErasureReceipt is what is told of an erasure that is completed, as the detail of its
// request.
type ErasureReceipt struct {
	Stores []ErasedFrom `json:"stores"`
	Stays  []string     `json:"stays"`                  // what an erasure does not remove, and why
	Before string       `json:"erasedBefore,omitempty"` // date of the erasure before, RFC 3339
	Kept   string       `json:"kept,omitempty"`         // what came after its date and stays
}

// ErasedFrom is a store of a receipt. Instants are RFC 3339 in UTC.
type ErasedFrom struct {
	Store  string `json:"store"`
	Method string `json:"method"`
	Done   string `json:"done,omitempty"` // when it was gone
	By     string `json:"by,omitempty"`   // when it is gone at the latest, by the topic's settings at that time
	Note   string `json:"note,omitempty"` // the settings that make it so, or why there is no such time
}

// ParseErasureReceipt reads the detail of a request; ok is false where it is no receipt.
func ParseErasureReceipt(detail string) (r ErasureReceipt, ok bool) {
	ok = strings.HasPrefix(detail, "{") && json.Unmarshal([]byte(detail), &r) == nil
	return r, ok
}

// String is the receipt in one line of JSON.
func (r *ErasureReceipt) String() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic("invariant: a receipt is texts: " + err.Error())
	}
	return string(b)
}

// Lines are the receipt for people, a store each.
func (r *ErasureReceipt) Lines() (lines []string) {
	for _, from := range r.Stores {
		when := "gone since " + from.Done
		switch {
		case from.By != "":
			when = "gone by " + from.By + " at the latest (" + from.Note + ")"
		case from.Done == "":
			when = from.Note
		}
		lines = append(lines, from.Store+": "+when+"; "+from.Method)
	}
	if r.Before != "" {
		lines = append(lines, "erased before, as of "+r.Before)
	}
	if r.Kept != "" {
		lines = append(lines, "kept: "+r.Kept)
	}
	for _, stays := range r.Stays {
		lines = append(lines, "stays: "+stays)
	}
	return lines
}
