package rules

import (
	"testing"

	"cel.dev/cel-go/common/ast"
)

// checkExpr type-checks one expression under the language's declarations.
func checkExpr(t testing.TB, text string, lets ...letDecl) *ast.AST {
	t.Helper()
	env, err := newEnv(lets)
	if err != nil {
		t.Fatal(err)
	}
	a, issues := env.Compile(text)
	if issues.Err() != nil {
		t.Fatalf("%s: %v", text, issues.Err())
	}
	return a.NativeRep()
}

func TestLanguageTypeChecks(t *testing.T) {
	for _, text := range []string{
		`events("A").within("90d").sum(properties.total) >= 500`,
		`events("A").where(properties.currency == "EUR" && timestamp > timestamp("2024-01-01")).count() * 1.5 > 3`,
		`events("A").last().properties.x == null && events("A").first().timestamp < ago("30d")`,
		`double("10") == 10 && 1/2 == 0.5 && "10" == 10`,
		`(traits.a ? 10 : 0) + (traits.b ? 0.5 : 0) >= 12`,
		`has(traits.a.b) && traits.items.exists(i, i.sku == "x") && traits.items.exists_one(i, i > 1)`,
		`traits.items.map(i, i.price * i.quantity)[0] > 3 && traits.items.filter(i, i > 2).all(i, i < 9)`,
		`traits.items.map(i, i > 2, i * 2) == [4, 6.5] && {"a": 1}["a"] == 1`,
		`events("A").exists() && !events("A").exists() && segment("x") && list("l") && bucket("s") < 0.1`,
		`traits.country in ["DE", "AT"] && traits.name.lowerAscii().trim().split(" ").size() > 1`,
		`events("A").followed_by(events("B").where(previous.properties.x == properties.x), "1h", events("C"), "2h").exists()`,
		`held(events("A").count() > 3, "7d") && anniversary(traits.birth, "7d", "UTC") && local_hour("UTC") > 3`,
		`events("A").sum(properties.products.map(p, p.price * p.quantity)) > 3`,
		`events("A").avg(properties.x) == null && events("A").max(timestamp) < timestamp("2024-01-01")`,
		"traits.`order-id` == 1 && traits[\"a b\"] == 2 && traits.for == 1",
		`timestamp(traits.x) + duration("1h") > timestamp("2024-01-01") && int("3") == 3 && string(3) == "3"`,
	} {
		checkExpr(t, text)
	}
}
