package proto_test

import (
	"testing"

	"cdr.dev/wsep/internal/proto"
)

func BenchmarkEncode(b *testing.B) {
	for _, bc := range []struct {
		name string
		msg  any
	}{
		{"start", exampleStart()},
		{"resize", proto.Resize{Rows: 50, Cols: 132}},
		{"ack", proto.Ack{Stdout: 1 << 30}},
		{"exit_code", proto.ExitCode{ExitCode: 44, Error: "exit status 44"}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := proto.Encode(bc.msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendAck(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 64)
	for b.Loop() {
		buf = proto.AppendAck(buf[:0], proto.TypeStdout, 1<<30)
	}
}

func BenchmarkDecode(b *testing.B) {
	start, err := proto.Encode(exampleStart())
	if err != nil {
		b.Fatal(err)
	}
	for _, bc := range []struct{ name, header string }{
		{"start", string(start)},
		{"resize", `{"type":"resize","rows":50,"cols":132}`},
		{"stdout, not by its constant", `{"type":"stdout"}`},
		{"ack, fast", `{"type":"ack","stdout":1073741824}`},
		{"ack, slow", `{"type":"ack", "stdout":1073741824}`},
		{"echo, fast", `{"type":"echo","n":1}`},
		{"exit_code", `{"type":"exit_code","exit_code":44,"error":"exit status 44"}`},
	} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			header := []byte(bc.header)
			for b.Loop() {
				if _, err := proto.Decode(header); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func exampleStart() proto.Start {
	return proto.Start{
		Command: proto.Command{
			Command: "sh", Args: []string{"-c", "make test"}, Stdin: new(true), Env: []string{"A=1"}, WorkingDir: "/tmp",
		},
		Extensions: &proto.Extensions{Window: 2 << 20, MaxMessage: 256 << 10, Signal: true, Outcome: true},
	}
}
