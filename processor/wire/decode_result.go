package wire

import (
	"encoding/json"

	"github.com/segmentd/segmentd/state/subject"
)

// ParseRequestResult reads what Encoder.RequestResult wrote; false: it is something
// else.
func ParseRequestResult(value []byte) (r RequestResult, ok bool) {
	var read struct {
		RequestID string `json:"requestId"`
		Status    string `json:"status"`
		Time      string `json:"time"`
		Detail    string `json:"detail"`
	}
	if json.Unmarshal(value, &read) != nil {
		return r, false
	}
	at, err := subject.ParseInstant(read.Time)
	if err != nil {
		return r, false
	}
	for s := range subject.RequestStatuses {
		if s.String() == read.Status {
			return RequestResult{read.RequestID, s, at, read.Detail}, true
		}
	}
	return r, false
}
