package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"slices"
)

// hash returns the digest of what the rule set means and of its revision: neither
// files and comments nor the way expressions are written matter.
func (k *compiler) hash(drafts []*ruleDraft) string {
	h := sha256.New()
	fmt.Fprintln(h, "segmentd rules 2")
	if k.set.revision != 0 { // sets that differ in nothing else are two, or a raised revision would not be kept
		fmt.Fprintln(h, "revision", k.set.revision)
	}
	for _, p := range k.set.purposes {
		fmt.Fprintf(h, "purpose %q %q %s %t %d %d %d %q %q\n", p.Key, p.Description, p.Basis, p.DirectMarketing, p.ConsentExpiresAfter, p.Retention, p.MinAge, p.BirthdateTrait, p.Output)
		hashInformation(h, &p)
	}
	k.hashData(h)
	for _, r := range slices.SortedFunc(slices.Values(drafts), k.byKey) {
		c := &k.set.segments[r.segment]
		infers := slices.Sorted(slices.Values(c.infers))
		fmt.Fprintf(h, "segment %q %q %q %q %q %s\n", c.key, c.name, c.description, k.set.purposes[c.purpose].Key, infers, r.meaning(c))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// hashInformation adds what a purpose says for people, if it says any.
func hashInformation(h hash.Hash, p *Purpose) {
	told := fmt.Sprintf("%q %q %q %q %q %q %t %q", p.NoticeVersion, p.OldestNoticeVersion, p.Recipients, p.DataUse, p.LegitimateInterest, p.LegalReference, p.SignificantEffect, p.Safeguards)
	if nothing := `"" "" [] "" "" "" false ""`; told != nothing {
		fmt.Fprintf(h, "information %s\n", told)
	}
}

func (k *compiler) byKey(a, b *ruleDraft) int {
	if k.set.segments[a.segment].key < k.set.segments[b.segment].key {
		return -1
	}
	return 1
}

func (k *compiler) hashData(h hash.Hash) {
	var fields []string
	for _, f := range k.set.fields {
		line := fmt.Sprintf("field %q %q %t", f.path, f.category, f.special)
		if f.min != nil {
			line += " min " + f.min.String()
		}
		fields = append(fields, line)
	}
	slices.Sort(fields)
	fmt.Fprintf(h, "%q\n", fields)
	for _, name := range slices.Sorted(maps.Keys(k.set.lists)) {
		fmt.Fprintf(h, "list %q %q\n", name, slices.Sorted(maps.Keys(k.set.lists[name].members)))
	}
}
