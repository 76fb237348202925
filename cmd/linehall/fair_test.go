package main

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// One address gets its share and no more; closing one makes room for the next.
func TestOneAddressCannotTakeAllConnections(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fair := &fairListener{Listener: plain, most: 2}
	t.Cleanup(func() { fair.Close() })
	accepted := make(chan net.Conn, 8)
	go func() {
		for {
			connection, err := fair.Accept()
			if err != nil {
				return
			}
			accepted <- connection
		}
	}()
	dial := func() net.Conn {
		t.Helper()
		connection, err := net.Dial("tcp", plain.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connection.Close() })
		return connection
	}
	dial()
	first := <-accepted
	dial()
	<-accepted
	refused := dial()
	_ = refused.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := refused.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the third connection of one address was not closed: %v", err)
	}
	first.Close()
	dial()
	<-accepted
}
