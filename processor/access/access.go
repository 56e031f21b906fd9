// Package access tells who may ask for what: the roles, what each may ask for,
// and the bearer tokens (RFC 6750) that carry them. It keeps hashes of tokens
// only, and neither errors nor logs hold one.
package access

import (
	"slices"
	"strings"
)

// Role is what a token is for. Roles are no ladder: an operator sees no subject.
type Role string

// The roles.
const (
	Reader   Role = "reader"   // looks subjects up and asks why
	Privacy  Role = "privacy"  // handles the requests of data subjects besides
	Operator Role = "operator" // runs the instance, and sees nothing of subjects
)

// Roles lists them.
func Roles() []Role { return []Role{Reader, Privacy, Operator} }

// Scope is what a page is about. The zero Scope is nobody's, so that a page of
// which nothing was said is answered to nobody.
type Scope uint8

// The scopes.
const (
	Nobody         Scope = iota
	Anybody              // no token is asked for: health and metrics
	Service              // rules, sizes of segments, states of partitions
	Subjects             // memberships of one subject, and why
	Requests             // requests of data subjects, exports, receipts
	Administration       // what changes how the instance runs, and its profiles
)

// grants is who may ask for what.
var grants = map[Role][]Scope{
	Reader:   {Service, Subjects},
	Privacy:  {Service, Subjects, Requests},
	Operator: {Service, Administration},
}

// May reports whether the role may ask for what is in the scope.
func (r Role) May(s Scope) bool { return s == Anybody || slices.Contains(grants[r], s) }

// Holders names the roles that may ask for what is in the scope: "reader or privacy".
func (s Scope) Holders() string {
	var names []string
	for _, r := range Roles() {
		if r.May(s) {
			names = append(names, string(r))
		}
	}
	return strings.Join(names, " or ")
}

// Asker is who asks.
type Asker struct {
	Name string // of the token, or Local
	Role Role   // "" for Local
}

// Local asks on the machine itself, where no tokens are configured.
const Local = "loopback"
