//go:build js && wasm

// Command lnc is the part of Lightning Node Connect that runs as WebAssembly below @lightninglabs/lnc-web: it reaches an LND through a
// mailbox and asks it what a seller asks, nothing else. It registers the functions that lnc-web's WasmManager calls.
//
// Nothing that is asked or answered is ever logged: requests carry invoices, and later preimages.
package main

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall/js"

	"google.golang.org/grpc/grpclog"
)

// callbacks names what lnc-web wants to be told, as `namespace.function`.
type callbacks struct {
	localKey, remoteKey, authData string
}

func main() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	namespace, tell := flags(os.Args[1:])
	rpcs, err := readDescriptors()
	if err != nil {
		panic(err)
	}
	link := &link{tell: tell}
	calls := newCalls(rpcs)

	ns := js.Global().Get(namespace)
	if ns.Type() != js.TypeObject {
		ns = js.Global().Get("Object").New()
		js.Global().Set(namespace, ns)
	}
	register := func(name string, work func(arguments []js.Value) any) {
		ns.Set("wasmClient"+name, js.FuncOf(func(_ js.Value, arguments []js.Value) any { return work(arguments) }))
	}
	register("IsReady", func([]js.Value) any { return true })
	// lnc-web throws away what it answers, so what it was refused for can be asked for.
	problem := ""
	register("ConnectServer", func(a []js.Value) any {
		problem = ""
		if err := link.connect(parameters(a)); err != nil {
			problem = err.Error()
			return problem
		}
		return nil
	})
	register("Problem", func([]js.Value) any { return problem })
	register("IsConnected", func([]js.Value) any { return link.connected() })
	register("Disconnect", func([]js.Value) any { calls.cancelAll(); link.disconnect(); return nil })
	register("Status", func([]js.Value) any { return link.describe() })
	register("InvokeRPC", func(a []js.Value) any { return calls.start(link.current(), a) })
	register("GetExpiry", func([]js.Value) any { return expiryOf(link.macaroon()) })
	register("IsReadOnly", func([]js.Value) any { return isReadOnly(link.macaroon()) })
	register("HasPerms", func(a []js.Value) any { return len(a) == 1 && rpcs.allows(link.macaroon(), a[0].String()) })
	// It throws away the number of a call too, and knows no list of rights.
	register("LastCall", func([]js.Value) any { return calls.last() })
	register("CancelRPC", func(a []js.Value) any { return len(a) == 1 && calls.cancel(a[0].Int()) })
	register("OpenCalls", func([]js.Value) any { return calls.open() })
	register("Rights", func([]js.Value) any { return strings.Join(rightsOf(link.macaroon()), "\n") })
	select {}
}

// flags reads what lnc-web starts the program with; levels of logging are not among what counts here.
func flags(arguments []string) (namespace string, tell callbacks) {
	for _, argument := range arguments {
		name, value, _ := strings.Cut(argument, "=")
		switch name {
		case "--namespace":
			namespace = value
		case "--onlocalprivcreate":
			tell.localKey = value
		case "--onremotekeyreceive":
			tell.remoteKey = value
		case "--onauthdata":
			tell.authData = value
		}
	}
	return namespace, tell
}

// notify calls a function of lnc-web's. One that throws or answers {err} makes the handshake fail.
func notify(place, value string) error {
	if place == "" {
		return nil
	}
	holder := js.Global()
	if namespace, name, nested := strings.Cut(place, "."); nested {
		holder, place = holder.Get(namespace), name
	}
	answer := holder.Call(place, value)
	if answer.Type() == js.TypeObject && answer.Get("err").Truthy() {
		return errors.New(answer.Get("err").String())
	}
	return nil
}

// parameters reads server, isDevServer, pairing phrase, local key and remote key; what is missing is empty.
func parameters(values []js.Value) (server, phrase, localKey, remoteKey string) {
	at := func(i int) string {
		if i < len(values) && values[i].Type() == js.TypeString {
			return values[i].String()
		}
		return ""
	}
	return at(0), at(2), at(3), at(4)
}
