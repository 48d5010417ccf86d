// Command gen writes ../lnd.binpb: the descriptors of LND's API, cut down to the RPCs that Hearth asks and to the messages these are made
// of. Run it when LND's version or the list below changes: `go run . ../lnd.binpb` in this folder.
package main

import (
	"log"
	"os"
	"slices"

	"github.com/lightningnetwork/lnd/lnrpc"
	"github.com/lightningnetwork/lnd/lnrpc/routerrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// LndCall and LndStream of src/lightning/lnd-rpc.ts.
var rpcs = []protoreflect.FullName{
	"lnrpc.State.GetState",
	"lnrpc.Lightning.GetInfo", "lnrpc.Lightning.AddInvoice", "lnrpc.Lightning.LookupInvoice", "lnrpc.Lightning.ListInvoices",
	"lnrpc.Lightning.DeleteCanceledInvoice", "lnrpc.Lightning.ChannelBalance", "lnrpc.Lightning.ListPayments", "lnrpc.Lightning.SubscribeInvoices",
	"lnrpc.Lightning.ListChannels", "lnrpc.Lightning.GetChanInfo",
	"routerrpc.Router.SendPaymentV2", "routerrpc.Router.TrackPaymentV2",
}

// In the order in which they import each other.
var files = []protoreflect.FileDescriptor{lnrpc.File_lightning_proto, lnrpc.File_stateservice_proto, routerrpc.File_routerrpc_router_proto}

// needed holds the full names of messages and enums that must stay; nested ones stay with what they are nested in.
type needed map[protoreflect.FullName]bool

func (n needed) add(message protoreflect.MessageDescriptor) {
	outer := protoreflect.Descriptor(message)
	for {
		parent, nested := outer.Parent().(protoreflect.MessageDescriptor)
		if !nested {
			break
		}
		outer = parent
	}
	if whole, ok := outer.(protoreflect.MessageDescriptor); ok && !n[whole.FullName()] {
		n[whole.FullName()] = true
		n.addParts(whole)
	}
}

func (n needed) addParts(message protoreflect.MessageDescriptor) {
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		if field.Message() != nil {
			n.add(field.Message())
		}
		if enum := field.Enum(); enum != nil {
			if holder, nested := enum.Parent().(protoreflect.MessageDescriptor); nested {
				n.add(holder)
			} else {
				n[enum.FullName()] = true
			}
		}
	}
	for i := range message.Messages().Len() {
		n.addParts(message.Messages().Get(i))
	}
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("gen OUTFILE")
	}
	keep := needed{}
	found := 0
	for _, file := range files {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				if rpc := service.Methods().Get(j); slices.Contains(rpcs, rpc.FullName()) {
					found++
					keep.add(rpc.Input())
					keep.add(rpc.Output())
				}
			}
		}
	}
	if found != len(rpcs) {
		log.Fatalf("%d of %d RPCs were found; another LND calls them otherwise", found, len(rpcs))
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, file := range files {
		set.File = append(set.File, pruned(file, keep))
	}
	if _, err := protodesc.NewFiles(set); err != nil {
		log.Fatalf("what is left does not hold together: %v", err)
	}
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(os.Args[1], bytes, 0o644); err != nil {
		log.Fatal(err)
	}
}

func pruned(file protoreflect.FileDescriptor, keep needed) *descriptorpb.FileDescriptorProto {
	whole := protodesc.ToFileDescriptorProto(file)
	name := func(local string) protoreflect.FullName { return file.Package().Append(protoreflect.Name(local)) }
	whole.SourceCodeInfo, whole.Options = nil, nil
	whole.MessageType = slices.DeleteFunc(whole.MessageType, func(one *descriptorpb.DescriptorProto) bool { return !keep[name(one.GetName())] })
	whole.EnumType = slices.DeleteFunc(whole.EnumType, func(one *descriptorpb.EnumDescriptorProto) bool { return !keep[name(one.GetName())] })
	for _, service := range whole.Service {
		service.Method = slices.DeleteFunc(service.Method, func(one *descriptorpb.MethodDescriptorProto) bool {
			return !slices.Contains(rpcs, name(service.GetName()).Append(protoreflect.Name(one.GetName())))
		})
	}
	whole.Service = slices.DeleteFunc(whole.Service, func(one *descriptorpb.ServiceDescriptorProto) bool { return len(one.Method) == 0 })
	return whole
}
