package shop

import (
	"fmt"
	"time"
)

// action is what one customer does at one instant.
type action struct {
	shop    *Shop
	c       *customer
	at      time.Time
	records []Record
}

// act lets the customer do one thing.
func (a *action) act() {
	c, rng := a.c, a.shop.rng
	c.steps++
	switch {
	case !c.asked && (c.steps > 1 || rng.Float64() < 0.5):
		a.signUp()
	case !c.asked:
		a.view()
	case rng.Float64() < a.shop.cfg.Stops:
		a.stop()
	case c.steps > stayBefore && a.shop.cfg.Erasures > 0 && rng.Float64() < a.shop.cfg.Erasures:
		a.leaveErased()
	case c.steps > 40 && rng.Float64() < 0.05:
		c.gone = true
		a.view()
	default:
		a.shopping(rng.Float64())
	}
}

// stayBefore is how many actions customers are here before they ask to be erased.
const stayBefore = 8

func (a *action) shopping(dice float64) {
	c := a.c
	switch {
	case dice < 0.40:
		a.view()
	case dice < 0.65:
		a.add()
	case dice < 0.80 && len(c.cart) > 0:
		a.order()
	case dice < 0.84 && len(c.bought) > 0:
		a.refund()
	case dice < 0.86:
		a.grant()
	default:
		a.view()
	}
}

func (a *action) view() {
	p := products[a.shop.rng.IntN(len(products))]
	a.event(map[string]any{"type": "page", "name": p.name, "category": "product",
		"properties": map[string]any{"name": p.name, "category": "product", "price": money(p.cents)}},
		fmt.Sprintf("looks at a %s", p.name))
}

// signUp tells the shop who the customer is, and what it allows.
func (a *action) signUp() {
	c, rng := a.c, a.shop.rng
	c.asked = true
	said := "signs up"
	for _, p := range a.shop.cfg.Purposes {
		switch dice := rng.Float64(); {
		case dice < 0.70:
			a.decide(p, "given")
			said += ", allows " + p
		case dice < 0.85:
			a.decide(p, "refused")
			said += ", refuses " + p
		default:
			said += ", says nothing about " + p
		}
	}
	a.event(map[string]any{"type": "identify", "traits": map[string]any{
		"country": c.country, "plan": []string{"free", "plus"}[rng.IntN(2)], "signed_up_at": instant(a.at), "email": c.id + "@example.test"}}, said)
	a.event(map[string]any{"type": "track", "event": "Signed Up", "properties": map[string]any{"country": c.country}}, "")
}

func (a *action) add() {
	p := products[a.shop.rng.IntN(len(products))]
	a.c.cart = append(a.c.cart, p)
	a.event(map[string]any{"type": "track", "event": "Product Added",
		"properties": map[string]any{"product": p.name, "price": money(p.cents)}}, fmt.Sprintf("puts a %s into the cart", p.name))
}

func (a *action) order() {
	a.shop.orders++
	total, lines := 0, []map[string]any{}
	for _, p := range a.c.cart {
		total += p.cents
		lines = append(lines, map[string]any{"product": p.name, "price": money(p.cents), "quantity": 1})
	}
	o := order{fmt.Sprintf("o-%d", a.shop.orders), total}
	a.c.bought, a.c.cart = append(a.c.bought, o), nil
	a.event(map[string]any{"type": "track", "event": "Order Completed",
		"properties": map[string]any{"order_id": o.id, "total": money(total), "currency": "EUR", "products": lines}},
		fmt.Sprintf("orders for %s EUR", money(total)))
}

func (a *action) refund() {
	o := a.c.bought[len(a.c.bought)-1]
	a.c.bought = a.c.bought[:len(a.c.bought)-1]
	a.event(map[string]any{"type": "track", "event": "Order Refunded",
		"properties": map[string]any{"order_id": o.id, "total": money(o.cents), "currency": "EUR"}}, fmt.Sprintf("sends %s EUR worth back", money(o.cents)))
}

// stop withdraws one of the things allowed.
func (a *action) stop() {
	for _, p := range a.shop.cfg.Purposes {
		if a.c.allows[p] {
			status := []string{"withdrawn", "withdrawn", "objected"}[a.shop.rng.IntN(3)]
			a.decide(p, status)
			a.records[len(a.records)-1].Story = map[string]string{"withdrawn": "withdraws consent to ", "objected": "objects to "}[status] + p
			return
		}
	}
	a.view()
}

// leaveErased asks the shop to forget the customer, who leaves.
func (a *action) leaveErased() {
	a.shop.asked++
	a.c.gone = true
	a.add1(Request, map[string]any{"type": "request", "requestId": fmt.Sprintf("q-%d-%d", a.shop.cfg.Seed, a.shop.asked), "userId": a.c.id,
		"request": "erase", "timestamp": instant(a.at)}, "asks to be erased")
}

// grant renews or gives consent to one purpose.
func (a *action) grant() {
	purposes := a.shop.cfg.Purposes
	p := purposes[a.shop.rng.IntN(len(purposes))]
	story := "allows " + p
	if a.c.allows[p] {
		story = "renews consent to " + p
	}
	a.decide(p, "given")
	a.records[len(a.records)-1].Story = story
}

func (a *action) decide(purpose, status string) {
	a.c.allows[purpose] = status == "given"
	a.add1(Decision, map[string]any{"type": "decision", "userId": a.c.id, "purpose": purpose, "status": status, "timestamp": instant(a.at),
		"noticeVersion": "2026-03", "method": "web_form"}, "")
}

func (a *action) event(fields map[string]any, story string) {
	a.shop.message++
	fields["messageId"] = fmt.Sprintf("m-%d-%d", a.shop.cfg.Seed, a.shop.message)
	fields["userId"] = a.c.id
	fields["timestamp"] = instant(a.at)
	fields["context"] = map[string]any{"library": map[string]any{"name": "shop", "version": "1"}, "locale": a.c.country}
	a.add1(Event, fields, story)
}

func (a *action) add1(kind Kind, fields map[string]any, story string) {
	a.records = append(a.records, Record{Kind: kind, Key: a.c.id, Value: mustJSON(fields), At: a.at, Story: story})
}

// money writes cents as a decimal number of units.
type money int

// MarshalJSON implements json.Marshaler.
func (m money) MarshalJSON() ([]byte, error) { return []byte(m.String()), nil }

// String writes units and cents.
func (m money) String() string { return fmt.Sprintf("%d.%02d", int(m)/100, int(m)%100) }
