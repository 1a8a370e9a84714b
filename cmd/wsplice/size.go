package main

import (
	"math"
	"strconv"
	"strings"

	"golang.org/x/xerrors"
)

// size is a flag for a number of bytes. The text has a unit in powers of 1024, as in version 0.1.0, or none.
type size int64

// sizeUnits maps a unit to its factor. In version 0.1.0 KB and KiB were the same.
var sizeUnits = map[string]float64{
	"": 1, "B": 1,
	"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// maxSize is the largest size. All integers up to it are exact as floating-point numbers.
const maxSize = 1 << 52

// Set implements pflag.Value.
func (s *size) Set(text string) error {
	number := strings.TrimRight(text, "BKMGTi")
	unit, ok := sizeUnits[text[len(number):]]
	n, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || math.IsNaN(n) {
		return xerrors.New("not a size such as 5242880, 512KB or 5MB")
	}
	if n *= unit; math.Abs(n) > maxSize {
		return xerrors.New("too large")
	}
	*s = size(n)
	return nil
}

// String implements pflag.Value.
func (s *size) String() string {
	const unit = 1 << 20
	if *s != 0 && *s%unit == 0 {
		return strconv.FormatInt(int64(*s/unit), 10) + "MB"
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Type implements pflag.Value.
func (s *size) Type() string { return "size" }
