package rules

import (
	"path"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/segmentd/segmentd/state/subject"
)

var segmentFields = []string{"key", "name", "description", "purpose", "when", "stay_while", "min_dwell", "cooldown", "infers"}

func (s *sections) readSegment(l *loader, v yamlValue) {
	o, ok := l.object(v, "segment", segmentFields)
	if !ok {
		return
	}
	d := segmentDecl{at: o.at("key"), purposeAt: o.at("purpose"), infersAt: o.at("infers")}
	d.key, ok = s.key(l, o, segmentKey)
	d.name = l.text(o, "name")
	if d.name == "" {
		d.name = d.key
	}
	d.description = l.text(o, "description")
	d.purpose = l.required(o, "purpose")
	if o.has("infers") {
		d.infers, d.considered = l.inferred(o), true
	}
	if !o.has("when") {
		l.errorf(o.spot(), "the segment has no 'when'")
	} else if text, readable := l.expression(o.fields["when"], "when"); readable {
		d.expr, d.when = text, text.text()
	}
	if o.has("stay_while") {
		if text, readable := l.expression(o.fields["stay_while"], "stay_while"); readable {
			d.stay, d.stayWhile = text, text.text()
		} else {
			d.expr = nil // nothing is decided by half a rule
		}
	}
	d.minDwell, d.cooldown = l.duration(o, "min_dwell"), l.duration(o, "cooldown")
	if ok {
		s.segments = append(s.segments, d)
	}
}

// inferred reads the special categories that membership reveals.
func (l *loader) inferred(o object) []string {
	var categories []string
	for _, item := range l.items(o.fields["infers"], "infers") {
		if item.node.Kind != yaml.ScalarNode || !category.MatchString(item.node.Value) {
			l.errorf(item.spot(), "an entry of 'infers' must be a category, a fideslang key such as user.health_and_medical")
			continue
		}
		l.warnUnknownKey(item.spot(), "category", item.node.Value, dataCategories)
		categories = append(categories, item.node.Value)
	}
	return categories
}

var listFields = []string{"key", "members", "file"}

func (s *sections) readList(l *loader, v yamlValue) {
	o, ok := l.object(v, "list", listFields)
	if !ok {
		return
	}
	d := listDecl{list: list{members: make(map[string]struct{})}}
	d.key, ok = s.key(l, o, freeKey)
	switch {
	case o.has("members") && o.has("file"):
		l.errorf(o.keys["file"], "a list has 'members' or a 'file', not both")
	case o.has("file"):
		l.listFile(o, d.members)
	case o.has("members"):
		l.members(o, d.members)
	case o.keys["members"].doc == nil:
		l.errorf(o.spot(), "the list has neither 'members' nor a 'file'")
	}
	if ok {
		s.lists = append(s.lists, d)
	}
}

func (l *loader) members(o object, into map[string]struct{}) {
	for _, item := range l.items(o.fields["members"], "members") {
		if item.node.Kind != yaml.ScalarNode || item.isNull() || !subject.ValidID(item.node.Value) {
			l.errorf(item.spot(), "a member must be an id: text of 1 to %d bytes without control characters", subject.MaxIDBytes)
			continue
		}
		into[item.node.Value] = struct{}{}
	}
}

// listFile reads ids, one a line.
func (l *loader) listFile(o object, into map[string]struct{}) {
	name := l.text(o, "file")
	if name == "" {
		return
	}
	full := path.Join(path.Dir(o.doc.path), name)
	if path.IsAbs(name) || full == ".." || strings.HasPrefix(full, "../") || strings.Contains(name, `\`) {
		l.errorf(o.at("file"), "the file must lie inside the rules directory: write its path relative to this file, with /")
		return
	}
	data, err := readLimited(l.fsys, full, maxListFileBytes)
	if err != nil {
		l.errorf(o.at("file"), "%s cannot be read: %s", l.shown(full), reason(err))
		return
	}
	l.sources[full] = data
	text := strings.TrimPrefix(string(data), "\ufeff")
	for n, line := range strings.Split(text, "\n") {
		id := strings.TrimRight(line, "\r")
		if strings.TrimSpace(id) == "" {
			continue
		}
		if !subject.ValidID(id) {
			l.errorf(o.at("file"), "line %d of %s is no id: 1 to %d bytes of UTF-8 without control characters", n+1, l.shown(full), subject.MaxIDBytes)
			return
		}
		into[id] = struct{}{}
	}
}
