#!/bin/sh
# Which names of the flag "this key may be shared with later members" (MSC3061) matrix-sdk-crypto
# reads in m.room_key. Ran with @matrix-org/matrix-sdk-crypto-wasm 18.9.0 (matrix-sdk-crypto 0.19.1)
# and keys made by @matrix-org/olm 3.2.15, on Node 20:
# - the specification's name, shared_history, is not read: the key counts as not shared;
# - m.shared_history is read, and so is the oldest name when it stands alone;
# - m.shared_history and the oldest name in one event: the room key is not taken at all.
# Hence old_shared_history_names writes shared_history and m.shared_history, never the oldest name.
# Fails if any of that has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y > log
npm install --no-audit --no-fund @matrix-org/matrix-sdk-crypto-wasm@18.9.0 @matrix-org/olm@3.2.15 > log 2>&1 \
    || { cat log; exit 1; }
cat > program.mjs << 'END'
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const W = require("@matrix-org/matrix-sdk-crypto-wasm");
const Olm = require("@matrix-org/olm");
await W.initAsync();
await Olm.init();

const room = "!room:example.org";
const published = {}, oneTimeKeys = {};

async function machine(user, device) {
    const m = await W.OlmMachine.initialize(new W.UserId(user), new W.DeviceId(device));
    for (const request of await m.outgoingRequests()) {
        if (request.type !== W.RequestType.KeysUpload) continue;
        const body = JSON.parse(request.body);
        published[user] = { [device]: body.device_keys };
        oneTimeKeys[user] = { [device]: body.one_time_keys };
        await m.markRequestAsSent(request.id, request.type, JSON.stringify({ one_time_key_counts: { signed_curve25519: 50 } }));
    }
    return m;
}

const alice = await machine("@alice:example.org", "ALICE");
const bob = await machine("@bob:example.org", "BOB");
const users = () => ["@alice:example.org", "@bob:example.org"].map((user) => new W.UserId(user));
for (const m of [alice, bob]) {
    await m.updateTrackedUsers(users());
    for (const request of await m.outgoingRequests()) {
        if (request.type !== W.RequestType.KeysQuery) continue;
        await m.markRequestAsSent(request.id, request.type, JSON.stringify({ device_keys: published }));
    }
}
const claim = await alice.getMissingSessions([new W.UserId("@bob:example.org")]);
const [keyId, key] = Object.entries(oneTimeKeys["@bob:example.org"].BOB)[0];
await alice.markRequestAsSent(claim.id, claim.type, JSON.stringify({ one_time_keys: { "@bob:example.org": { BOB: { [keyId]: key } } } }));
const device = await alice.getDevice(new W.UserId("@bob:example.org"), new W.DeviceId("BOB"));

async function share(names) {
    const session = new Olm.OutboundGroupSession();
    session.create();
    const content = {
        algorithm: "m.megolm.v1.aes-sha2", room_id: room,
        session_id: session.session_id(), session_key: session.session_key(),
    };
    for (const name of names) content[name] = true;
    const encrypted = JSON.parse(await device.encryptToDeviceEvent("m.room_key", content, null));
    const event = { type: "m.room.encrypted", sender: "@alice:example.org", content: encrypted };
    await bob.receiveSyncChanges(JSON.stringify([event]), new W.DeviceLists(), new Map([["signed_curve25519", 50]]),
        new Set(["signed_curve25519"]), new W.DecryptionSettings(W.TrustRequirement.Untrusted));
    const keys = JSON.parse(await bob.exportRoomKeys((s) => s.sessionId === session.session_id()));
    if (keys.length === 0) return "key lost";
    const says = Object.entries(keys[0]).filter(([name]) => name.includes("shared_history")).map(([name, value]) => `${name}=${value}`);
    return `key taken, ${says.join(" ") || "no word of shared history"}`;
}

console.log("matrix-sdk-crypto", W.getVersions().matrix_sdk_crypto);
for (const names of [[], ["shared_history"], ["m.shared_history"], ["shared_history", "m.shared_history"],
    ["org.matrix.msc3061.shared_history"], ["m.shared_history", "org.matrix.msc3061.shared_history"]]) {
    console.log(`${names.join(" + ") || "none"}: ${await share(names)}`);
}
process.exit(0);
END
cat > expected << 'END'
matrix-sdk-crypto 0.19.1
none: key taken, m.shared_history=false
shared_history: key taken, m.shared_history=false
m.shared_history: key taken, m.shared_history=true
shared_history + m.shared_history: key taken, m.shared_history=true
org.matrix.msc3061.shared_history: key taken, m.shared_history=true
m.shared_history + org.matrix.msc3061.shared_history: key lost
END
node program.mjs | tee seen
diff expected seen && echo "as it was"
