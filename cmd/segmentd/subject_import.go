package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/segmentd/segmentd/processor/portable"
)

// subjectImport sends the documents of a file, one after the other.
func subjectImport(ctx context.Context, c *subjectCall) error {
	in := c.inv.in
	if c.what != "-" {
		file, err := os.Open(c.what)
		if err != nil {
			return inputError(err)
		}
		defer file.Close()
		in = file
	}
	documents := json.NewDecoder(in)
	for n := 1; ; n++ {
		var document json.RawMessage
		switch err := documents.Decode(&document); {
		case errors.Is(err, io.EOF) && n > 1:
			return nil
		case err != nil:
			return inputError(fmt.Errorf("document %d is not JSON that ends", n))
		}
		if err := c.importOne(ctx, document); err != nil {
			return fmt.Errorf("document %d: %w", n, err)
		}
		*c.requestID = "" // it is the first one's
	}
}

func (c *subjectCall) importOne(ctx context.Context, document []byte) error {
	id, _, err := portable.Parse(document)
	if err != nil {
		return inputError(err)
	}
	page := "/v1/subjects/import"
	if *c.requestID != "" {
		page += "?requestId=" + url.QueryEscape(*c.requestID)
	}
	answer, err := c.asker.ask(ctx, page, json.RawMessage(document))
	if err != nil {
		return err
	}
	var sent sentRequest
	if err := json.Unmarshal(answer, &sent); err != nil {
		return environmentError(fmt.Errorf("read the answer: %w", err))
	}
	sent.Request = "import"
	*c.idType, c.what = id.Type.String(), id.Value
	if *c.wait > 0 {
		if sent, answer, err = c.await(ctx, sent); err != nil {
			return err
		}
	}
	return c.tell(sent, answer)
}
