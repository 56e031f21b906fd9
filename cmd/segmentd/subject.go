package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/segmentd/segmentd/processor/transparency"
)

// subjectAction is a sub-command of subject.
type subjectAction struct {
	name    string
	args    string // what follows the name: USER, or FILE
	summary string
	flags   []string // that it takes beyond those of all
	run     func(context.Context, *subjectCall) error
}

// subjectActions is the table of what can be asked for.
func subjectActions() []subjectAction {
	return []subjectAction{
		{"access", "USER", "print everything that is kept about USER (GDPR article 15)", []string{"request-id"}, subjectAccess},
		{"portability", "USER", "print what USER may take along (article 20)", []string{"request-id"}, subjectPortability},
		{"import", "FILE", "take in what portability printed, one document a line", []string{"request-id", "wait"}, subjectImport},
		{"receipt", "USER", "print a receipt of what USER consented to, and when (ISO/IEC TS 27560)", nil, subjectReceipt},
		{"erase", "USER", "delete everything that is kept about USER (article 17); needs --ticket", sentFlags, subjectErase},
		{"rectify", "USER", "correct traits of USER (article 16): --trait, --traits", append([]string{"trait", "traits"}, sentFlags...), subjectRectify},
		{"restrict", "USER", "process nothing of USER, and delete nothing (article 18)", sentFlags, subjectRestrict},
		{"unrestrict", "USER", "lift the restriction (article 18(3))", sentFlags, subjectUnrestrict},
		{"extend", "USER", "give an access or portability request more time (article 12(3)): --request-id, --reason, --until", []string{"request-id", "reason", "until"}, subjectExtend},
		{"refuse", "USER", "refuse one (article 12(4)): --request-id, --reason", []string{"request-id", "reason"}, subjectRefuse},
		{"object", "USER", "end a purpose that USER objects to (article 21): --purpose", []string{"purpose", "timestamp"}, subjectObject},
		{"withdraw", "USER", "end a purpose to which USER consents no more (article 7(3)): --purpose", []string{"purpose", "timestamp"}, subjectWithdraw},
	}
}

// subjectFlags are the flags of all actions; those in an action's list, and common ones, may be given to it.
type subjectFlags struct {
	at        *askFlags
	idType    *string
	ticket    *string
	requestID *string
	timestamp *string
	wait      *time.Duration
	traits    *[]string
	file      *string
	purpose   *string
	reason    *string
	until     *string
	output    *string
}

// actionFlags are those that only some actions take; sentFlags those of what is sent
// to the requests topic.
var (
	actionFlags = []string{"request-id", "timestamp", "wait", "trait", "traits", "purpose", "reason", "until"}
	sentFlags   = []string{"request-id", "timestamp", "wait"}
)

func addSubjectFlags(fs *pflag.FlagSet) *subjectFlags {
	f := &subjectFlags{
		at:        addAskFlags(fs),
		idType:    fs.String("id-type", "userId", "userId or anonymousId"),
		ticket:    fs.String("ticket", "", "`name` of what this is for, as your case's number; the audit log has it"),
		requestID: fs.String("request-id", "", "`id` of the request: of access, portability, extend and refuse that which it is about, else one of yours (default a new one)"),
		timestamp: fs.String("timestamp", "", "`when` it was asked for, as 2027-01-31T00:00:00Z (default now)"),
		wait:      fs.Duration("wait", 0, "wait until it is done, no longer than `so long`"),
		traits:    fs.StringArray("trait", nil, "`key=JSON`, a trait as it is right, null to remove it; may be repeated"),
		file:      fs.String("traits", "", "JSON `file` of an object of traits as they are right"),
		purpose:   fs.String("purpose", "", "`key` of the purpose"),
		reason:    fs.String("reason", "", "`why`, as the subject is told; no personal data, as it is kept with the request"),
		until:     fs.String("until", "", "`when` it is due then, as 2027-01-31T00:00:00Z (default three months after the subject asked, the most there is)"),
		output:    fs.String("output", "text", "text or json; of documents access alone has a text, where it is asked for"),
	}
	fs.Lookup("wait").NoOptDefVal = "2h"
	return f
}

func subjectCommand() command {
	return command{
		name: "subject", args: "ACTION USER", summary: "Handle the requests of a data subject, against a running instance",
		details: subjectHelp(),
		setup: func(fs *pflag.FlagSet) func(context.Context, *invocation) error {
			f := addSubjectFlags(fs)
			return func(ctx context.Context, inv *invocation) error { return f.run(ctx, inv) }
		},
	}
}

