//go:build js && wasm

package main

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall/js"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// As LND's own REST gateway writes JSON.
var asJSON = protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}

// calls are the RPCs under way. Each has a number, by which it can be cancelled, and one goroutine, which ends with it. Deadlines are
// the caller's: it cancels.
type calls struct {
	rpcs *rpcs

	mu      sync.Mutex
	count   int
	cancels map[int]context.CancelFunc
}

func newCalls(rpcs *rpcs) *calls {
	return &calls{rpcs: rpcs, cancels: map[int]context.CancelFunc{}}
}

// start takes the full name of an RPC, its request as JSON, and a function for each message, and for what it ends with where that is no
// message: an error, and "EOF" after the last of a stream.
func (c *calls) start(conn *grpc.ClientConn, a []js.Value) any {
	if len(a) != 3 || a[0].Type() != js.TypeString || a[1].Type() != js.TypeString || a[2].Type() != js.TypeFunction {
		return "an RPC is its name, a request and a function"
	}
	name, request, tell := a[0].String(), a[1].String(), a[2]
	ctx, cancel := context.WithCancel(context.Background())
	c.mu.Lock()
	c.count++
	number := c.count
	c.cancels[number] = cancel
	c.mu.Unlock()
	go func() {
		err := c.run(ctx, conn, name, request, func(answer string) { tell.Invoke(answer) })
		c.forget(number)
		if err != nil {
			tell.Invoke(err.Error())
		}
	}()
	return number
}

func (c *calls) run(ctx context.Context, conn *grpc.ClientConn, name, body string, tell func(string)) error {
	rpc := c.rpcs.find(name)
	if rpc == nil {
		return errors.New("rpc error: code = Unimplemented desc = this client knows no " + name)
	}
	if conn == nil {
		return errors.New("rpc error: code = Unavailable desc = there is no connection")
	}
	request := dynamicpb.NewMessage(rpc.Input())
	// What it fails by quotes the request, so it is not passed on.
	if err := (protojson.UnmarshalOptions{Resolver: c.rpcs.types}).Unmarshal([]byte(body), request); err != nil {
		return errors.New("rpc error: code = InvalidArgument desc = the request has no such form")
	}
	write := func(answer proto.Message) error {
		text, err := asJSON.Marshal(answer)
		if err == nil {
			tell(string(text))
		}
		return err
	}
	path := "/" + string(rpc.Parent().FullName()) + "/" + string(rpc.Name())
	if rpc.IsStreamingServer() {
		return stream(ctx, conn, path, rpc, request, write)
	}
	answer := dynamicpb.NewMessage(rpc.Output())
	if err := conn.Invoke(ctx, path, request, answer); err != nil {
		return err
	}
	return write(answer)
}

func stream(ctx context.Context, conn *grpc.ClientConn, path string, rpc protoreflect.MethodDescriptor, request proto.Message, write func(proto.Message) error) error {
	messages, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, path)
	if err != nil {
		return err
	}
	// A stream that has ended already says why when it is read.
	if err := messages.SendMsg(request); err != nil && err != io.EOF {
		return err
	}
	if err := messages.CloseSend(); err != nil {
		return err
	}
	for {
		message := dynamicpb.NewMessage(rpc.Output())
		if err := messages.RecvMsg(message); err != nil {
			return err
		}
		if err := write(message); err != nil {
			return err
		}
	}
}

func (c *calls) forget(number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel, open := c.cancels[number]; open {
		cancel()
		delete(c.cancels, number)
	}
}

func (c *calls) cancel(number int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	cancel, open := c.cancels[number]
	if open {
		cancel()
	}
	return open
}

func (c *calls) cancelAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cancel := range c.cancels {
		cancel()
	}
}

func (c *calls) last() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

func (c *calls) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.cancels)
}
