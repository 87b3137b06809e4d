// A member of the room of the cross-language test: Member NAME USER_ID DEVICE_ID PATH STORE_KEY_HEX.
// It does what the lines on its standard input say, one JSON command in each, with the functions of
// examples/swift, and asks for each request to the homeserver on its standard output.
import Foundation
import MatrixE2ee

/// The homeserver at the other end of the pipes.
final class Driver: Homeserver {
    func keysUpload(userId: String, deviceId: String, body: String) throws -> String {
        try ask("keys_upload", [
            "user_id": .string(userId), "device_id": .string(deviceId), "body": JSON(body),
        ])
    }

    func keysQuery(body: String) throws -> String { try ask("keys_query", ["body": JSON(body)]) }

    func keysClaim(body: String) throws -> String { try ask("keys_claim", ["body": JSON(body)]) }

    func joinedMembers() throws -> String { try ask("joined_members", [:]) }

    func sendToDevice(userId: String, eventType: String, body: String) throws {
        _ = try ask("send_to_device", [
            "user_id": .string(userId), "event_type": .string(eventType), "body": JSON(body),
        ])
    }

    func send(userId: String, eventType: String, content: String) throws -> String {
        try ask("send", [
            "user_id": .string(userId), "event_type": .string(eventType), "content": JSON(content),
        ])
    }

    func sync(userId: String, deviceId: String) throws -> String {
        try ask("sync", ["user_id": .string(userId), "device_id": .string(deviceId)])
    }

    func event(eventId: String) throws -> String {
        try ask("event", ["event_id": .string(eventId)])
    }

    private func ask(_ what: String, _ arguments: JSON) throws -> String {
        var question = arguments
        question["ask"] = .string(what)
        try write(question)
        guard let answer = readLine() else { throw Failure(description: "no answer") }
        return answer
    }
}

/// One line, at once.
func write(_ line: JSON) throws {
    try FileHandle.standardOutput.write(contentsOf: Data((line.text + "\n").utf8))
}

/// Does a command; gives the answer to it.
func perform(_ command: JSON, _ server: Homeserver, _ device: inout Device) throws -> JSON {
    var answer: JSON = ["done": .bool(true)]
    switch try stringIn(command, "do") {
    case "open":
        try openDevice(&device)
        try uploadKeys(server, device)
    case "say":
        answer["event_id"] = .string(try say(server, device, stringIn(command, "words")))
    case "receive":
        answer["read"] = .list(try receive(server, device).map {
            ["sender": .string($0.sender), "words": .string($0.words)]
        })
    case "restart":
        try closeDevice(&device)
        try openDevice(&device)
    case "end":
        try closeDevice(&device)
    case let unknown:
        answer = ["failed": .string("unknown command \(unknown)")]
    }
    return answer
}

/// The bytes that a text of hexadecimal digits stands for.
func bytes(_ hex: String) -> Data {
    let digits = hex.compactMap { $0.hexDigitValue }
    return Data(stride(from: 0, to: digits.count - 1, by: 2).map {
        UInt8(digits[$0] * 16 + digits[$0 + 1])
    })
}

@main
struct Member {
    static func main() throws {
        tell = { FileHandle.standardError.write(Data(($0 + "\n").utf8)) }
        let arguments = CommandLine.arguments
        try check(arguments.count == 6, "arguments: name, user ID, device ID, path and key of the store")
        var device = Device(
            name: arguments[1], userId: arguments[2], deviceId: arguments[3], path: arguments[4],
            storeKey: bytes(arguments[5]))
        let server = Driver()
        while let line = readLine() {
            let command = try JSON(line)
            do {
                try write(perform(command, server, &device))
            } catch let error as E2eeError {
                try write(["failed": .string(error.name())])
            } catch {
                try write(["failed": .string("\(error)")])
            }
            if command["do"] == "end" { break }
        }
    }
}
