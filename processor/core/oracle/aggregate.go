package oracle

import (
	"math/big"
	"slices"

	"github.com/segmentd/segmentd/state/subject"
)

func anyEvent(sc *scope, n *node) any {
	found := false
	sc.selected(n.args[0].src, func(*event) bool { found = true; return false })
	return found
}

func countEvents(sc *scope, n *node) any {
	count := int64(0)
	sc.selected(n.args[0].src, func(*event) bool { count++; return true })
	return number(count)
}

func firstEvent(sc *scope, n *node) any {
	var first *event
	sc.selected(n.args[0].src, func(e *event) bool { first = e; return false })
	return orNull(first)
}

func lastEvent(sc *scope, n *node) any {
	var newest *event
	sc.selected(n.args[0].src, func(e *event) bool { newest = e; return true })
	return orNull(newest)
}

func orNull(e *event) any {
	if e == nil {
		return nil
	}
	return e
}

// values are the argument's values for all selected events; a list counts as its elements.
func values(sc *scope, n *node) (all []any) {
	sc.selected(n.args[0].src, func(e *event) bool {
		switch v := sc.of(e, n.args[1], nil).(type) {
		case nil:
		case []any:
			all = append(all, v...)
		default:
			all = append(all, v)
		}
		return true
	})
	return all
}

func numbers(sc *scope, n *node) (all []*big.Rat) {
	for _, v := range values(sc, n) {
		if r, ok := v.(*big.Rat); ok {
			all = append(all, r)
		}
	}
	return all
}

func total(list []*big.Rat) *big.Rat {
	sum := new(big.Rat)
	for _, r := range list {
		sum.Add(sum, r)
	}
	return sum
}

func sumValues(sc *scope, n *node) any { return bounded(total(numbers(sc, n))) }

func averageValue(sc *scope, n *node) any {
	list := numbers(sc, n)
	sum, ok := bounded(total(list)).(*big.Rat)
	if !ok {
		return nil
	}
	return quotient(sum, number(int64(len(list))))
}

func smallestValue(sc *scope, n *node) any { return extreme(values(sc, n), -1) }
func largestValue(sc *scope, n *node) any  { return extreme(values(sc, n), 1) }

// extreme is the value furthest in a direction: among the numbers, or, if there
// are none, among the timestamps.
func extreme(list []any, direction int) any {
	var best, bestTime any
	for _, v := range list {
		switch v.(type) {
		case *big.Rat:
			best = further(best, v, direction)
		case subject.Instant:
			bestTime = further(bestTime, v, direction)
		}
	}
	if best == nil {
		return bestTime
	}
	return best
}

func further(best, v any, direction int) any {
	if c, ok := compare(v, best); ok && c != direction {
		return best
	}
	return v
}

func distinctValues(sc *scope, n *node) any {
	var seen []any
	for _, v := range values(sc, n) {
		if v != nil && !slices.ContainsFunc(seen, func(w any) bool { return equal(v, w) }) {
			seen = append(seen, v)
		}
	}
	return number(int64(len(seen)))
}

// mostFrequentValue is the value that occurs most often; of several the one
// whose newest occurrence is the newest.
func mostFrequentValue(sc *scope, n *node) any {
	var seen []any
	var counts []int
	for _, v := range values(sc, n) {
		if v == nil {
			continue
		}
		count := 1
		if i := slices.IndexFunc(seen, func(w any) bool { return equal(v, w) }); i >= 0 {
			count += counts[i]
			seen, counts = slices.Delete(seen, i, i+1), slices.Delete(counts, i, i+1)
		}
		seen, counts = append(seen, v), append(counts, count)
	}
	var best any
	most := 0
	for i, count := range counts {
		if count >= most {
			best, most = seen[i], count
		}
	}
	return best
}

func countDays(sc *scope, n *node) any {
	days := map[int]bool{}
	sc.selected(n.args[0].src, func(e *event) bool { days[n.zone.day(e.at)] = true; return true })
	return number(int64(len(days)))
}

// countPeriods counts the windows of one width, back to back from T, that hold enough events.
func countPeriods(sc *scope, n *node) any {
	held := map[span]int{}
	sc.selected(n.args[0].src, func(e *event) bool { held[span(sc.at-e.at)/n.value.(span)]++; return true })
	full := int64(0)
	for _, count := range held {
		if count >= n.least {
			full++
		}
	}
	return number(full)
}
