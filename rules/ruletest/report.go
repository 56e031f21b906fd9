package ruletest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/segmentd/segmentd/rules"
)

// WriteText prints a result: a line, and of a failed test every expectation that
// does not hold, with expected beside actual.
func (r *Result) WriteText(w io.Writer) error {
	verdict := "ok  "
	if r.Failed() {
		verdict = "FAIL"
	}
	_, err := fmt.Fprintf(w, "%s  %s: %s\n%s", verdict, r.File, r.Test, r.details())
	return err
}

// details is what is to be said of a failed test, indented.
func (r *Result) details() string {
	var b strings.Builder
	for i := range r.Failures {
		r.Failures[i].write(&b)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "  note: %s\n", n)
	}
	return b.String()
}

func (f *Failure) write(b *strings.Builder) {
	fmt.Fprintf(b, "  %s: %s\n", f.Place, f.What)
	if len(f.Rows) > 0 {
		width := len("expected")
		for _, row := range f.Rows {
			width = max(width, utf8.RuneCountInString(row.Expected))
		}
		fmt.Fprintf(b, "      %-*s  actual\n", width, "expected")
		for _, row := range f.Rows {
			mark := " "
			if !row.Holds {
				mark = "!"
			}
			fmt.Fprintf(b, "    %s %-*s  %s\n", mark, width, none(row.Expected), none(row.Actual))
		}
	}
	for _, text := range f.Explanations {
		fmt.Fprintf(b, "    why %s\n", strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n      "))
	}
}

func none(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// resultJSON is a result as WriteJSON writes it.
type resultJSON struct {
	File     string        `json:"file"`
	Line     int           `json:"line"`
	Name     string        `json:"name"`
	Passed   bool          `json:"passed"`
	Failures []failureJSON `json:"failures,omitempty"`
	Notes    []string      `json:"notes,omitempty"`
}

type failureJSON struct {
	Place        string   `json:"place"`
	Message      string   `json:"message"`
	Rows         []Row    `json:"rows,omitempty"`
	Explanations []string `json:"explanations,omitempty"`
}

// WriteJSON writes all results as one document; problems are of files that
// could not be read.
func WriteJSON(w io.Writer, results []Result, problems []rules.Problem) error {
	doc := struct {
		Problems []rules.Problem `json:"problems"`
		Tests    []resultJSON    `json:"tests"`
	}{append([]rules.Problem{}, problems...), []resultJSON{}}
	for _, r := range results {
		j := resultJSON{File: r.File, Line: r.Line, Name: r.Test, Passed: !r.Failed(), Notes: r.Notes}
		for _, f := range r.Failures {
			j.Failures = append(j.Failures, failureJSON{f.Place, f.What, f.Rows, f.Explanations})
		}
		doc.Tests = append(doc.Tests, j)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(doc)
}

// The parts of JUnit's XML that CI systems read
// (https://github.com/testmoapp/junitxml).
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
	took     time.Duration
}

type junitCase struct {
	Name    string      `xml:"name,attr"`
	Class   string      `xml:"classname,attr"`
	File    string      `xml:"file,attr"`
	Line    int         `xml:"line,attr,omitempty"`
	Time    string      `xml:"time,attr"`
	Failure *junitFault `xml:"failure"`
	Error   *junitFault `xml:"error"`
}

type junitFault struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes results as JUnit XML, one suite a file. problems, of files
// that could not be read, are errors of a suite named rules.
func WriteJUnit(w io.Writer, results []Result, problems []rules.Problem) error {
	doc := junitSuites{}
	var took time.Duration
	for _, r := range results {
		if n := len(doc.Suites); n == 0 || doc.Suites[n-1].Name != r.File {
			doc.Suites = append(doc.Suites, junitSuite{Name: r.File})
		}
		doc.Suites[len(doc.Suites)-1].add(&r)
		took += r.Took
	}
	if len(problems) > 0 {
		doc.Suites = append(doc.Suites, problemSuite(problems))
	}
	for i := range doc.Suites {
		s := &doc.Suites[i]
		s.Time = seconds(s.took)
		doc.Tests, doc.Failures, doc.Errors = doc.Tests+s.Tests, doc.Failures+s.Failures, doc.Errors+s.Errors
	}
	doc.Time = seconds(took)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(doc); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(r *Result) {
	c := junitCase{Name: r.Test, Class: r.File, File: r.File, Line: r.Line, Time: seconds(r.Took)}
	if r.Failed() {
		s.Failures++
		c.Failure = &junitFault{Message: r.Failures[0].Place + ": " + r.Failures[0].What, Text: "\n" + r.details()}
	}
	s.Tests++
	s.took += r.Took
	s.Cases = append(s.Cases, c)
}

func problemSuite(problems []rules.Problem) junitSuite {
	s := junitSuite{Name: "rules"}
	for _, p := range problems {
		s.Tests, s.Errors = s.Tests+1, s.Errors+1
		s.Cases = append(s.Cases, junitCase{Name: p.File, Class: "rules", File: p.File, Line: p.Line, Time: seconds(0),
			Error: &junitFault{Message: p.Error(), Text: "\n" + p.String() + "\n"}})
	}
	return s
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
