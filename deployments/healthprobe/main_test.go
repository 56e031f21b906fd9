package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestProbe(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusNoContent, http.StatusServiceUnavailable, http.StatusForbidden} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		err := probe(context.Background(), server.URL)
		server.Close()
		if (err == nil) != (status == http.StatusOK) {
			t.Errorf("status %d: err = %v", status, err)
		}
	}
}

func TestProbeNobodyThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	if probe(context.Background(), server.URL) == nil {
		t.Error("no error although nobody listens")
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if probe(ctx, "http://127.0.0.1:1/livez") == nil {
		t.Error("no error although the context has ended")
	}
}
