#!/usr/bin/env bash
# github.com/zishang520/socket.io/clients/socket/v3 3.0.6 (Go module), Go 1.26.8, seen 2026-11-28.
#
# A client is made with its defaults, or with the transports long-polling and WebSocket. One would expect it to begin
# with the first of them, as the JavaScript client does and as the comment on the option says ("in order of
# preference"). Seen instead: the transports are a set without an order, and each client begins with any one of them. By
# default that is now and then WebTransport, though neither the program nor the server has asked for it.
#
# Why it matters: the same program on the same server is tested with one transport and runs with another the next day.
# Where WebTransport was drawn, a server that is reached by TCP only is not asked at first. To set one transport alone
# is the only order there is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/main.go" <<'PROBE'
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/zishang520/socket.io/clients/engine/v3/transports"
	"github.com/zishang520/socket.io/clients/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

// first says what a client asks for first: a transport's name, as the server sees it.
func first(options *socket.Options) string {
	asked := make(chan string, 16)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer tcp.Close()
	go http.Serve(tcp, http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		asked <- request.URL.Query().Get("transport")
		http.Error(response, "not today", http.StatusServiceUnavailable)
	}))
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		panic(err)
	}
	defer udp.Close()
	go func() {
		if _, _, err := udp.ReadFrom(make([]byte, 2048)); err == nil {
			asked <- "webtransport"
		}
	}()
	options.SetReconnection(false)
	client, err := socket.Connect("http://"+tcp.Addr().String(), options)
	if err != nil {
		panic(err)
	}
	defer client.Disconnect()
	select {
	case transport := <-asked:
		return transport
	case <-time.After(5 * time.Second):
		return "nothing"
	}
}

func main() {
	const clients = 100
	changed := false
	for _, ordered := range []bool{false, true} {
		answers := make(chan string, clients)
		for range clients {
			options := socket.DefaultOptions()
			if ordered {
				options.SetTransports(types.NewSet(transports.Polling, transports.WebSocket))
			}
			go func() { answers <- first(options) }()
		}
		seen := map[string]int{}
		for range clients {
			seen[<-answers]++
		}
		fmt.Printf("polling and websocket set: %-5v, first transport of %d clients: %v\n", ordered, clients, seen)
		// Each of the rarer ones was drawn by about one client in eight.
		changed = changed || seen["polling"] == 0 || seen["websocket"] == 0 || !ordered && seen["webtransport"] == 0
	}
	if changed {
		fmt.Println("this changed")
		os.Exit(1)
	}
}
PROBE
cd "$folder"
build() {
  export GOFLAGS=-mod=mod GOTOOLCHAIN=local
  go mod init probe && go get github.com/zishang520/socket.io/clients/socket/v3@v3.0.6 && nice -n 19 go build -o probe .
}
build >log 2>&1 || { cat log; exit 1; }
timeout 50 ./probe
