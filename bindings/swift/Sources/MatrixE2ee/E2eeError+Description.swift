import Foundation

/// What `"\(error)"` and `error.localizedDescription` say: `REPLAY (306): the index was used by ...`.
/// As all texts of errors, it holds no secret and no plaintext.
extension E2eeError: CustomStringConvertible {
    public var description: String { "\(name()) (\(code())): \(detail)" }

    /// What was wrong, as a sentence: the field that all cases have.
    public var detail: String {
        switch self {
        case .NullPointer(let detail), .InvalidUtf8(let detail), .InvalidLength(let detail),
            .StaleHandle(let detail), .WrongHandle(let detail), .Busy(let detail),
            .Forked(let detail), .Panic(let detail), .InvalidJson(let detail),
            .InvalidField(let detail, _), .TooLarge(let detail, _), .InvalidKey(let detail),
            .BadSignature(let detail), .UnknownAlgorithm(let detail, _), .NoSession(let detail),
            .NotEncryptedForUs(let detail), .UnableToDecrypt(let detail, _),
            .InvalidMessage(let detail), .MismatchedFingerprint(let detail),
            .UnknownFingerprint(let detail), .SessionExpired(let detail, _),
            .RoomNotEncrypted(let detail), .WrongRoom(let detail), .WrongSender(let detail),
            .MismatchedSessionId(let detail), .UnknownIndex(let detail, _, _),
            .Replay(let detail, _, _), .NotFound(let detail), .AlreadyExists(let detail),
            .StoreInUse(let detail), .StoreClosed(let detail), .Corrupt(let detail),
            .NewerFormat(let detail, _, _), .WrongKey(let detail), .StoreIo(let detail),
            .ClockFailed(let detail):
            return detail
        }
    }
}
