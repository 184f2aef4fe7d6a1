package main

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// perlServer is a development server for an image with perl: a page, an event, and a websocket that echoes short texts.
const perlServer = `
use strict; use IO::Socket::INET; use Digest::SHA 'sha1_base64';
$SIG{CHLD} = 'IGNORE';
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 3000, Listen => 16, ReuseAddr => 1) or die;
while (my $c = $l->accept) {
	next if fork;
	my ($path, $key) = ('', '');
	while (my $line = <$c>) {
		$path = $1 if $line =~ m{^GET (\S+)};
		$key = $1 if $line =~ m{^Sec-WebSocket-Key: (\S+)}i;
		last if $line =~ /^\r?$/;
	}
	$c->autoflush(1);
	if ($path eq '/socket') {
		my $accept = sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
		print $c "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: $accept\r\n\r\n";
		while (read($c, my $head, 6) == 6) {
			my $n = ord(substr($head, 1, 1)) & 127;
			last if (ord($head) & 15) != 1 || read($c, my $text, $n) != $n;
			my $mask = substr($head, 2, 4);
			$text = 'echo ' . ($text ^ substr($mask x 32, 0, $n));
			print $c "\x81" . chr(length $text) . $text;
		}
	} elsif ($path eq '/reload') {
		print $c "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: changed\n\n";
		sleep 1000;
	} else {
		print $c "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nin a session";
	}
	exit;
}`

// TestPreviewOnTheEngine: a server in a real container.
func TestPreviewOnTheEngine(t *testing.T) {
	l := local.New(t, berth.Config{Image: testenv.ImageWith(t, "perl")})
	s := l.Create("preview", l.Git.Create("acme/shop", gittest.Small()).URL(), "")
	p := &proxy{sessions: l.Provider}
	v := newVisitor(t, serve(t, p))
	link := p.Link(s, 3000, time.Hour)
	v.wants(link, 502, "nothing listens")
	cmd := s.Command(t.Context(), "perl", "-e", perlServer)
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
