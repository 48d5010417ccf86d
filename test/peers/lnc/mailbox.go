package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/coder/websocket"
	"github.com/lightninglabs/lightning-node-connect/hashmailrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Clients know these by their words.
var (
	errNoStream      = status.Error(codes.Unknown, "stream not found")
	errReadOccupied  = status.Error(codes.Unknown, "read stream occupied")
	errWriteOccupied = status.Error(codes.Unknown, "write stream occupied")
)

const waitingMessages = 1024

// stream is one direction between two who know its id: whoever writes, and one who reads.
type stream struct {
	messages chan []byte
	reader   sync.Mutex
	writer   sync.Mutex
}

// hashmail keeps everything in memory, as aperture does: what a mailbox forgets when it ends is made anew by its clients.
type hashmail struct {
	hashmailrpc.UnimplementedHashMailServer

	mu      sync.Mutex
	streams map[string]*stream
}

func (h *hashmail) NewCipherBox(_ context.Context, request *hashmailrpc.CipherBoxAuth) (*hashmailrpc.CipherInitResp, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := string(request.GetDesc().GetStreamId())
	if _, there := h.streams[id]; there {
		return nil, status.Error(codes.AlreadyExists, "stream already active")
	}
	h.streams[id] = &stream{messages: make(chan []byte, waitingMessages)}
	made := &hashmailrpc.CipherSuccess{Desc: request.Desc}
	return &hashmailrpc.CipherInitResp{Resp: &hashmailrpc.CipherInitResp_Success{Success: made}}, nil
}

func (h *hashmail) DelCipherBox(_ context.Context, request *hashmailrpc.CipherBoxAuth) (*hashmailrpc.DelCipherBoxResp, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.streams, string(request.GetDesc().GetStreamId()))
	return &hashmailrpc.DelCipherBoxResp{}, nil
}

func (h *hashmail) SendStream(call hashmailrpc.HashMail_SendStreamServer) error {
	return h.write(call.Context(), call.Recv)
}

func (h *hashmail) RecvStream(which *hashmailrpc.CipherBoxDesc, call hashmailrpc.HashMail_RecvStreamServer) error {
	return h.read(call.Context(), which, call.Send)
}

func (h *hashmail) find(id []byte) *stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[string(id)]
}

// write passes on what comes until there is no more; the first message says to which stream.
func (h *hashmail) write(ctx context.Context, next func() (*hashmailrpc.CipherBox, error)) error {
	var to *stream
	for {
		message, err := next()
		if err != nil {
			return err
		}
		if to == nil {
			found := h.find(message.GetDesc().GetStreamId())
			if found == nil {
				return errNoStream
			}
			if !found.writer.TryLock() {
				return errWriteOccupied
			}
			defer found.writer.Unlock()
			to = found
		}
		select {
		case to.messages <- message.GetMsg():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (h *hashmail) read(ctx context.Context, which *hashmailrpc.CipherBoxDesc, give func(*hashmailrpc.CipherBox) error) error {
	from := h.find(which.GetStreamId())
	if from == nil {
		return errNoStream
	}
	if !from.reader.TryLock() {
		return errReadOccupied
	}
	defer from.reader.Unlock()
	for {
		select {
		case bytes := <-from.messages:
			if err := give(&hashmailrpc.CipherBox{Desc: which, Msg: bytes}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// box is CipherBox as the gateway in front of a mailbox writes it; bytes are base64 in either.
type box struct {
	Desc struct {
		StreamID []byte `json:"stream_id"`
	} `json:"desc"`
	Msg []byte `json:"msg"`
}

// overWebSocket does for browsers what the gateway's proxy does: JSON both ways, an answer in "result", what went wrong in "error".
func (h *hashmail) overWebSocket(answer http.ResponseWriter, request *http.Request) {
	socket, err := websocket.Accept(answer, request, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer socket.CloseNow()
	socket.SetReadLimit(1 << 20)
	if strings.HasSuffix(request.URL.Path, "/send") {
		err = h.write(request.Context(), func() (*hashmailrpc.CipherBox, error) {
			var message box
			_, text, err := socket.Read(request.Context())
			if err == nil {
				err = json.Unmarshal(text, &message)
			}
			return &hashmailrpc.CipherBox{Desc: &hashmailrpc.CipherBoxDesc{StreamId: message.Desc.StreamID}, Msg: message.Msg}, err
		})
	} else {
		err = h.readOverWebSocket(request.Context(), socket)
	}
	if err != nil {
		tell(request.Context(), socket, map[string]any{"error": map[string]any{"code": 2, "message": status.Convert(err).Message()}})
	}
}

func (h *hashmail) readOverWebSocket(ctx context.Context, socket *websocket.Conn) error {
	var which struct {
		StreamID []byte `json:"stream_id"`
	}
	_, text, err := socket.Read(ctx)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &which); err != nil {
		return err
	}
	open := socket.CloseRead(ctx)
	return h.read(open, &hashmailrpc.CipherBoxDesc{StreamId: which.StreamID}, func(message *hashmailrpc.CipherBox) error {
		var result box
		result.Desc.StreamID, result.Msg = message.GetDesc().GetStreamId(), message.GetMsg()
		return tell(open, socket, map[string]any{"result": result})
	})
}

func tell(ctx context.Context, socket *websocket.Conn, what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return socket.Write(ctx, websocket.MessageText, text)
}

// serveMailbox carries gRPC, for the session's server, and WebSockets, for Hearth, on one port.
func serveMailbox(address, certificate, key string) error {
	mail := &hashmail{streams: map[string]*stream{}}
	rpc := grpc.NewServer()
	hashmailrpc.RegisterHashMailServer(rpc, mail)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return http.ServeTLS(listener, http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		switch {
		case strings.HasPrefix(request.Header.Get("Content-Type"), "application/grpc"):
			rpc.ServeHTTP(answer, request)
		case strings.HasPrefix(request.URL.Path, "/v1/lightning-node-connect/hashmail/"):
			mail.overWebSocket(answer, request)
		default:
			http.NotFound(answer, request)
		}
	}), certificate, key)
}
