package main

import (
	"context"
	"encoding/json"
	"fmt"
)

// subjectExtend gives a request that waits for a person more time.
func subjectExtend(ctx context.Context, c *subjectCall) error {
	fields := map[string]string{}
	if *c.until != "" {
		fields["until"] = *c.until
	}
	return c.tellAbout(ctx, "/v1/subjects/request/extend", fields)
}

// subjectRefuse ends a request that waits for a person.
func subjectRefuse(ctx context.Context, c *subjectCall) error {
	return c.tellAbout(ctx, "/v1/subjects/request/refuse", map[string]string{})
}

// tellAbout tells a page something about a request, and prints how far that is then.
func (c *subjectCall) tellAbout(ctx context.Context, page string, fields map[string]string) error {
	if *c.requestID == "" || *c.reason == "" {
		return usagef("say which request, with --request-id, and with --reason why: the subject is told")
	}
	fields[*c.idType], fields["requestId"], fields["reason"] = c.what, *c.requestID, *c.reason
	answer, err := c.asker.ask(ctx, page, fields)
	if err != nil {
		return err
	}
	if *c.output == "json" {
		_, err := c.inv.out.Write(answer)
		return err
	}
	var now sentRequest
	if err := json.Unmarshal(answer, &now); err != nil {
		return environmentError(fmt.Errorf("read the answer: %w", err))
	}
	now.Completed = "" // of one that was refused it would say when it was completed
	_, err = fmt.Fprintf(c.inv.out, "%s, request %s: %s%s\n", now.Request, now.RequestID, now.Status, detailText(now))
	return err
}
