package main

import (
	_ "embed"
	"errors"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Written by gen/; LND's own packages would link the whole router.
//
//go:embed lnd.binpb
var descriptors []byte

// rpcs are those a seller needs, known by their descriptors alone.
type rpcs struct {
	files *protoregistry.Files
	types *dynamicpb.Types
}

func readDescriptors() (*rpcs, error) {
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(descriptors, set); err != nil {
		return nil, errors.New("the descriptors cannot be read")
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	return &rpcs{files: files, types: dynamicpb.NewTypes(files)}, nil
}

// find takes a full name such as lnrpc.Lightning.GetInfo. Nil where there is none.
func (r *rpcs) find(name string) protoreflect.MethodDescriptor {
	found, err := r.files.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	rpc, _ := found.(protoreflect.MethodDescriptor)
	return rpc
}
