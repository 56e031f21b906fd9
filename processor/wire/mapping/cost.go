package mapping

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxCost bounds one evaluation: about as many steps, or 64 times as many bytes
// looked at or made. A loop over a list of 1,000 elements costs some 10,000.
const maxCost = 200_000

// bytesACost is how many bytes of texts and JSON cost as much as one step.
const bytesACost = 64

// estimator costs calls by the sizes of what they take and give, so that loops
// over large values end soon.
type estimator struct{}

// patternCost is how much more a byte costs that a pattern looks at.
const patternCost = 32

// CallCost is the cost of one call.
func (estimator) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	bytes := sizeOf(result)
	for _, arg := range args {
		bytes += sizeOf(arg)
	}
	if function == "matches" {
		bytes *= patternCost
	}
	cost := 1 + bytes/bytesACost
	return &cost
}

func sizeOf(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	case *jsonObject:
		return uint64(len(v.raw))
	case *jsonList:
		return uint64(len(v.raw))
	case traits.Lister:
		if n, ok := v.Size().(types.Int); ok {
			return uint64(n) * 8
		}
	}
	return 0
}
