// Command lncpeer is the other side of Lightning Node Connect, for tests: a mailbox, and the server of one session that passes every RPC on
// to a real lnd. They are two processes, so that either can be killed alone.
//
//	lncpeer certificate FOLDER
//	lncpeer mailbox ADDRESS CERTIFICATE KEY
//	lncpeer session MAILBOX CERTIFICATE STATE LND LND_CERTIFICATE MACAROON
package main

import (
	"fmt"
	"log"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("lncpeer certificate | mailbox | session")
	}
	verb, rest := os.Args[1], os.Args[2:]
	var err error
	switch {
	case verb == "certificate" && len(rest) == 1:
		err = writeCertificate(rest[0])
	case verb == "mailbox" && len(rest) == 3:
		err = serveMailbox(rest[0], rest[1], rest[2])
	case verb == "session" && len(rest) == 6:
		err = serveSession(rest[0], rest[1], rest[2], rest[3], rest[4], rest[5])
	default:
		err = fmt.Errorf("%s with %d arguments is nothing", verb, len(rest))
	}
	if err != nil {
		log.Fatal(err)
	}
}
