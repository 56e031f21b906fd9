package main

import (
	"strconv"
	"strings"
)

// count writes a number of things: "1 record", "2 records", "2 entries".
func count[N int | int32 | int64](n N, thing string) string {
	text := strconv.FormatInt(int64(n), 10) + " " + thing
	if n == 1 {
		return text
	}
	if stem, ok := strings.CutSuffix(text, "y"); ok {
		return stem + "ies"
	}
	return text + "s"
}
