//go:build segmentd_ungated

package consent

// Gated is false in this build: everybody is processed for everything, and no
// decision or request is read. For benchmarks only.
const Gated = false
