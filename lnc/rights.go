package main

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// What a session's macaroon allows, read from itself: version 2 of the binary format, whose identifier is the bakery's version 3 (a byte,
// then a message of operations: field 3 with an entity, 1, and actions, 2; lnrpc/lightning.proto, MacaroonId).

// What LND's permissions want for each RPC.
var wanted = map[string]string{
	"lnrpc.Lightning.GetInfo": "info:read", "lnrpc.Lightning.AddInvoice": "invoices:write", "lnrpc.Lightning.LookupInvoice": "invoices:read",
	"lnrpc.Lightning.ListInvoices": "invoices:read", "lnrpc.Lightning.SubscribeInvoices": "invoices:read",
	"lnrpc.Lightning.DeleteCanceledInvoice": "invoices:write", "lnrpc.Lightning.ChannelBalance": "offchain:read",
	"lnrpc.Lightning.ListChannels": "offchain:read", "lnrpc.Lightning.GetChanInfo": "info:read", "lnrpc.Lightning.ListPayments": "offchain:read", "routerrpc.Router.SendPaymentV2": "offchain:write",
	"routerrpc.Router.TrackPaymentV2": "offchain:read",
}

func (r *rpcs) allows(macaroon []byte, name string) bool {
	rpc := r.find(name)
	if rpc == nil {
		return false
	}
	right, known := wanted[name]
	uri := "uri:/" + string(rpc.Parent().FullName()) + "/" + string(rpc.Name())
	held := rightsOf(macaroon)
	return slices.Contains(held, uri) || (known && slices.Contains(held, right))
}

func isReadOnly(macaroon []byte) bool {
	held := rightsOf(macaroon)
	return len(held) > 0 && !slices.ContainsFunc(held, func(right string) bool { return !strings.HasSuffix(right, ":read") })
}

// expiryOf answers seconds since 1970; nil where the session has no end.
func expiryOf(macaroon []byte) any {
	_, caveats := fields(macaroon)
	for _, caveat := range caveats {
		if text, ok := strings.CutPrefix(caveat, "time-before "); ok {
			if end, err := time.Parse(time.RFC3339Nano, text); err == nil {
				return end.Unix()
			}
		}
	}
	return nil
}

// rightsOf answers each as entity:action, for custom sessions uri:/package.Service/Name.
func rightsOf(macaroon []byte) []string {
	identifier, _ := fields(macaroon)
	if len(identifier) < 2 || identifier[0] != 3 {
		return nil
	}
	var rights []string
	each(identifier[1:], func(number uint64, operation []byte) {
		if number != 3 {
			return
		}
		var entity string
		var actions []string
		each(operation, func(number uint64, text []byte) {
			switch number {
			case 1:
				entity = string(text)
			case 2:
				actions = append(actions, string(text))
			}
		})
		for _, action := range actions {
			rights = append(rights, entity+":"+action)
		}
	})
	return rights
}

// fields reads the sections of a macaroon: the first identifier is its own, those after it are caveats.
func fields(macaroon []byte) (identifier []byte, caveats []string) {
	if len(macaroon) == 0 || macaroon[0] != 2 {
		return nil, nil
	}
	rest := macaroon[1:]
	for len(rest) > 0 {
		kind, after, ok := varint(rest)
		if !ok {
			return identifier, caveats
		}
		rest = after
		if kind == 0 {
			continue // the end of a section
		}
		value, after, ok := taken(rest)
		if !ok {
			return identifier, caveats
		}
		rest = after
		if kind != 2 {
			continue
		}
		if identifier == nil {
			identifier = value
		} else {
			caveats = append(caveats, string(value))
		}
	}
	return identifier, caveats
}

// each walks the length-delimited fields of a protobuf message, up to the first that is none.
func each(message []byte, visit func(number uint64, value []byte)) {
	for len(message) > 0 {
		tag, rest, ok := varint(message)
		if !ok || tag&7 != 2 {
			return
		}
		value, rest, ok := taken(rest)
		if !ok {
			return
		}
		visit(tag>>3, value)
		message = rest
	}
}

func varint(bytes []byte) (value uint64, rest []byte, ok bool) {
	value, length := binary.Uvarint(bytes)
	if length <= 0 {
		return 0, nil, false
	}
	return value, bytes[length:], true
}

func taken(bytes []byte) (value, rest []byte, ok bool) {
	length, rest, ok := varint(bytes)
	if !ok || length > uint64(len(rest)) {
		return nil, nil, false
	}
	return rest[:length], rest[length:], true
}
