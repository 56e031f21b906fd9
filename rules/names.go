package rules

import (
	"slices"
)

// function tells what messages need to know of a function of the language.
type function struct {
	method bool
	usage  string // an example of its use
	source bool   // a method of sources
}

// functions are all functions of the language by name.
var functions = map[string]function{
	"events":  {usage: `events("Order Completed")`},
	"segment": {usage: `segment("vip")`},
	"list":    {usage: `list("vips")`},
	"bucket":  {usage: `bucket("salt") < 0.1`},
	"ago":     {usage: `ago("30d")`},
	"ahead":   {usage: `ahead("3d")`},
	"has":     {usage: `has(traits.country)`},

	"where":    {method: true, source: true, usage: `.where(properties.currency == "EUR")`},
	"within":   {method: true, source: true, usage: `.within("30d")`},
	"between":  {method: true, source: true, usage: `.between("90d", "30d")`},
	"since":    {method: true, source: true, usage: `.since(timestamp("2026-01-01"))`},
	"until":    {method: true, source: true, usage: `.until(timestamp("2026-01-01"))`},
	"exists":   {method: true, source: true, usage: `events("…").exists() or list.exists(x, x > 1)`},
	"count":    {method: true, source: true, usage: `.count()`},
	"sum":      {method: true, source: true, usage: `.sum(properties.total)`},
	"avg":      {method: true, source: true, usage: `.avg(properties.total)`},
	"min":      {method: true, source: true, usage: `.min(properties.total)`},
	"max":      {method: true, source: true, usage: `.max(properties.total)`},
	"distinct": {method: true, source: true, usage: `.distinct(properties.sku)`},
	"first":    {method: true, source: true, usage: `.first().properties.sku`},
	"last":     {method: true, source: true, usage: `.last().properties.sku`},

	"exists_one": {method: true, usage: `list.exists_one(x, x > 1)`},
	"all":        {method: true, usage: `list.all(x, x > 1)`},
	"filter":     {method: true, usage: `list.filter(x, x > 1)`},
	"map":        {method: true, usage: `list.map(x, x.price)`},
	"size":       {method: true, usage: `size(traits.tags) or traits.tags.size()`},
	"startsWith": {method: true, usage: `traits.email.startsWith("info@")`},
	"endsWith":   {method: true, usage: `traits.email.endsWith(".org")`},
	"contains":   {method: true, usage: `traits.email.contains("@")`},
	"matches":    {method: true, usage: `traits.email.matches("^info@")`},
	"lowerAscii": {method: true, usage: `traits.country.lowerAscii()`},
	"upperAscii": {method: true, usage: `traits.country.upperAscii()`},
	"trim":       {method: true, usage: `traits.name.trim()`},
	"split":      {method: true, usage: `traits.name.split(" ")`},
	"timestamp":  {usage: `timestamp("2026-01-01")`},
	"duration":   {usage: `duration("1h")`},
	"double":     {usage: `double(traits.age)`},
	"int":        {usage: `int(traits.age)`},
	"string":     {usage: `string(traits.age)`},

	"followed_by":     {method: true, source: true, usage: `.followed_by(events("Order Completed"), "1h")`},
	"not_followed_by": {method: true, source: true, usage: `.not_followed_by(events("Order Completed"), "1h")`},
	"since_midnight":  {method: true, source: true, usage: `.since_midnight(0, "Europe/Berlin")`},
	"days":            {method: true, source: true, usage: `.days("Europe/Berlin")`},
	"periods":         {method: true, source: true, usage: `.periods("7d", 1)`},
	"most_frequent":   {method: true, source: true, usage: `.most_frequent(properties.sku)`},
	"held":            {usage: `held(segment("vip"), "7d")`},
	"anniversary":     {usage: `anniversary(timestamp(traits.birthdate), "7d", "Europe/Berlin")`},
	"local_hour":      {usage: `local_hour("Europe/Berlin")`},
	"local_weekday":   {usage: `local_weekday("Europe/Berlin")`},

	"getFullYear":     {method: true, usage: `timestamp.getFullYear("Europe/Berlin")`},
	"getMonth":        {method: true, usage: `timestamp.getMonth("Europe/Berlin")`},
	"getDate":         {method: true, usage: `timestamp.getDate("Europe/Berlin")`},
	"getDayOfMonth":   {method: true, usage: `timestamp.getDayOfMonth("Europe/Berlin")`},
	"getDayOfWeek":    {method: true, usage: `timestamp.getDayOfWeek("Europe/Berlin")`},
	"getDayOfYear":    {method: true, usage: `timestamp.getDayOfYear("Europe/Berlin")`},
	"getHours":        {method: true, usage: `timestamp.getHours("Europe/Berlin")`},
	"getMinutes":      {method: true, usage: `timestamp.getMinutes("Europe/Berlin")`},
	"getSeconds":      {method: true, usage: `timestamp.getSeconds("Europe/Berlin")`},
	"getMilliseconds": {method: true, usage: `timestamp.getMilliseconds("Europe/Berlin")`},
}

// foreign are functions of CEL that this language leaves out, and what to write instead.
var foreign = map[string]string{
	"type":  "compare with a value of the kind you expect",
	"bytes": "texts are compared as they are",
	"uint":  "write double(...)",
	"dyn":   "fields need no conversion",
	"bool":  "compare with true",
	"len":   "write size(...)",
}

// previousName is the variable of followers: the event before.
const previousName = "previous"

// roots are the variables of the language.
var roots = []string{"traits", "properties", "context", "name", "timestamp", previousName}

// isReserved reports whether a let may not have the name: variables, functions
// that stand alone, and words of CEL's grammar (its language definition, section Syntax).
func isReserved(name string) bool {
	f, ok := functions[name]
	return ok && !f.method || slices.Contains(roots, name) || slices.Contains(celWords, name)
}

var celWords = []string{"in", "true", "false", "null", "as", "break", "const", "continue", "else", "for", "function", "if",
	"import", "let", "loop", "package", "namespace", "return", "var", "void", "while", "type", "bool", "bytes", "uint", "dyn",
	"null_type", "map", "google", "event", "events"}

// functionNames lists functions for the nearest one: those that stand alone or methods.
func functionNames(method bool) []string {
	var names []string
	for name, f := range functions {
		if f.method == method {
			names = append(names, name)
		}
	}
	return names
}
