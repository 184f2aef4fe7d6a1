package main

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// pythonServer is a development server: a page, an event, and a websocket that echoes short texts.
const pythonServer = `
import base64, hashlib, http.server, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/socket":
            return self.echo()
        self.send_response(200)
        if self.path == "/reload":
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"data: changed\n\n")
            time.sleep(1000)
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b"in a session")

    def echo(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        while True:
            head = self.rfile.read(6)
            if len(head) < 6 or head[0] & 15 != 1:
                break
            text = bytes(b ^ head[2 + i % 4] for i, b in enumerate(self.rfile.read(head[1] & 127)))
            self.wfile.write(bytes([0x81, 5 + len(text)]) + b"echo " + text)
        self.close_connection = True

http.server.ThreadingHTTPServer(("127.0.0.1", 3000), Handler).serve_forever()
`

// TestPreviewOnTheEngine: a server in a real container.
func TestPreviewOnTheEngine(t *testing.T) {
	l := local.New(t, berth.Config{Image: testenv.ImageWith(t, "python3-pip")})
	s := l.Create("preview", l.Git.Create("acme/shop", gittest.Small()).URL(), "")
	p := &proxy{sessions: l.Provider}
	v := newVisitor(t, serve(t, p))
	link := p.Link(s, 3000, time.Hour)
	v.wants(link, 502, "nothing listens")
	cmd := s.Command(t.Context(), "python3", "-c", pythonServer)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens(t, s)
	v.wants(link, 200, "in a session")
	v.streams("http://" + place{s.ID(), 3000}.String() + "." + p.domain)
	if err := cmd.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	v.wants(link, 502, "nothing listens")
}
