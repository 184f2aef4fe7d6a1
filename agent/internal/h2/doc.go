// Package h2 is a small HTTP/2 server for connections that need no TLS, as RFC 9113 describes it.
//
// The server of net/http links TLS, certificates, proxies and HTTP/1, which were half of the agent's program. This package has
// the part of HTTP/2 that the agent's clients use: requests with or without a body, answers with or without a length, flow
// control in both directions, resets and pings. It has no server push and no priorities, and it drops trailers. It does not
// check header fields that it does not read.
//
// Each breach of the protocol ends the connection, also where the RFC asks only for the end of a stream. A connection ends
// without a GOAWAY, and without waiting for its requests: the agent's clients connect again and repeat them.
//
// The agent's clients use the client of net/http, and so do the tests.
package h2
