package transparency

import (
	"strings"

	"github.com/segmentd/segmentd/config"
	"github.com/segmentd/segmentd/rules"
)

// Record is the record of processing activities (GDPR article 30(1)): a system
// in fideslang's words, with what these have no words for in members of ours.
type Record struct {
	FidesKey    string `json:"fides_key"`
	Name        string `json:"name"`
	Description string `json:"description"`
	SystemType  string `json:"system_type"`

	Ingress      []Flow        `json:"ingress"`
	Egress       []Flow        `json:"egress"`
	Declarations []Declaration `json:"privacy_declarations"` // one a purpose, in the order of keys

	ProcessesPersonalData bool     `json:"processes_personal_data"`
	UsesProfiling         bool     `json:"uses_profiling"` // with a legal or as significant effect
	ProfilingBases        []string `json:"legal_basis_for_profiling"`
	InternationalTransfer bool     `json:"does_international_transfers"`
	TransferBases         []string `json:"legal_basis_for_transfers"`
	LegalName             string   `json:"legal_name,omitempty"`
	LegalAddress          string   `json:"legal_address,omitempty"`
	DPO                   string   `json:"dpo,omitempty"`
	Responsibility        []string `json:"responsibility"`
	Security              string   `json:"data_security_practices"`

	Ours Activity `json:"segmentd"`
}

// Flow is a topic that data come from or go to.
type Flow struct {
	FidesKey   string   `json:"fides_key"`
	Type       string   `json:"type"`
	Categories []string `json:"data_categories,omitempty"`
}

// Declaration is one purpose.
type Declaration struct {
	Name         string   `json:"name"`
	Categories   []string `json:"data_categories"`
	DataUse      string   `json:"data_use"`
	DataSubjects []string `json:"data_subjects"`
	Ingress      []string `json:"ingress"`
	Egress       []string `json:"egress"`
	Features     []string `json:"features"`
	Basis        string   `json:"legal_basis_for_processing"`
	Retention    string   `json:"retention_period"`
	Special      bool     `json:"processes_special_category_data"`
	SpecialBasis string   `json:"special_category_legal_basis,omitempty"`
	Shared       bool     `json:"data_shared_with_third_parties"`
	ThirdParties string   `json:"third_parties,omitempty"`
	SharedData   []string `json:"shared_categories"`

	Ours PurposeDetails `json:"segmentd"`
}

// Activity is what fideslang has no words for, of the whole.
type Activity struct {
	RuleSet      string            `json:"rule_set"` // hash
	Revision     int64             `json:"revision,omitempty"`
	Controller   ControllerDetails `json:"controller"`
	DataSubjects []string          `json:"data_subjects"`
	Sources      string            `json:"sources,omitempty"`
	Topics       []StoreDetails    `json:"topics"`
	Stores       []StoreDetails    `json:"stores"` // where else data about subjects are, or in which parts of topics
	Transfers    []TransferDetails `json:"transfers"`
	Erasure      []string          `json:"erasure"`
	Security     []string          `json:"security"`
	Gaps         []string          `json:"gaps"` // what the record should have and nothing says
}

// ControllerDetails is who is responsible.
type ControllerDetails struct {
	Name           string `json:"name"`
	Address        string `json:"address,omitempty"`
	Contact        string `json:"contact"`
	DPO            string `json:"dpo,omitempty"`
	NoDPO          string `json:"no_dpo,omitempty"` // why none is needed
	Representative string `json:"representative,omitempty"`
	Country        string `json:"country,omitempty"`
}

// TransferDetails is a transfer to a third country or international organisation.
type TransferDetails struct {
	Recipient  string `json:"recipient"`
	Country    string `json:"country"`
	Safeguards string `json:"safeguards"`
}

