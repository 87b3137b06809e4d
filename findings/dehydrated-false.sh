#!/bin/sh
# mautrix-go 0.32.0 (maunium.net/go/mautrix from the Go module proxy) checks a device's signature over
# the keys as it writes them anew, and writes "dehydrated" only if it is true. So a device whose signed
# keys say "dehydrated": false, as the type of that field allows, fails its check, while the same bytes
# as they came pass it. Fields that it does not know are kept and do no harm.
# Hence our device keys never hold "dehydrated" but as true.
# Fails if any of that has changed.
set -eu
folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
cd "$folder"
cat > main.go << 'END'
package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto/canonicaljson"
	"maunium.net/go/mautrix/crypto/signatures"
	"maunium.net/go/mautrix/id"
)

func main() {
	public, private, _ := ed25519.GenerateKey(nil)
	key := base64.RawStdEncoding.EncodeToString(public)
	for _, extra := range []string{``, `,"dehydrated":true`, `,"dehydrated":false`, `,"org.example.note":"text"`, `,"org.example.note":{"b":1,"a":[1,2]}`} {
		text := `{"algorithms":["m.olm.v1.curve25519-aes-sha2","m.megolm.v1.aes-sha2"],"device_id":"DEVICE",` +
			`"keys":{"curve25519:DEVICE":"` + key + `","ed25519:DEVICE":"` + key + `"},"user_id":"@user:example.org"` + extra + `}`
		canonical := json.RawMessage(text)
		if err := canonicaljson.Canonicalize(&canonical); err != nil {
			panic(err)
		}
		signature := base64.RawStdEncoding.EncodeToString(ed25519.Sign(private, canonical))
		signed := text[:len(text)-1] + `,"signatures":{"@user:example.org":{"ed25519:DEVICE":"` + signature + `"}}}`
		var device mautrix.DeviceKeys
		if err := json.Unmarshal([]byte(signed), &device); err != nil {
			fmt.Println(extra, "unreadable:", err)
			os.Exit(1)
		}
		raw, _ := signatures.VerifySignatureJSON(json.RawMessage(signed), "@user:example.org", "DEVICE", id.Ed25519(key))
		good, err := signatures.VerifySignatureJSON(&device, "@user:example.org", "DEVICE", id.Ed25519(key))
		fmt.Printf("device keys with <%s>: as received %v, as mautrix-go keeps them %v %v\n", extra, raw, good, err)
	}
}
END
cat > expected << 'END'
device keys with <>: as received true, as mautrix-go keeps them true <nil>
device keys with <,"dehydrated":true>: as received true, as mautrix-go keeps them true <nil>
device keys with <,"dehydrated":false>: as received true, as mautrix-go keeps them false <nil>
device keys with <,"org.example.note":"text">: as received true, as mautrix-go keeps them true <nil>
device keys with <,"org.example.note":{"b":1,"a":[1,2]}>: as received true, as mautrix-go keeps them true <nil>
END
export GOMODCACHE="$folder/modules" GOCACHE="$folder/cache" GOFLAGS=-mod=mod
{ go mod init probe && go get maunium.net/go/mautrix@v0.32.0; } > log 2>&1 || { cat log; exit 1; }
go run -tags goolm . 2> log | tee seen || { cat log; exit 1; }
diff expected seen && echo "as it was"
