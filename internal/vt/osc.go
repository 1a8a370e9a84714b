package vt

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// osc does an operating system command.
func (t *Terminal) osc(payload []byte) {
	id, data, _ := bytes.Cut(payload, []byte(";"))
	n, err := strconv.ParseUint(string(id), 10, 16)
	if err != nil {
		return
	}
	switch n {
	case 0:
		t.setTitle(data, &t.title, &t.icon)
	case 1:
		t.setTitle(data, &t.icon)
	case 2:
		t.setTitle(data, &t.title)
	case 4:
		t.setPalette(string(data))
	case 8:
		t.setLink(string(data))
	case 10, 11, 12:
		t.setSpecialColors(int(n), string(data))
	case 104:
		t.restorePalette(string(data))
	case 110, 111, 112:
		delete(t.colors, special(int(n)-100))
	}
}

func (t *Terminal) setTitle(data []byte, targets ...*string) {
	if len(data) > maxTitle {
		return
	}
	for _, target := range targets {
		*target = string(data)
	}
}

// setLink opens the hyperlink of an OSC 8 and closes the one before.
func (t *Terminal) setLink(data string) {
	t.sweep()
	options, uri, ok := strings.Cut(data, ";")
	options = strings.TrimSpace(options)
	if !ok || uri == "" && options != "" {
		return
	}
	id := ""
	for option := range strings.SplitSeq(options, ":") {
		if v, ok := strings.CutPrefix(option, "id="); ok {
			id = v
			break
		}
	}
	if len(id)+len(uri) > maxLink {
		id, uri = "", ""
	}
	t.setExtra(func(e *extra) { e.id, e.uri = id, uri })
}

// special is the key in Terminal.colors of OSC 10, 11 and 12. Those of the palette are 0 to 255.
func special(osc int) int { return 256 + osc }

// colorSpec is how a color can be given: as X11 does, with 1 to 4 hexadecimal digits for each of red, green and blue.
var colorSpec = regexp.MustCompile(`(?i)^(rgb:([0-9a-f]{1}(/[0-9a-f]{1}){2}|[0-9a-f]{2}(/[0-9a-f]{2}){2}|` +
	`[0-9a-f]{3}(/[0-9a-f]{3}){2}|[0-9a-f]{4}(/[0-9a-f]{4}){2})|#([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{9}|[0-9a-f]{12}))$`)

func (t *Terminal) setColorSpec(key int, spec string) {
	if !colorSpec.MatchString(spec) {
		return
	}
	if t.colors == nil {
		t.colors = make(map[int]string)
	}
	t.colors[key] = spec
}

// setPalette takes pairs of an index and a color, or a question mark.
func (t *Terminal) setPalette(data string) {
	parts := strings.Split(data, ";")
	for ; len(parts) > 1; parts = parts[2:] {
		i, ok := paletteIndex(parts[0])
		switch {
		case !ok:
		case parts[1] == "?":
			t.reply("\x1b]4;" + strconv.Itoa(i) + ";" + t.colorReply(i) + "\x1b\\")
		default:
			t.setColorSpec(i, parts[1])
		}
	}
}

func paletteIndex(s string) (int, bool) {
	if strings.TrimLeft(s, "0123456789") != "" {
		return 0, false
	}
	i, err := strconv.ParseUint(s, 10, 8)
	return int(i), err == nil
}

func (t *Terminal) setSpecialColors(osc int, data string) {
	for spec := range strings.SplitSeq(data, ";") {
		switch {
		case osc > 12:
			return
		case spec == "?":
			t.reply("\x1b]" + strconv.Itoa(osc) + ";" + t.colorReply(special(osc)) + "\x1b\\")
		default:
			t.setColorSpec(special(osc), spec)
		}
		osc++
	}
}

func (t *Terminal) restorePalette(data string) {
	if data == "" {
		for i := range 256 {
			delete(t.colors, i)
		}
		return
	}
	for s := range strings.SplitSeq(data, ";") {
		if i, ok := paletteIndex(s); ok {
			delete(t.colors, i)
		}
	}
}
