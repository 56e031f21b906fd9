package config

// Gives reports whether a source gives the setting at a path, so that its value is
// more than the default.
func (c *Config) Gives(path string) bool {
	_, given := c.origins[path]
	return given
}
