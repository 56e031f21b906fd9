package rules

import (
	"fmt"

	"cel.dev/cel-go/common/ast"
)

// zoneArg judges a time zone.
func (c *checker) zoneArg(f *formula, call ast.CallExpr, _ int, arg ast.Expr) {
	name, ok := stringLiteral(arg)
	if !ok {
		c.fail(f, f.start(arg), "%s() takes a time zone written out in quotes, as in %s", call.FunctionName(), functions[call.FunctionName()].usage)
		return
	}
	if _, err := loadZone(name); err != nil {
		c.fail(f, f.at(arg.ID()), "'%s' is %v", name, err)
	}
}

// midnightArg judges the arguments of since_midnight.
func (c *checker) midnightArg(f *formula, call ast.CallExpr, i int, arg ast.Expr) {
	if i > 0 {
		c.zoneArg(f, call, i, arg)
		return
	}
	days, ok := wholeLiteral(arg)
	if !ok || days < 0 || days > maxDays {
		c.fail(f, f.start(arg), "since_midnight() takes a whole number of days written out, 0 to %d", maxDays)
		return
	}
	// The day of T itself counts too.
	f.facts.windows = append(f.facts.windows, windowUse{(days + 1) * microsPer['d'], fmt.Sprintf("since_midnight(%d)", days), f.at(arg.ID())})
}

// followerArg judges the durations among the arguments of followed_by and
// not_followed_by.
func (c *checker) followerArg(f *formula, call ast.CallExpr, i int, arg ast.Expr) {
	if i%2 == 0 {
		return
	}
	micros, ok := c.literalDuration(f, call, arg)
	text, _ := stringLiteral(arg)
	switch {
	case !ok:
	case micros == 0:
		c.fail(f, f.at(arg.ID()), "the time for the follower must be longer than nothing")
	case call.FunctionName() == "not_followed_by" && i == 1:
		f.facts.windows = append(f.facts.windows, windowUse{micros, text, f.at(arg.ID())})
	}
}

// periodsArg judges the arguments of periods.
func (c *checker) periodsArg(f *formula, call ast.CallExpr, i int, arg ast.Expr) {
	if i > 0 {
		if n, ok := wholeLiteral(arg); !ok || n < 1 {
			c.fail(f, f.start(arg), "periods() takes a whole number of events written out, 1 or more")
		}
		return
	}
	if micros, ok := c.literalDuration(f, call, arg); ok && micros == 0 {
		c.fail(f, f.at(arg.ID()), "a period must be longer than nothing")
	}
}

// heldArg judges the duration of held.
func (c *checker) heldArg(f *formula, call ast.CallExpr, i int, arg ast.Expr) {
	if i == 0 || swapped(call) { // the walker says so
		return
	}
	if micros, ok := c.literalDuration(f, call, arg); ok && micros == 0 {
		c.fail(f, f.at(arg.ID()), "the time must be longer than nothing")
	}
}

// swapped reports whether the duration of held stands where its condition belongs.
func swapped(held ast.CallExpr) bool {
	args := held.Args()
	if len(args) != 2 {
		return false
	}
	text, first := stringLiteral(args[0])
	_, second := stringLiteral(args[1])
	_, err := parseDuration(text)
	return first && !second && err == nil
}

// anniversaryArg judges the lead and the zone of anniversary.
func (c *checker) anniversaryArg(f *formula, call ast.CallExpr, i int, arg ast.Expr) {
	switch i {
	case 1:
		micros, ok := c.literalDuration(f, call, arg)
		if ok && (micros%microsPer['d'] != 0 || micros > maxLead*microsPer['d']) {
			c.fail(f, f.at(arg.ID()), "anniversary() begins whole days before, \"0d\" to \"%dd\"", maxLead)
		}
	case 2:
		c.zoneArg(f, call, i, arg)
	}
}