// PurposeDetails is what fideslang has no words for, of a purpose.
type PurposeDetails struct {
	Description         string            `json:"description"`
	LawfulBasis         string            `json:"lawful_basis"`
	Article             string            `json:"article"`
	DirectMarketing     bool              `json:"direct_marketing,omitempty"`
	LegitimateInterest  string            `json:"legitimate_interest,omitempty"`
	LegalReference      string            `json:"legal_reference,omitempty"`
	NoticeVersion       string            `json:"notice_version,omitempty"`
	OldestNoticeVersion string            `json:"oldest_notice_version,omitempty"`
	ConsentExpiresAfter string            `json:"consent_expires_after,omitempty"`
	MinAge              int               `json:"min_age,omitempty"`
	SignificantEffect   bool              `json:"significant_effect,omitempty"`
	Safeguards          string            `json:"safeguards,omitempty"`
	Events              []string          `json:"events"`
	Fields              []FieldDetails    `json:"fields"`
	Uncategorised       []string          `json:"uncategorised"` // fields to which the catalogue gives no category
	Infers              []string          `json:"infers"`
	Lists               []ListDetails     `json:"lists"`
	Recipients          []rules.Recipient `json:"recipients"`
	Topics              []string          `json:"topics"`
	Segments            []SegmentDetails  `json:"segments"`
}

// FieldDetails is a field that is read.
type FieldDetails struct {
	Path       string   `json:"path"`
	Categories []string `json:"categories"`
	Special    bool     `json:"special,omitempty"`
}

// ListDetails is a static list of ids that is read.
type ListDetails struct {
	Key      string `json:"key"`
	Subjects int    `json:"subjects"`
}

// SegmentDetails is a segment.
type SegmentDetails struct {
	Key         string   `json:"key"`
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Infers      []string `json:"infers,omitempty"`
}

// NewRecord makes the record of processing activities.
func NewRecord(s Source) *Record {
	c := &s.Config.Controller
	r := &Record{
		FidesKey: s.Config.Group, Name: s.Config.Group, SystemType: "Service",
		Description: "Decides from what people do in which segments they are, for those who allow it, and publishes each change.",

		ProcessesPersonalData: true, Responsibility: []string{"Controller"}, ProfilingBases: []string{},
		LegalName: c.Name, LegalAddress: c.Address, DPO: c.DPO,
		Ours: Activity{
			RuleSet: s.Rules.Hash, Revision: s.Rules.Revision, Controller: ControllerDetails(*c), DataSubjects: s.Config.Privacy.DataSubjects,
			Sources: s.Config.Privacy.Sources, Topics: s.topicStores(), Stores: s.stores(), Transfers: []TransferDetails{}, Erasure: erasure(&s), Security: security(s.Config),
			Gaps: gaps(&s),
		},
	}
	r.Security = strings.Join(r.Ours.Security, " ")
	r.transfers(s.Config)
	for i := range s.Rules.Purposes {
		r.Declarations = append(r.Declarations, s.declaration(i))
		r.profiling(&s.Rules.Purposes[i])
	}
	r.flows(&s)
	return r
}

func (r *Record) transfers(c *config.Config) {
	r.TransferBases = []string{}
	for _, t := range c.Privacy.Transfers {
		r.InternationalTransfer = true
		r.TransferBases = append(r.TransferBases, t.Safeguards)
		r.Ours.Transfers = append(r.Ours.Transfers, TransferDetails(t))
	}
}

// profiling notes a purpose whose segments decide what affects people significantly.
func (r *Record) profiling(p *rules.Purpose) {
	if !p.SignificantEffect {
		return
	}
	r.UsesProfiling = true
	basis := "Explicit consent"
	if p.Basis == rules.Contract {
		basis = "Contract"
	}
	for _, b := range r.ProfilingBases {
		if b == basis {
			return
		}
	}
	r.ProfilingBases = append(r.ProfilingBases, basis)
}

// flows lists the topics that data come from and go to.
func (r *Record) flows(s *Source) {
	categories, shared := map[string]bool{}, map[string]map[string]bool{}
	for i, d := range r.Declarations {
		note(categories, d.Categories)
		output := s.Rules.Purposes[i].Output
		if shared[output] == nil {
			shared[output] = map[string]bool{}
		}
		note(shared[output], memberships(d.Ours.Infers))
	}
	r.Ingress, r.Egress = []Flow{}, []Flow{}
	for _, in := range s.Config.Inputs {
		data := sorted(categories)
		if in.Kind == config.KindDecision {
			data = []string{"user.privacy_preferences", "user.unique_id"}
		}
		r.Ingress = append(r.Ingress, Flow{in.Topic, "dataset", data})
	}
	for _, t := range s.Topics {
		if t.Role == Changes || t.Role == Members {
			r.Egress = append(r.Egress, Flow{t.Name, "dataset", sorted(shared[t.Output])})
		}
	}
}

func note(into map[string]bool, items []string) {
	for _, item := range items {
		into[item] = true
	}
}