func subjectHelp() string {
	var b strings.Builder
	b.WriteString("Actions:\n")
	for _, a := range subjectActions() {
		fmt.Fprintf(&b, "  %-25s %s\n", a.name+" "+a.args, a.summary)
	}
	b.WriteString(`
All but access, portability, receipt, extend, refuse, object and withdraw are sent to the requests topic, as --request-id, and how far they are is told; with
--wait (or --wait=10m) once they are done. An erasure is done when the files have nothing of USER any more. A repeat with
the same --request-id and --timestamp changes nothing. Documents are JSON; 'access USER --output text' is one to read.

  echo u1 | segmentd subject erase - --ticket HELP-4711 --wait
  segmentd subject rectify u1 --trait 'email="ada@example.com"' --trait age=37

USER "-" reads the id from stdin, so that it stays out of the shell's history.
` + askHelp)
	return b.String()
}

// subjectCall is one call of an action.
type subjectCall struct {
	*subjectFlags
	inv   *invocation
	asker *asker
	what  string // its second argument: the id of the subject, or a file
}

func (f *subjectFlags) run(ctx context.Context, inv *invocation) error {
	action, err := f.action(inv)
	if err != nil {
		return err
	}
	c := &subjectCall{subjectFlags: f, inv: inv}
	inv.args = inv.args[1:]
	if c.what = inv.args[0]; action.args == "USER" {
		if c.what, err = readUser(inv); err != nil {
			return inputError(err)
		}
		if c.what == "" {
			return usagef("USER is empty: name whose request it is; USER - reads the id from stdin")
		}
	}
	if c.asker, err = f.at.asker(inv); err != nil {
		return err
	}
	if c.asker.ticket, err = f.namedTicket(inv); err != nil {
		return err
	}
	return action.run(ctx, c)
}

// namedTicket is --ticket. What begins as a flag does was meant for one.
func (f *subjectFlags) namedTicket(inv *invocation) (string, error) {
	if inv.flags.Changed("ticket") && (*f.ticket == "" || strings.HasPrefix(*f.ticket, "-")) {
		return "", usagef("--ticket has no value: name what this is for, as your case's number (--ticket HELP-4711)")
	}
	return *f.ticket, nil
}

// action is the one that was given, with flags that it takes.
func (f *subjectFlags) action(inv *invocation) (*subjectAction, error) {
	all := subjectActions()
	var names []string
	for _, a := range all {
		names = append(names, a.name)
	}
	if len(inv.args) != 2 || *f.output != "text" && *f.output != "json" || *f.idType != "userId" && *f.idType != "anonymousId" {
		return nil, usagef("give an ACTION (%s) and one USER; --id-type is userId or anonymousId, --output is text or json", strings.Join(names, ", "))
	}
	at := slices.Index(names, inv.args[0])
	if at < 0 {
		return nil, usagef("no action %q: there are %s", inv.args[0], strings.Join(names, ", "))
	}
	for _, name := range actionFlags {
		if inv.flags.Changed(name) && !slices.Contains(all[at].flags, name) {
			return nil, usagef("%s takes no --%s", all[at].name, name)
		}
	}
	return &all[at], nil
}

// query names the subject in a body.
func (c *subjectCall) query() map[string]string { return map[string]string{*c.idType: c.what} }

func subjectReceipt(ctx context.Context, c *subjectCall) error {
	return c.print(ctx, "/v1/subjects/receipt", c.query())
}

func subjectAccess(ctx context.Context, c *subjectCall) error {
	if !c.inv.flags.Changed("output") || *c.output != "text" {
		return c.print(ctx, "/v1/subjects/access", c.answered())
	}
	body, err := c.asker.ask(ctx, "/v1/subjects/access", c.answered())
	if err != nil {
		return err
	}
	document, err := transparency.ReadAccess(body)
	if err != nil {
		return environmentError(err)
	}
	_, err = io.WriteString(c.inv.out, document.Text())
	return err
}

func subjectPortability(ctx context.Context, c *subjectCall) error {
	return c.print(ctx, "/v1/subjects/portability", c.answered())
}

// answered names the subject, and the request that is answered if one is.
func (c *subjectCall) answered() map[string]string {
	q := c.query()
	if *c.requestID != "" {
		q["requestId"] = *c.requestID
	}
	return q
}

// print prints an answer that is a document.
func (c *subjectCall) print(ctx context.Context, page string, query map[string]string) error {
	body, err := c.asker.ask(ctx, page, query)
	if err != nil {
		return err
	}
	_, err = c.inv.out.Write(body)
	return err
}
