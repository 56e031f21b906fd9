package admin

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// Who is meant must be certain: a body is read as strictly as inputs are.
func TestPostedBodies(t *testing.T) {
	for body, right := range map[string]bool{
		`{"userId":"u1"}`:               true,
		` {"anonymousId":"a1"} `:        true,
		`{"userId":"u1","userId":"u2"}`: false,
		`{"userid":"u1"}`:               false,
		"{\"userId\":\"bad\xff\"}":      false,
		`{"userId":"u1","more":1}`:      false,
		`{"userId":"u1"} {}`:            false,
		`{"userId":1}`:                  false,
		``:                              false,
	} {
		var q posted
		err := readPosted(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(body)), &q)
		if (err == nil) != right {
			t.Errorf("%q: %v", body, err)
		}
	}
}
