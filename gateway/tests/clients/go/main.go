// One client of zishang520/socket.io: joins the room at each connect and does what is said there (see ../run.mjs).
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/zishang520/socket.io/clients/engine/v3/transports"
	"github.com/zishang520/socket.io/clients/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

var output sync.Mutex

func show(line map[string]any) {
	output.Lock()
	defer output.Unlock()
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}

// field returns a field of the first argument of an event.
func field(args []any, name string) string {
	if len(args) == 0 {
		return ""
	}
	object, _ := args[0].(map[string]any)
	text, _ := object[name].(string)
	return text
}

func main() {
	// The client takes these signals from the program that imports it.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	name, room := os.Getenv("NAME"), os.Getenv("ROOM")
	options := socket.DefaultOptions()
	options.SetAuth(map[string]any{"username": name, "resume": os.Getenv("RESUME")})
	switch os.Getenv("TRANSPORTS") {
	case "polling":
		options.SetTransports(types.NewSet(transports.Polling))
	case "websocket":
		options.SetTransports(types.NewSet(transports.WebSocket))
	}
	client, err := socket.Connect(os.Getenv("URL"), options)
	if err != nil {
		show(map[string]any{"event": "refused", "why": err.Error()})
		os.Exit(1)
	}
	// ask emits an event and shows the status that it is acknowledged with.
	ask := func(event, shown, text string, payload map[string]any) {
		client.Emit(event, payload, func(args []any, err error) {
			line := map[string]any{"event": shown, "text": text, "status": field(args, "status"), "code": field(args, "code")}
			if err != nil {
				line["error"] = err.Error()
			}
			show(line)
		})
	}
	client.On("connect", func(...any) {
		show(map[string]any{"event": "connect"})
		ask("join", "joined", "", map[string]any{"room": room})
	})
	client.On("welcome", func(args ...any) { show(map[string]any{"event": "welcome", "node": field(args, "node")}) })
	client.On("disconnect", func(args ...any) { show(map[string]any{"event": "disconnect", "why": fmt.Sprint(args...)}) })
	client.On("connect_error", func(args ...any) { show(map[string]any{"event": "refused", "why": fmt.Sprint(args...)}) })
	client.On("message", func(args ...any) {
		if field(args, "user") == name {
			return
		}
		text := field(args, "text")
		show(map[string]any{"event": "message", "text": text})
		if say, ok := strings.CutPrefix(text, "say "); ok {
			ask("send_message", "acked", say, map[string]any{"room": room, "text": say})
		}
		if say, ok := strings.CutPrefix(text, "bytes "); ok {
			ask("send_message", "acked", say, map[string]any{"room": room, "text": say, "attachment": make([]byte, 200)})
		}
	})
	<-signals
}
