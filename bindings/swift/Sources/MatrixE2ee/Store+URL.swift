import Foundation

extension Store {
    /// As ``openSqlite(path:key:)``, for a file's URL.
    public static func openSqlite(at file: URL, key: Data) throws -> Store {
        try openSqlite(path: file.path, key: key)
    }

    /// As ``openSqliteWithPassphrase(path:passphrase:)``, for a file's URL.
    public static func openSqlite(at file: URL, passphrase: String) throws -> Store {
        try openSqliteWithPassphrase(path: file.path, passphrase: passphrase)
    }
}
