// Package cdnow gives tests a real history of purchases as segmentd input: the
// CDNOW data set (23,570 customers who first bought in early 1997, and their
// 69,659 purchases to mid 1998; Fader and Hardie), with decisions and a
// rules directory that uses every aggregate and window on it. It is imported
// only by tests; the data lies beside the repository and is no part of it.
package cdnow

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrAbsent means that the data set is not beside the repository: skip the test.
var ErrAbsent = errors.New("CDNOW_master.txt.gz is not in ../shared/data")

const fileName = "CDNOW_master.txt.gz"

// purchase is one row of the file.
type purchase struct {
	line     int
	customer string
	day      string // 1997-01-31
	units    string
	dollars  string // as in the file, two decimals
}

// Events writes the purchases as track calls, NDJSON, in order of their day
// (12:00 UTC) and within a day of the file.
func Events(w io.Writer) error {
	all, err := read()
	if err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b purchase) int { return strings.Compare(a.day, b.day) })
	out := bufio.NewWriter(w)
	for _, p := range all {
		fmt.Fprintf(out, `{"type":"track","messageId":"%s:%d","userId":"%s","event":"Order Completed","timestamp":"%sT12:00:00Z","properties":{"dollars":%s,"cents":%s,"units":%s}}`+"\n",
			fileName, p.line, p.customer, p.day, p.dollars, p.cents(), p.units)
	}
	return out.Flush()
}

// Decisions writes, as NDJSON, the consent of all customers but every tenth to
// the purpose "marketing", given on 1996-12-31, in order of their ids.
func Decisions(w io.Writer) error {
	all, err := read()
	if err != nil {
		return err
	}
	ids := make([]string, len(all))
	for i, p := range all {
		ids[i] = p.customer
	}
	slices.Sort(ids)
	out := bufio.NewWriter(w)
	for i, id := range slices.Compact(ids) {
		if i%10 != 9 {
			fmt.Fprintf(out, `{"type":"decision","userId":"%s","purpose":"marketing","status":"given","timestamp":"1996-12-31T00:00:00Z"}`+"\n", id)
		}
	}
	return out.Flush()
}

// cents is the amount without its point and leading zeros.
func (p purchase) cents() string {
	n, _ := strconv.Atoi(strings.Replace(p.dollars, ".", "", 1))
	return strconv.Itoa(n)
}

func read() ([]purchase, error) {
	path, err := find()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return parse(plain)
}

func parse(r io.Reader) (all []purchase, err error) {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if n == 1 || len(f) == 0 {
			continue
		}
		if len(f) != 4 || len(f[1]) != 8 {
			return nil, fmt.Errorf("%s:%d: not a row of four columns", fileName, n)
		}
		day := f[1][:4] + "-" + f[1][4:6] + "-" + f[1][6:]
		all = append(all, purchase{line: n, customer: f[0], day: day, units: f[2], dollars: f[3]})
	}
	return all, lines.Err()
}

// find walks up to the repository's root and looks beside it.
func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ErrAbsent
		}
		dir = parent
	}
	path := filepath.Join(dir, "..", "shared", "data", fileName)
	if _, err := os.Stat(path); err != nil {
		return "", ErrAbsent
	}
	return path, nil
}
