// Package shop simulates a small shop's customers, deterministically from a
// seed: they sign up with or without consent, browse, fill carts, order, ask
// for refunds, change their minds about consent, ask to be erased. It yields records as a web
// shop's trackers would send them, with timestamps of a clock the caller moves.
package shop

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// Kind says which topic a record belongs to.
type Kind uint8

// The kinds of records.
const (
	Event Kind = iota
	Decision
	Request
)

// Record is one record of the shop, keyed by its customer's id.
type Record struct {
	Kind  Kind
	Key   string
	Value []byte
	At    time.Time
	// Story says in words what happened, for people who watch.
	Story string
}

// Config shapes the shop.
type Config struct {
	Seed      uint64
	Customers int // who shop at the same time; 0: 40
	Start     time.Time
	// Pace is the mean pause between two actions of one customer; 0: 2 s.
	Pace time.Duration
	// Purposes customers are asked about at sign-up; none: marketing, personalisation.
	Purposes []string
	// Stops is the chance that an action is a withdrawal or objection instead; 0: 1 %. Negative: never.
	Stops float64
	// Erasures is the chance that an action of a customer who has been here for some time is to ask to be
	// erased, and to leave for good. 0: never.
	Erasures float64
}

// Shop is the simulation. Not safe for concurrent use.
type Shop struct {
	cfg     Config
	rng     *rand.Rand
	agenda  agenda
	serial  int
	orders  int
	message int
	asked   int // requests
}

// New returns a shop whose customers begin to arrive at cfg.Start.
func New(cfg Config) *Shop {
	if cfg.Customers == 0 {
		cfg.Customers = 40
	}
	if cfg.Pace == 0 {
		cfg.Pace = 2 * time.Second
	}
	if cfg.Purposes == nil {
		cfg.Purposes = []string{"marketing", "personalisation"}
	}
	if cfg.Stops == 0 {
		cfg.Stops = 0.01
	}
	s := &Shop{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x5e6d))}
	for range cfg.Customers {
		s.agenda = append(s.agenda, s.newCustomer(cfg.Start.Add(s.pause())))
	}
	heap.Init(&s.agenda)
	return s
}

// Next returns the records of the next customer to act, in order; all carry the
// instant of the action.
func (s *Shop) Next() []Record {
	c := s.agenda[0]
	a := action{shop: s, c: c, at: c.next}
	a.act()
	if c.gone {
		s.agenda[0] = s.newCustomer(c.next.Add(s.pause()))
	} else {
		c.next = c.next.Add(s.pause())
	}
	heap.Fix(&s.agenda, 0)
	return a.records
}

// Peek returns the instant of the next action.
func (s *Shop) Peek() time.Time { return s.agenda[0].next }

// pause is exponential around the pace, cut to milliseconds.
func (s *Shop) pause() time.Duration {
	d := time.Duration(s.rng.ExpFloat64() * float64(s.cfg.Pace))
	return max(d, time.Millisecond).Truncate(time.Millisecond)
}

var names = [...]string{"anna", "ben", "carla", "dimitri", "elif", "farid", "greta", "hugo", "ines", "jonas", "kira", "luca", "mara", "nils",
	"olga", "pablo", "quinn", "rosa", "sven", "tara", "umar", "vera", "wim", "xenia", "yusuf", "zoe"}

var products = [...]product{{"tea", 790}, {"cup", 1290}, {"teapot", 3490}, {"kettle", 5990}, {"cake", 2450}, {"chair", 11900}, {"lamp", 7995}}

type product struct {
	name  string
	cents int
}

var countries = [...]string{"DE", "FR", "IT", "PL", "SE"}

// customer is one visitor. Each goes through a life of its own and is replaced
// when it leaves for good.
type customer struct {
	id      string
	next    time.Time
	country string
	asked   bool            // signed up
	allows  map[string]bool // by purpose, what it said last
	cart    []product
	bought  []order
	steps   int
	gone    bool
}

type order struct {
	id    string
	cents int
}

func (s *Shop) newCustomer(at time.Time) *customer {
	s.serial++
	name := names[s.rng.IntN(len(names))]
	return &customer{id: fmt.Sprintf("%s-%d", name, s.serial), next: at, country: countries[s.rng.IntN(len(countries))], allows: map[string]bool{}}
}

type agenda []*customer

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].next.Before(a[j].next) || a[i].next.Equal(a[j].next) && a[i].id < a[j].id
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(*customer)) }
func (a *agenda) Pop() any {
	old := *a
	c := old[len(old)-1]
	*a = old[:len(old)-1]
	return c
}

// instant writes a timestamp as trackers do, in milliseconds.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps of strings and numbers always encode
	}
	return b
}
