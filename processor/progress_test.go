package processor

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/state"
	"github.com/segmentd/segmentd/state/subject"
)

// What cursors say is read back as it was; what this version would not say is refused.
func TestCursors(t *testing.T) {
	key := state.Key{1, 2, 0xff}
	also := told{map[string]subject.Instant{"vip": 5_000_000}, map[string]AcceptedGap{
		"a/b": {Gap{"a/b", 3, 10, 12, ""}, 7_000_000}, "c": {Gap{"c", 3, 10, 0, "e2E_x-y"}, 8_000_000}}}
	for _, p := range []*progress{
		nil,
		{phase: resetting, at: subject.LongAgo, reread: map[string]span{}, again: map[string]span{}},
		{phase: takingOver, from: "4be1", at: 17, key: &key, clock: subject.LongAgo, covered: -3,
			reread: map[string]span{"shop.decisions": {0, 4, 9}}, again: map[string]span{"a/b": {1, 2, 3}, "events": {}}},
	} {
		got, back, err := readCursors(cursors(p, also))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p, got, cmp.AllowUnexported(progress{}, span{})); d != "" {
			t.Errorf("(-put +got)\n%s", d)
		}
		if d := cmp.Diff(also, back, cmp.AllowUnexported(told{})); d != "" {
			t.Errorf("(-put +got)\n%s", d)
		}
	}
	for name, text := range map[string]string{"change": "dance", "change.at": "soon", "change.key": "00", "events/e": "1 2", "coverage/x": "", "gap/x": "0 1 2", "else": "1"} {
		if _, _, err := readCursors(map[string]string{name: text}); err == nil {
			t.Errorf("the cursor %s=%q was read", name, text)
		}
	}
}
