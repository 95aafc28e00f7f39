// An echo server made of nhooyr.io/websocket. What it does is in ../python.py.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"syscall"

	"nhooyr.io/websocket"
)

func tell(event map[string]any) {
	json.NewEncoder(os.Stdout).Encode(event)
}

func serve(w http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		// By default a page of another origin is refused.
		InsecureSkipVerify: true,
	})
	if err != nil {
		return
	}
	// By default a message may have 32 KiB.
	socket.SetReadLimit(1 << 21)
	for {
		kind, data, err := socket.Read(context.Background())
		if err != nil {
			event := map[string]any{"on": "close", "code": 1006, "reason": ""}
			var end websocket.CloseError
			if errors.As(err, &end) {
				event["code"], event["reason"] = end.Code, end.Reason
			}
			tell(event)
			return
		}
		switch {
		case kind == websocket.MessageText && string(data) == "close me":
			socket.Close(4002, "enough")
			return
		case kind == websocket.MessageText && string(data) == "kill":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		default:
			socket.Write(context.Background(), kind, data)
		}
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	tell(map[string]any{
		"on": "listening", "port": listener.Addr().(*net.TCPAddr).Port,
	})
	http.Serve(listener, http.HandlerFunc(serve))
}
