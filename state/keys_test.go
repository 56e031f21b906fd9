package state

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmentd/segmentd/state/subject"
)

func TestKeysAreTheKeyedHashOfTheTypedID(t *testing.T) {
	secret := []byte("secret")
	k := NewKeyer(secret)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("\x01visitor"))
	id := subject.ID{Type: subject.AnonymousID, Value: "visitor"}
	for range 2 {
		if got, want := k.Key(id), Key(mac.Sum(nil)[:KeyBytes]); got != want {
			t.Errorf("key %x, want %x", got, want)
		}
	}
	if k.Key(id) == k.Key(subject.ID{Type: subject.UserID, Value: "visitor"}) {
		t.Error("a user and a visitor share a key")
	}
	if NewKeyer([]byte("other")).Key(id) == k.Key(id) {
		t.Error("two secrets give one key")
	}
}

func TestFingerprintAndLogIDRevealNothing(t *testing.T) {
	a, b := NewKeyer([]byte("secret")), NewKeyer([]byte("secret2"))
	if a.Fingerprint() != NewKeyer([]byte("secret")).Fingerprint() || a.Fingerprint() == b.Fingerprint() || len(a.Fingerprint()) != 16 {
		t.Errorf("fingerprints %s, %s", a.Fingerprint(), b.Fingerprint())
	}
	if id := a.LogID("user-77"); len(id) != 12 || strings.Contains(id, "77") && strings.Contains(id, "user") || id != a.LogID("user-77") || id == b.LogID("user-77") {
		t.Errorf("log ids %s, %s", a.LogID("user-77"), b.LogID("user-77"))
	}
}

// TestAuditIDs: one for each typed id, no part of any other hash of it.
func TestAuditIDs(t *testing.T) {
	k, user := NewKeyer([]byte("secret")), subject.ID{Value: "user-77"}
	anonymous, id := subject.ID{Type: subject.AnonymousID, Value: "user-77"}, k.AuditID(user)
	if len(id) != 32 || id != k.AuditID(user) || id == k.AuditID(anonymous) || id == NewKeyer([]byte("secret2")).AuditID(user) {
		t.Errorf("audit ids %s, %s", id, k.AuditID(anonymous))
	}
	if key := k.Key(user); id == hex.EncodeToString(key[:]) || strings.HasPrefix(id, k.LogID("user-77")) {
		t.Error("the audit id is that of a log or the key")
	}
}

func TestKeyAllocatesNothing(t *testing.T) {
	k, id := NewKeyer([]byte("secret")), subject.ID{Value: "a customer's id"}
	k.Key(id)
	if n := testing.AllocsPerRun(100, func() { k.Key(id) }); n > 0 {
		t.Errorf("%v allocations a key", n)
	}
}

func TestCheckpointsAreCanonical(t *testing.T) {
	c := checkpoint(7)
	c.Positions = map[string]int64{"z": 1, "a": 2, "<m>": 3}
	c.Topics = map[string]string{"z": "e2E", "a": "_x-y"}
	c.Clock, c.Cursors = subject.LongAgo, map[string]string{"b": "1", "a": "2"}
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeCheckpoint(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, got); diff != "" {
		t.Errorf("checkpoint (-put +got):\n%s", diff)
	}
	text := string(b)
	for name, bad := range map[string]string{
		"nothing":        "",
		"other member":   strings.Replace(text, `"group"`, `"extra":1,"group"`, 1),
		"missing member": strings.Replace(text, `"history":"h",`, "", 1),
		"other order":    strings.Replace(text, `"format":1,"group":"g"`, `"group":"g","format":1`, 1),
		"white space":    text + "\n",
		"format 0":       strings.Replace(text, `"format":1`, `"format":0`, 1),
		"wrong type":     strings.Replace(text, `"group":"g"`, `"group":7`, 1),
	} {
		if _, err := DecodeCheckpoint([]byte(bad)); !errors.Is(err, ErrCheckpoint) {
			t.Errorf("%s: %v, want %v", name, err, ErrCheckpoint)
		}
	}
	newer := strings.Replace(text, `"format":1`, `"format":2,"new":true`, 1)
	if _, err := DecodeCheckpoint([]byte(newer)); !errors.Is(err, ErrNewerVersion) {
		t.Errorf("newer format: %v, want %v", err, ErrNewerVersion)
	}
}

// What was written before topics' ids were kept is read as if they were not known.
func TestCheckpointsOfBefore(t *testing.T) {
	const text = `{"format":1,"group":"g","partition":3,"history":"h","transaction":7,"positions":{"a":2},"clock":5,"ruleSet":"r","secret":"s"}`
	got, err := DecodeCheckpoint([]byte(text))
	want := Checkpoint{Format: 1, Group: "g", Partition: 3, History: "h", Transaction: 7, Positions: map[string]int64{"a": 2}, Clock: 5, RuleSet: "r", Secret: "s"}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestFixedKeysCannotBeSubjects(t *testing.T) {
	if len(CheckpointKey) == KeyBytes || slices.ContainsFunc(fixedKeys, func(k []byte) bool { return len(k) == KeyBytes }) {
		t.Error("a fixed key has the length of a subject's")
	}
}

func BenchmarkKey(b *testing.B) {
	k, id := NewKeyer([]byte("a secret of thirty-two bytes....")), subject.ID{Value: "customer-1234567"}
	b.ReportAllocs()
	for b.Loop() {
		k.Key(id)
	}
}
