package subject

// RequestKind is what a data subject asks for.
type RequestKind uint8

// The kinds of requests.
const (
	Access      RequestKind = iota // GDPR article 15
	Portability                    // article 20
	Erase                          // article 17
	Rectify                        // article 16
	Restrict                       // article 18
	Unrestrict                     // article 18(3)
	Import                         // of what another instance has handed over (article 20)
	// RequestKinds is their number.
	RequestKinds
)

var requestNames = [RequestKinds]string{"access", "portability", "erase", "rectify", "restrict", "unrestrict", "import"}

// String is the kind as requests and metrics write it.
func (k RequestKind) String() string { return requestNames[k] }

// Stops reports whether the request is in force from the moment it is read, whatever
// its date, as decisions that stop a purpose are.
func (k RequestKind) Stops() bool { return k == Erase || k == Restrict }

// Waits reports whether the request waits for a person to hand something over.
func (k RequestKind) Waits() bool { return k == Access || k == Portability }

// Request is what a data subject asks for.
type Request struct {
	Subject   ID
	RequestID string // chosen by who sends it
	Kind      RequestKind
	Time      Instant       // its own timestamp; Never where it could not be read
	Arrival   Instant       // the broker's timestamp; Never where unknown (files)
	Traits    []TraitUpdate // of Rectify: the right values that rules read; valid until the decoder's next record
	Unread    int           // of Rectify: how many traits it names that no rule reads
	Portable  *Portable     // of Import
	Source    Position
}

// Effective is the instant that orders requests among themselves and with decisions:
// the earlier of timestamp and arrival.
func (q *Request) Effective() Instant { return min(q.Time, q.Arrival) }

// RequestStatus says how far a request is.
type RequestStatus uint8

// The statuses of a request.
const (
	Received   RequestStatus = iota // of access and portability: it waits to be handed over
	InProgress                      // of erasure: decided and published, physical removal is under way; of rectification and the end of a restriction: in force later
	Completed
	Failed
	// RequestStatuses is their number.
	RequestStatuses
)

var requestStatusNames = [RequestStatuses]string{"received", "in_progress", "completed", "failed"}

// String is the status as results and metrics write it.
func (s RequestStatus) String() string { return requestStatusNames[s] }

// IsOpen reports whether something is still to be done.
func (s RequestStatus) IsOpen() bool { return s == Received || s == InProgress }

// Portable is what an instance has handed over of a subject, to be taken in by another.
type Portable struct {
	UpTo         Instant // the subject's clock there; LongAgo
	RuleSet      string  // hash of the rules there
	Decisions    []Proof
	Dropped      uint64 // older decisions than those
	Restrictions []Restriction
	Corrections  []Trait
	Purposes     []PortablePurpose
}

// PortablePurpose is what was kept there for one purpose. Of Purpose there are Key,
// Basis, as far as it says Known, Stop and Grants, and Traits.
type PortablePurpose struct {
	Purpose
	Evidence []PortableLeaf
}

// PortableLeaf is the evidence of a leaf that is named by its meaning; Key is 0.
type PortableLeaf struct {
	Meaning string
	Leaf
}
