package vt

// A charset is a 94-character set that shows other characters for some of ASCII. The zero charset is ASCII.
type charset byte

// charsets maps a set's final byte to what it replaces. All other sets are ASCII.
var charsets = map[charset]map[byte]rune{
	'0': graphics(),
	'A': national("#£"),
	'4': national("#£@¾[i\\½]|{¨|f}¼~´"),
	'5': national("[Ä\\Ö]Å^Ü`é{ä|ö}å~ü"),
	'R': national("#£@à[°\\ç]§{é|ù}è~¨"),
	'Q': national("@à[â\\ç]ê^î`ô{é|ù}è~û"),
	'K': national("@§[Ä\\Ö]Ü{ä|ö}ü~ß"),
	'Y': national("#£@§[°\\ç]é`ù{à|ò}è~ì"),
	'6': national("@Ä[Æ\\Ø]Å^Ü`ä{æ|ø}å~ü"),
	'Z': national("#£@§[¡\\Ñ]¿{°|ñ}ç"),
	'7': national("@É[Ä\\Ö]Å^Ü`é{ä|ö}å~ü"),
	'=': national("#ù@à[é\\ç]ê^î_è`ô{ä|ö}ü~û"),
}

// graphics returns DEC's set of special characters and lines.
func graphics() map[byte]rune {
	m := make(map[byte]rune)
	for i, r := range []rune("◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·") {
		m['`'+byte(i)] = r
	}
	return m
}

// national returns the set that shows each second character of pairs for the one before it.
func national(pairs string) map[byte]rune {
	m, runes := make(map[byte]rune), []rune(pairs)
	for i := 0; i < len(runes); i += 2 {
		m[byte(runes[i])] = runes[i+1]
	}
	return m
}

// charsetNamed returns the set of a final byte, and whether there is one.
func charsetNamed(final byte) (charset, bool) {
	switch final {
	case 'B':
		return 0, true
	case 'C':
		return '5', true
	case 'E':
		return '6', true
	case 'H':
		return '7', true
	}
	_, ok := charsets[charset(final)]
	return charset(final), ok
}

// final returns the byte that designates the set.
func (c charset) final() byte {
	if c == 0 {
		return 'B'
	}
	return byte(c)
}

// A shift says which of G0 to G3 holds what, and which is in use.
type shift struct {
	sets  [4]charset
	level int
	// active is in use. It is sets[level], or what restoring a cursor has left.
	active charset
}

func (s *shift) use(level int) {
	s.level = level
	s.active = s.sets[level]
}

func (s *shift) designate(g int, c charset) {
	s.sets[g] = c
	if s.level == g {
		s.active = c
	}
}
