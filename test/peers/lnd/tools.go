//go:build tools

// Package lnd pins what is built here; nothing of it is ours.
package lnd

import (
	_ "github.com/lightningnetwork/lnd/cmd/lncli"
	_ "github.com/lightningnetwork/lnd/cmd/lnd"
)
