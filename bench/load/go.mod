module cdr.dev/wsep/bench/load

go 1.26.0
