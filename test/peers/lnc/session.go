package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightninglabs/lightning-node-connect/mailbox"
	"github.com/lightningnetwork/lnd/keychain"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// state outlives the server of a session, as it does in litd: the client is known by its key from the first pairing on.
type state struct {
	Phrase string `json:"phrase"`
	Key    string `json:"key"`
	Client string `json:"client"`
}

func readState(path string) (*state, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return newState(path)
	}
	if err != nil {
		return nil, err
	}
	known := &state{}
	return known, json.Unmarshal(text, known)
}

func newState(path string) (*state, error) {
	words, _, err := mailbox.NewPassphraseEntropy()
	if err != nil {
		return nil, err
	}
	key, err := btcec.NewPrivateKey()
	if err != nil {
		return nil, err
	}
	fresh := &state{Phrase: strings.Join(words[:], " "), Key: hex.EncodeToString(key.Serialize())}
	return fresh, fresh.write(path)
}

func (s *state) write(path string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func (s *state) connection(path string, macaroon []byte) (*mailbox.ConnData, error) {
	key, err := hex.DecodeString(s.Key)
	if err != nil {
		return nil, err
	}
	own, _ := btcec.PrivKeyFromBytes(key)
	var client *btcec.PublicKey
	if s.Client != "" {
		bytes, err := hex.DecodeString(s.Client)
		if err != nil {
			return nil, err
		}
		if client, err = btcec.ParsePubKey(bytes); err != nil {
			return nil, err
		}
	}
	var words [mailbox.NumPassphraseWords]string
	copy(words[:], strings.Fields(s.Phrase))
	entropy := mailbox.PassphraseMnemonicToEntropy(words)
	remember := func(key *btcec.PublicKey) error {
		s.Client = hex.EncodeToString(key.SerializeCompressed())
		return s.write(path)
	}
	return mailbox.NewConnData(&keychain.PrivKeyECDH{PrivKey: own}, client, entropy[:], []byte("Macaroon: "+hex.EncodeToString(macaroon)), remember, nil), nil
}

// unread passes messages on as the bytes they are; those of the mailbox's own service are protobuf as always.
type unread struct{}

func (unread) Name() string { return "proto" }

func (unread) Marshal(value any) ([]byte, error) {
	if bytes, ok := value.(*[]byte); ok {
		return *bytes, nil
	}
	return proto.Marshal(value.(proto.Message))
}

func (unread) Unmarshal(bytes []byte, value any) error {
	if into, ok := value.(*[]byte); ok {
		*into = append([]byte(nil), bytes...)
		return nil
	}
	return proto.Unmarshal(bytes, value.(proto.Message))
}

// passOn hands a call to lnd with the macaroon it came with: what the session may do, lnd itself decides.
func passOn(lnd *grpc.ClientConn) grpc.StreamHandler {
	return func(_ any, caller grpc.ServerStream) error {
		name, _ := grpc.MethodFromServerStream(caller)
		incoming, _ := metadata.FromIncomingContext(caller.Context())
		outgoing := metadata.MD{"macaroon": incoming.Get("macaroon")}
		ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(caller.Context(), outgoing))
		defer cancel()
		callee, err := lnd.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, name)
		if err != nil {
			return err
		}
		go func() {
			for {
				var message []byte
				if caller.RecvMsg(&message) != nil {
					callee.CloseSend()
					return
				}
				if callee.SendMsg(&message) != nil {
					return
				}
			}
		}()
		for {
			var message []byte
			err := callee.RecvMsg(&message)
			if err == io.EOF {
				return nil
			}
			if err == nil {
				err = caller.SendMsg(&message)
			}
			if err != nil {
				return err
			}
		}
	}
}

func serveSession(mailboxAddress, mailboxCertificate, statePath, lndAddress, lndCertificate, macaroonPath string) error {
	encoding.RegisterCodec(unread{})
	known, err := readState(statePath)
	if err != nil {
		return err
	}
	macaroon, err := os.ReadFile(macaroonPath)
	if err != nil {
		return err
	}
	data, err := known.connection(statePath, macaroon)
	if err != nil {
		return err
	}
	toLnd, err := credentials.NewClientTLSFromFile(lndCertificate, "")
	if err != nil {
		return err
	}
	lnd, err := grpc.NewClient(lndAddress, grpc.WithTransportCredentials(toLnd))
	if err != nil {
		return err
	}
	toMailbox, err := credentials.NewClientTLSFromFile(mailboxCertificate, "")
	if err != nil {
		return err
	}
	server, err := mailbox.NewServer(mailboxAddress, data, func(mailbox.ServerStatus) {}, grpc.WithTransportCredentials(toMailbox))
	if err != nil {
		return err
	}
	fmt.Println(known.Phrase)
	return grpc.NewServer(grpc.Creds(mailbox.NewNoiseGrpcConn(data)), grpc.UnknownServiceHandler(passOn(lnd))).Serve(server)
}
