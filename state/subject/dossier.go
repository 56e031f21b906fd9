package subject

// Dossier is what is kept of a subject beside its record, to be shown and not to be
// computed with: the decisions as the proof of consent (GDPR article 7(1)), and
// its requests. It is a record of its own on the changelog and in the image, read
// and written only when a decision or a request comes, so that events do not pay
// for it.
//
// INVARIANT: Proofs and Requests are in the order in which they were read. Of an
// erased subject's, ID and Proofs are empty until there is a newer grant.
type Dossier struct {
	ID       ID
	Proofs   []Proof
	Dropped  uint64 // older proofs than MaxProofs, which only the decisions topic has
	Requests []RequestState
}

// MaxProofs and MaxRequests bound what is kept of one subject: beyond it the oldest
// proof, and the oldest request that is done, are dropped. A request that is open never
// is: there is room for MaxAsked that wait for a person (access and portability), and
// for others besides.
const (
	MaxProofs   = 128
	MaxRequests = 32
	MaxAsked    = MaxRequests / 2
)

// Proof is a decision as it was read.
type Proof struct {
	Purpose       string // "": all purposes, a decision that could not be understood
	Status        Status
	Explicit      bool
	Time          Instant  // its own timestamp; Never where it had none
	Arrival       Instant  // the broker's
	Expires       Instant  // by the decision itself; Never
	NoticeVersion string   // "" where it names none
	Method        string   // how it was collected; ""
	RecordID      string   // the controller's own record of it; ""
	Source        Position // where it was read; of one that was imported, the import
}

// RequestState is how far a request is.
type RequestState struct {
	RequestID string
	Kind      RequestKind
	Status    RequestStatus
	Effective Instant
	Received  Instant // the broker's timestamp, else the effective instant
	Done      Instant // when it was completed or had failed; Never
	Extended  Instant // until when it was given more time; 0: it was not
	Detail    string  // for who asked; no personal data
}

// Asked is when the subject asked, whoever passed that on later: the month of GDPR
// article 12(3) runs from it.
func (s *RequestState) Asked() Instant { return min(s.Effective, s.Received) }
