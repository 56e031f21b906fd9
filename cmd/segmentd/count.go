package main

import "strconv"

// count writes a number of things: "1 record", "2 records".
func count[N int | int64](n N, thing string) string {
	text := strconv.FormatInt(int64(n), 10) + " " + thing
	if n == 1 {
		return text
	}
	return text + "s"
}
