//go:build !segmentd_ungated

package consent

// Gated says that consent is asked for, and that decisions and requests are read. It
// is so in every build but that with the tag segmentd_ungated, by which the cost of
// both is measured and which does nothing unless it is told to be a benchmark.
const Gated = true
