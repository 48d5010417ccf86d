//go:build js && wasm

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/lightninglabs/lightning-node-connect/mailbox"
	"github.com/lightningnetwork/lnd/aezeed"
	"github.com/lightningnetwork/lnd/keychain"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
)

// The largest message that is taken: a page of five hundred invoices with their routes stays below it.
const maxMessageBytes = 32 << 20

// link is the one connection of this program: mailbox below, Noise above, gRPC on top. gRPC makes it anew by itself when the session's
// server or the mailbox was away.
type link struct {
	tell callbacks

	mu     sync.Mutex
	conn   *grpc.ClientConn
	client *mailbox.Client
	stop   context.CancelFunc
	auth   []byte
}

func (l *link) connect(server, phrase, localKey, remoteKey string) error {
	l.mu.Lock()
	begun := l.conn != nil
	l.mu.Unlock()
	if begun {
		return errors.New("there is a connection already")
	}
	entropy, err := entropyOf(phrase)
	if err != nil {
		return err
	}
	local, err := l.localKey(localKey)
	if err != nil {
		return err
	}
	remote, err := parseRemoteKey(remoteKey)
	if err != nil {
		return err
	}
	data := mailbox.NewConnData(&keychain.PrivKeyECDH{PrivKey: local}, remote, entropy, nil,
		func(key *btcec.PublicKey) error {
			return notify(l.tell.remoteKey, hex.EncodeToString(key.SerializeCompressed()))
		}, l.takeAuth)
	ctx, stop := context.WithCancel(context.Background())
	client, err := mailbox.NewWebsocketsClient(ctx, server, data)
	if err != nil {
		stop()
		return err
	}
	noise := mailbox.NewNoiseGrpcConn(data)
	// The mailbox is dialled by its own client; a resolver of names must not touch the address.
	conn, err := grpc.NewClient("passthrough:///"+server,
		grpc.WithContextDialer(client.Dial), grpc.WithTransportCredentials(noise), grpc.WithPerRPCCredentials(noise),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)), grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			MinConnectTimeout: 20 * time.Second,
			Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.3, Jitter: 0.2, MaxDelay: 5 * time.Second},
		}))
	if err != nil {
		stop()
		return err
	}
	l.mu.Lock()
	l.conn, l.client, l.stop = conn, client, stop
	l.mu.Unlock()
	conn.Connect()
	return nil
}

func (l *link) localKey(text string) (*btcec.PrivateKey, error) {
	if text != "" {
		bytes, err := hex.DecodeString(text)
		if err != nil || len(bytes) != 32 {
			return nil, errors.New("the local key is not 32 bytes in hex")
		}
		key, _ := btcec.PrivKeyFromBytes(bytes)
		return key, nil
	}
	key, err := btcec.NewPrivateKey()
	if err != nil {
		return nil, err
	}
	return key, notify(l.tell.localKey, hex.EncodeToString(key.Serialize()))
}

func parseRemoteKey(text string) (*btcec.PublicKey, error) {
	if text == "" {
		return nil, nil
	}
	bytes, err := hex.DecodeString(text)
	if err != nil {
		return nil, errors.New("the remote key is not in hex")
	}
	return btcec.ParsePubKey(bytes)
}

// entropyOf refuses what mailbox would silently take: a word it does not know counts as the first of the list there. Words are a secret
// and never named.
func entropyOf(phrase string) ([]byte, error) {
	var words [mailbox.NumPassphraseWords]string
	given := strings.Fields(phrase)
	if len(given) != len(words) {
		return nil, fmt.Errorf("the pairing phrase has %d words, not %d", len(given), len(words))
	}
	for i, word := range given {
		words[i] = strings.ToLower(word)
		if _, known := aezeed.ReverseWordMap[words[i]]; !known {
			return nil, fmt.Errorf("word %d of the pairing phrase is none of the list", i+1)
		}
	}
	entropy := mailbox.PassphraseMnemonicToEntropy(words)
	return entropy[:], nil
}

// takeAuth keeps the session's macaroon, which the handshake brings each time. It is not told outside: only its rights are.
func (l *link) takeAuth(data []byte) error {
	text, ok := strings.CutPrefix(string(data), "Macaroon: ")
	macaroon, err := hex.DecodeString(strings.TrimSpace(text))
	if !ok || err != nil {
		return errors.New("the session carries no macaroon")
	}
	l.mu.Lock()
	l.auth = macaroon
	l.mu.Unlock()
	return notify(l.tell.authData, "received")
}

func (l *link) current() *grpc.ClientConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn
}

func (l *link) macaroon() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.auth
}

func (l *link) connected() bool {
	conn := l.current()
	return conn != nil && conn.GetState() == connectivity.Ready
}

// describe is the mailbox's own word: why there is no connection.
func (l *link) describe() any {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == nil {
		return "not begun"
	}
	return l.client.ConnStatus().String()
}

func (l *link) disconnect() {
	l.mu.Lock()
	conn, stop := l.conn, l.stop
	l.conn, l.client, l.stop = nil, nil, nil
	l.mu.Unlock()
	if conn == nil {
		return
	}
	// Closing says goodbye to the other end, which waits for the network: never within a call from JavaScript.
	go func() {
		conn.Close()
		stop()
	}()
}
