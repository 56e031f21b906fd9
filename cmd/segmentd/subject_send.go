package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/segmentd/segmentd/processor/core"
	"github.com/segmentd/segmentd/state/subject"
)

func subjectErase(ctx context.Context, c *subjectCall) error    { return c.send(ctx, "erase", nil) }
func subjectRestrict(ctx context.Context, c *subjectCall) error { return c.send(ctx, "restrict", nil) }
func subjectUnrestrict(ctx context.Context, c *subjectCall) error {
	return c.send(ctx, "unrestrict", nil)
}

func subjectRectify(ctx context.Context, c *subjectCall) error {
	traits, err := c.corrected()
	if err != nil {
		return err
	}
	return c.send(ctx, "rectify", traits)
}

// corrected reads the traits that the flags give.
func (c *subjectCall) corrected() (map[string]json.RawMessage, error) {
	traits := map[string]json.RawMessage{}
	if *c.file != "" {
		b, err := os.ReadFile(*c.file)
		if err != nil {
			return nil, usagef("--traits: %w", err)
		}
		if err := json.Unmarshal(b, &traits); err != nil {
			return nil, inputError(fmt.Errorf("--traits %s: no JSON object of traits", *c.file))
		}
	}
	for _, given := range *c.traits {
		key, value, ok := strings.Cut(given, "=")
		if !ok || key == "" || !json.Valid([]byte(value)) {
			return nil, usagef("--trait: write key=JSON, a text in double quotes: --trait 'city=\"Wien\"'")
		}
		traits[key] = json.RawMessage(value)
	}
	if len(traits) == 0 {
		return nil, usagef("say what is right, with --trait key=JSON or --traits FILE")
	}
	return traits, nil
}

// sentRequest is how far a request is, as the instance tells it.
type sentRequest struct {
	RequestID string `json:"requestId"`
	Request   string `json:"request"`
	Status    string `json:"status"`
	Due       string `json:"due"`
	Completed string `json:"completed"`
	Detail    string `json:"detail"`
}

// send sends a request, and tells how far it is.
func (c *subjectCall) send(ctx context.Context, request string, traits map[string]json.RawMessage) error {
	body := c.body(map[string]any{"request": request})
	if *c.requestID != "" {
		body["requestId"] = *c.requestID
	}
	if traits != nil {
		body["traits"] = traits
	}
	answer, err := c.asker.ask(ctx, "/v1/requests", body)
	if err != nil {
		return err
	}
	var sent sentRequest
	if err := json.Unmarshal(answer, &sent); err != nil {
		return environmentError(fmt.Errorf("read the answer: %w", err))
	}
	sent.Request = request
	if *c.wait > 0 {
		if sent, answer, err = c.await(ctx, sent); err != nil {
			return err
		}
	}
	return c.tell(sent, answer)
}

// body names the subject, and when it asked if that was said.
func (c *subjectCall) body(fields map[string]any) map[string]any {
	fields[*c.idType] = c.what
	if *c.timestamp != "" {
		fields["timestamp"] = *c.timestamp
	}
	return fields
}

// How often it is asked how far a request is: an erasure takes a quarter of
// privacy.erase_within, and each question is an entry of the audit log.
const (
	awaitFirst = 200 * time.Millisecond
	awaitMost  = 10 * time.Second
)

// await asks until a request is done.
func (c *subjectCall) await(ctx context.Context, sent sentRequest) (now sentRequest, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, *c.wait)
	defer cancel()
	query := c.query()
	query["requestId"] = sent.RequestID
	progress := newProgress(c.inv.err, sent.Request+" "+sent.Status)
	defer func() { progress.done(0) }()
	for pause := awaitFirst; ; pause = min(2*pause, awaitMost) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return now, nil, environmentError(fmt.Errorf("request %s is not done within %s: it is %s; it goes on, ask again with GET /v1/requests/{requestId}", sent.RequestID, *c.wait, sent.Status))
		}
		answer, err = c.asker.ask(ctx, "/v1/subjects/request", query)
		var failed *answerError
		switch {
		case ctx.Err() != nil:
			continue
		case errors.As(err, &failed) && (failed.status == http.StatusNotFound || failed.status == http.StatusServiceUnavailable): // not read yet; or its partition is moving
			continue
		case err != nil:
			return now, nil, err
		}
		if err := json.Unmarshal(answer, &now); err != nil {
			return now, nil, environmentError(fmt.Errorf("read the answer: %w", err))
		}
		if now.Request != sent.Request {
			return now, nil, inputError(fmt.Errorf("the id %s is that of another request of this subject, which asks for %s: the %s is done as %s:%s; give each an id of its own", now.RequestID, now.Request, sent.Request, now.RequestID, sent.Request))
		}
		if now.Status == "completed" || now.Status == "failed" {
			return now, answer, nil
		}
		sent.Status = now.Status
		progress.say(now.Request + ": " + now.Status)
	}
}

// tell prints how far a request is; one that has failed is an error.
func (c *subjectCall) tell(q sentRequest, answer []byte) error {
	if *c.output == "json" {
		if _, err := c.inv.out.Write(answer); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.inv.out, "%s, request %s: %s%s\n", q.Request, q.RequestID, q.Status, detailText(q))
		if receipt, ok := core.ParseErasureReceipt(q.Detail); ok {
			fmt.Fprintf(c.inv.out, "  %s\n", strings.Join(receipt.Lines(), "\n  "))
		}
	}
	if q.Status == "failed" {
		return inputError(errPrinted)
	}
	return nil
}

func detailText(q sentRequest) string {
	text := ""
	if q.Completed != "" {
		text = " at " + q.Completed
	}
	if q.Detail != "" && !strings.HasPrefix(q.Detail, "{") {
		text += " (" + q.Detail + ")"
	}
	return text
}

func subjectObject(ctx context.Context, c *subjectCall) error {
	return c.decide(ctx, subject.Objected, "objection to")
}

func subjectWithdraw(ctx context.Context, c *subjectCall) error {
	return c.decide(ctx, subject.Withdrawn, "withdrawal of consent to")
}

// decide sends a decision. Those have no id, and nothing waits for them.
func (c *subjectCall) decide(ctx context.Context, status subject.Status, what string) error {
	if *c.purpose == "" {
		return usagef("say which purpose the %s is about, with --purpose", strings.Fields(what)[0])
	}
	answer, err := c.asker.ask(ctx, "/v1/decisions", c.body(map[string]any{"purpose": *c.purpose, "status": status.String()}))
	if err != nil {
		return err
	}
	if *c.output == "json" {
		_, err = c.inv.out.Write(answer)
		return err
	}
	_, err = fmt.Fprintf(c.inv.out, "the %s %s is sent\n", what, *c.purpose)
	return err
}
