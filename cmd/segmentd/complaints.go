package main

import (
	"fmt"
	"io"
	"slices"
)

// complaints prints what is wrong with lines, a few times for each thing that is.
type complaints []complaint

type complaint struct {
	what string
	n    int
}

// mostComplaints are printed of one kind.
const mostComplaints = 5

// add prints what is wrong at a place, unless that was said often enough.
func (c *complaints) add(w io.Writer, where, what string) {
	i := slices.IndexFunc(*c, func(k complaint) bool { return k.what == what })
	if i < 0 {
		i = len(*c)
		*c = append(*c, complaint{what: what})
	}
	if (*c)[i].n++; (*c)[i].n <= mostComplaints {
		fmt.Fprintf(w, "%s: %s\n", where, what)
	}
}

// end prints how often more.
func (c complaints) end(w io.Writer) {
	for _, k := range c {
		if more := k.n - mostComplaints; more > 0 {
			fmt.Fprintf(w, "and %d more: %s\n", more, k.what)
		}
	}
}
