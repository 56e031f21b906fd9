package main

import "testing"

func TestCount(t *testing.T) {
	for want, got := range map[string]string{
		"1 record": count(1, "record"), "0 records": count(0, "record"), "2 records": count(int64(2), "record"),
		"1 entry": count(1, "entry"), "0 entries": count(0, "entry"), "12 entries": count(12, "entry"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
