import Foundation
import MatrixE2ee
import XCTest

final class AccountTests: XCTestCase {
    func testThePackageHasTheVersionOfTheLibrary() throws {
        let file = URL(fileURLWithPath: #filePath).appendingPathComponent("../../../VERSION")
        let version = try String(contentsOf: file.standardized, encoding: .utf8)
        XCTAssertEqual(
            MatrixE2ee.version(), version.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    func testAnAccountUploadsSignedKeysOnce() throws {
        let account = try Person.alice().account
        let request = try XCTUnwrap(account.keysUploadRequest())
        XCTAssertEqual(try account.keysUploadRequest(), request, "until it is answered")
        XCTAssertEqual(
            Set(object(request).keys), ["device_keys", "one_time_keys", "fallback_keys"])
        try account.receiveKeysUploadResponse(httpStatus: 200, body: "{}")
        try account.receiveKeyCounts(
            oneTimeCounts: #"{"signed_curve25519": 50}"#,
            unusedFallbackTypes: #"["signed_curve25519"]"#)
        XCTAssertNil(try account.keysUploadRequest())

        try account.receiveKeyCounts(oneTimeCounts: "{}")
        let more = object(try XCTUnwrap(account.keysUploadRequest()))
        XCTAssertEqual(Array(more.keys), ["one_time_keys"])
        expect("INVALID_FIELD", try account.receiveKeyCounts(oneTimeCounts: "[]"))
    }

    func testAnAccountKnowsItselfAndSignsForItself() throws {
        let account = try Person.alice().account
        XCTAssertEqual(try account.userId(), "@alice:example.org")
        XCTAssertEqual(try account.deviceId(), "ALICE")
        let keys = object(try account.deviceKeys())["keys"] as? [String: String]
        XCTAssertEqual(keys?["curve25519:ALICE"], try account.identityKey())
        XCTAssertEqual(keys?["ed25519:ALICE"], try account.fingerprintKey())

        let signed = try account.signJson(object: #"{"hello": "world"}"#)
        func verify(_ object: String, _ key: String) throws {
            try verifySignedJson(
                object: object, userId: "@alice:example.org", keyId: "ed25519:ALICE", publicKey: key)
        }
        try verify(signed, account.fingerprintKey())
        let altered = signed.replacingOccurrences(of: "world", with: "moon")
        expect("BAD_SIGNATURE", try verify(altered, account.fingerprintKey()))
        expect("INVALID_KEY", try verify(signed, "short"))
    }

    func testAnAccountIsTheSameAfterARestartAndGoneAfterErase() throws {
        let file = try folder().appendingPathComponent("alice.sqlite")
        let store = try Store.openSqlite(at: file, key: storeKey)
        let identityKey = try Person.alice(in: store).account.identityKey()
        try store.shutDown()

        let again = try Store.openSqlite(at: file, key: storeKey)
        let account = try Person.alice(in: again).account
        XCTAssertEqual(try account.identityKey(), identityKey)
        let (user, device) = try (account.userId(), account.deviceId())
        let existing = try Account.openExisting(store: again, userId: user, deviceId: device)
        XCTAssertEqual(try existing.identityKey(), identityKey)
        expect("NOT_FOUND", try Account.openExisting(store: again, userId: user, deviceId: "X"))
        try account.erase()
        expect("NOT_FOUND", try account.deviceKeys())
        XCTAssertNotEqual(try Person.alice(in: again).account.identityKey(), identityKey)
    }

    func testPicklesOfOtherLibrariesThatAreNoneAreRefused() throws {
        let alice = try Person.alice()
        let (store, account) = (alice.store, alice.account)
        let key = Data(repeating: 1, count: 32)
        expect(
            "INVALID_FIELD",
            try Account.fromLibolmPickle(
                store: store, userId: "@carol:example.org", deviceId: "CAROL", pickle: "none",
                pickleKey: key))
        expect(
            "INVALID_LENGTH",
            try Account.fromVodozemacPickle(
                store: store, userId: "@carol:example.org", deviceId: "CAROL", pickle: "none",
                pickleKey: Data()))
        let imported = object(
            try account.importLibolmSessions(
                sessions: text([["kind": "outbound_megolm", "room_id": room, "pickle": "none"]]),
                pickleKey: key))
        XCTAssertEqual(imported["imported"] as? Int, 0)
        XCTAssertEqual((imported["failed"] as? [Any])?.count, 1)
        expect(
            "INVALID_FIELD",
            try OutboundMegolmSession.fromLibolmPickle(
                account: account, roomId: room, pickle: "none", pickleKey: key))
        expect(
            "INVALID_FIELD",
            try InboundMegolmSession.fromLibolmPickle(
                account: account, roomId: room, senderKey: account.identityKey(), pickle: "none",
                pickleKey: key))
        let bob = "@bob:example.org"
        let bobsKey = try Person.bob().account.identityKey()
        expect(
            "INVALID_FIELD",
            try OlmChannel.fromLibolmPickles(
                account: account, partnerUserId: bob, partnerIdentityKey: bobsKey,
                pickles: "[1]", pickleKey: key))
        expect(
            "WRONG_KEY",
            try OlmChannel.fromVodozemacPickles(
                account: account, partnerUserId: bob, partnerIdentityKey: bobsKey,
                pickles: #"["none"]"#, pickleKey: key))
    }

    func testTheFreeFunctionsTakeAndGiveJson() throws {
        XCTAssertEqual(try canonicalJson(value: #"{"b": 1, "a": "ü"}"#), #"{"a":"ü","b":1}"#)
        let devices = #"{"@bob:example.org": ["BOB"]}"#
        let request = try keysClaimRequest(devices: devices, timeoutMs: 5)
        XCTAssertEqual(object(request)["timeout"] as? Int, 5)
        XCTAssertNil(object(try keysClaimRequest(devices: devices))["timeout"])

        let bob = try Person.bob()
        let key = object(try bob.oneTimeKey())
        let response = text(["one_time_keys": ["@bob:example.org": ["BOB": key]]])
        let claimed = object(try readKeysClaimResponse(request: request, response: response))
        let ofBob = (claimed["one_time_keys"] as? [String: [String: [String: Any]]])?["@bob:example.org"]
        XCTAssertEqual(ofBob?["BOB"]?.keys.sorted(), key.keys.sorted())
        XCTAssertEqual(claimed["failures"] as? [String], [])
    }
}
