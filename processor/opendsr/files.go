package opendsr

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ending is that of the file of a request that is watched; its name is the id.
const ending = ".json"

func (p *Processor) file(id string) string { return filepath.Join(p.cfg.Dir, id+ending) }

// save writes a request's file: after a crash it is the one of before, or this one.
func (p *Processor) save(w *watched) error {
	text, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("write the callbacks of a request: %w", err)
	}
	path := p.file(w.ID)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(p.cfg.Dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close()) // so that a new file's name survives power loss
}

func (p *Processor) remove(w *watched) error { return os.Remove(p.file(w.ID)) }

// load reads all files. One that cannot be read stays where it is, and is told.
func (p *Processor) load() (all []*watched, err error) {
	if err := os.MkdirAll(p.cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(p.cfg.Dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		w := &watched{}
		id, ours := strings.CutSuffix(e.Name(), ending)
		if !ours || !IsID(id) {
			continue
		}
		text, err := os.ReadFile(p.file(id))
		if err == nil {
			err = json.Unmarshal(text, w)
		}
		if err == nil && w.ID != id {
			err = fs.ErrInvalid
		}
		if err != nil {
			p.deps.Logger.Error("the callbacks of a request are lost: its file cannot be read", "request", id, "error", err)
			continue
		}
		all = append(all, w)
	}
	return all, nil
}
