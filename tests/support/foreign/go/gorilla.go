// An echo server made of gorilla/websocket. What it does is in ../python.py.
package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

func tell(event map[string]any) {
	json.NewEncoder(os.Stdout).Encode(event)
}

func serve(upgrader *websocket.Upgrader, w http.ResponseWriter, r *http.Request) {
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer socket.Close()
	for {
		kind, data, err := socket.ReadMessage()
		if err != nil {
			event := map[string]any{"on": "close", "code": 1006, "reason": ""}
			if end, ok := err.(*websocket.CloseError); ok {
				event["code"], event["reason"] = end.Code, end.Text
			}
			tell(event)
			return
		}
		switch {
		case kind == websocket.TextMessage && string(data) == "close me":
			socket.WriteControl(
				websocket.CloseMessage,
				websocket.FormatCloseMessage(4002, "enough"),
				time.Now().Add(time.Second),
			)
		case kind == websocket.TextMessage && string(data) == "kill":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		default:
			socket.WriteMessage(kind, data)
		}
	}
}

func main() {
	upgrader := &websocket.Upgrader{
		// By default a page of another origin is refused.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	tell(map[string]any{
		"on": "listening", "port": listener.Addr().(*net.TCPAddr).Port,
	})
	http.Serve(listener, http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { serve(upgrader, w, r) },
	))
}
