package oracle

import (
	"fmt"
	"time"

	"github.com/segmentd/segmentd/state/subject"
)

// world is when a case begins, and the zones its rules name.
type world struct {
	date  string
	zones []string
}

// The worlds begin shortly before clocks are set, most of them: at night, at
// midnight, by half an hour, over a day that never was.
var worlds = []world{
	{"2026-01-01", []string{"UTC", "Europe/Berlin", "Asia/Kathmandu"}},
	{"2026-01-01", []string{"America/New_York", "Etc/GMT+12"}},
	{"2024-02-25", []string{"UTC", "Pacific/Kiritimati"}},
	{"2026-02-26", []string{"Europe/Berlin", "Pacific/Chatham"}},
	{"2026-03-27", []string{"Europe/Berlin", "UTC"}},
	{"2026-10-23", []string{"Europe/Berlin", "Europe/London"}},
	{"2026-03-06", []string{"America/New_York", "America/Havana"}},
	{"2026-10-30", []string{"America/New_York", "America/Havana"}},
	{"2018-11-02", []string{"America/Sao_Paulo", "America/Asuncion"}},
	{"2018-02-16", []string{"America/Sao_Paulo", "UTC"}},
	{"2026-04-03", []string{"Australia/Lord_Howe", "Australia/Sydney"}},
	{"2011-12-28", []string{"Pacific/Apia", "Pacific/Fakaofo"}},
	{"2026-04-22", []string{"Africa/Cairo", "Asia/Beirut"}},
}

func (w world) start() subject.Instant {
	t, _ := parseInstant(w.date + "T00:00:00Z")
	return t
}

// scale is how much time lies between two records, about. Instants lie on a
// grid, so that coincidences are frequent. Windows are shorter than every retention.
type scale struct {
	grid                          subject.Instant
	windows, retentions, expiries []string
	midnights                     int // largest number of days of since_midnight
}

const minute subject.Instant = 60 * 1_000_000

var (
	coarse = scale{6 * 60 * minute, []string{"6h", "12h", "1d", "2d", "5d", "1w", "10d"}, []string{"10d", "15d", "30d", "400d"}, []string{"5d", "12d", "40d"}, 7}
	middle = scale{60 * minute, []string{"1h", "2h", "6h", "12h", "1d", "2d"}, []string{"3d", "5d", "10d", "100d"}, []string{"12h", "2d", "10d"}, 1}
	fine   = scale{10 * minute, []string{"10m", "30m", "1h", "3h", "6h", "1d"}, []string{"2d", "4d", "40d"}, []string{"2h", "1d", "4d"}, 0}
	scales = []scale{coarse, coarse, middle, fine}
)

// longSteps are about as many steps of the grid as a case lasts.
const longSteps = 80

// steps is a random number of steps of the grid, less than n.
func (g *generator) steps(n int) subject.Instant { return subject.Instant(g.IntN(n)) * g.scale.grid }

func (g *generator) window() string { return pick(g, g.scale.windows) }
func (g *generator) zone() string   { return pick(g, g.world.zones) }

// day is a date near the beginning, years before it.
func (g *generator) day(years int) string {
	begin := time.UnixMicro(int64(g.world.start())).UTC()
	span := int(longSteps * g.scale.grid / subject.Day)
	return begin.AddDate(-years, 0, g.IntN(span+3)-1).Format(time.DateOnly)
}

// instantText is an instant on the grid, near the beginning.
func (g *generator) instantText() string {
	if g.chance(50) {
		return g.day(0)
	}
	return timeText(g.world.start() + g.steps(longSteps))
}

func (g *generator) fixed() string { return fmt.Sprintf("timestamp(%q)", g.instantText()) }
