package rules

import "strings"

// parsePath reads the path of a field as rules write it, from "properties",
// "context" or "traits" on; problem says what is wrong with it, "" if nothing is.
func parsePath(text string) (keys []string, problem string) {
	rest := text
	for {
		key, after, ok := cutKey(rest)
		if !ok {
			return nil, "write names joined by '.', others in backquotes, as in properties.address.`post-code`"
		}
		keys = append(keys, key)
		if after == "" {
			break
		}
		if after[0] != '.' {
			return nil, "write names joined by '.', others in backquotes, as in properties.address.`post-code`"
		}
		rest = after[1:]
	}
	if !fieldRoots[keys[0]] {
		return nil, "it must begin with properties., context. or traits."
	}
	if len(keys) == 1 {
		return nil, "name a field below " + keys[0]
	}
	return keys, ""
}

// cutKey takes the first key off a path.
func cutKey(text string) (key, rest string, ok bool) {
	if strings.HasPrefix(text, "`") {
		key, rest, ok = strings.Cut(text[1:], "`")
		return key, rest, ok && key != ""
	}
	end := strings.IndexByte(text, '.')
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:], identifier.MatchString(text[:end])
}

// fieldRoots are the maps whose fields rules read; they are no values themselves.
var fieldRoots = map[string]bool{"properties": true, "context": true, "traits": true}

// overlaps reports whether one path is the other, or a parent of it.
func overlaps(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
