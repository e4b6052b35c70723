// SPDX-License-Identifier: Apache-2.0

public import CalloutEngine
internal import FoundationEssentials
internal import Glibc
public import Kernel

/// The file that keeps the persistent objects of sessions, as JSON.
struct ObjectStore: Sendable {
  private let file: PrivateFile

  /// What the file says it is.
  private struct Head: Codable {
    var format = "callout-objects"
    var version = 1
  }

  /// The largest file that is read.
  static let maximumLength = 1 << 26

  /// Takes the file for this process.
  init(at path: String) throws(BridgeError) {
    do {
      file = try PrivateFile(at: path)
    } catch {
      guard error.errno != EWOULDBLOCK else { throw .objectStore(.inUse(path: path)) }
      throw .objectStore(.unreadable(path: path, error))
    }
  }

  /// What is kept; nothing if there is no file yet.
  func read() throws(BridgeError) -> PersistentObjects {
    let content: [UInt8]?
    do {
      content = try file.read(limit: Self.maximumLength)
    } catch {
      throw .objectStore(.unreadable(path: file.path, error))
    }
    guard let content else { return PersistentObjects() }
    do {
      let data = Data(content)
      let head = try JSONDecoder().decode(Head.self, from: data)
      guard head.format == Head().format else { throw RecordError("it is no object store") }
      guard head.version == Head().version else {
        throw BridgeError.objectStore(
          .otherVersion(path: file.path, found: head.version, known: Head().version))
      }
      return try JSONDecoder().decode(ObjectRecords.self, from: data).objects
    } catch let error as BridgeError {
      throw error
    } catch {
      throw .objectStore(.damaged(path: file.path, reason: Self.reason(error)))
    }
  }

  /// Writes what is to be kept, beside what is; `publish` or `discard` must follow.
  func write(_ kept: PersistentObjects) throws(BridgeError) {
    do {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      let head = Head()
      let data = try encoder.encode(
        ObjectRecords(kept, format: head.format, version: head.version))
      guard data.count < Self.maximumLength else {
        throw SystemError("keep \(data.count) bytes", errno: EFBIG)
      }
      try file.write([UInt8](data) + [UInt8(ascii: "\n")])
    } catch let error as SystemError {
      throw .objectStore(.notWritten(path: file.path, error))
    } catch {
      throw .wrongState("persistent objects cannot be written as JSON: \(error)")
    }
  }

  /// Puts what was written in force; on an error `before` is kept as well as can be.
  func publish(insteadOf before: PersistentObjects) throws(BridgeError) {
    do {
      try file.publish()
    } catch {
      // The new content may be there already.
      if (try? write(before)) != nil { try? file.publish() }
      throw .objectStore(.notWritten(path: file.path, error))
    }
  }

  /// Forgets what was written.
  func discard() { file.discard() }

  private static func reason(_ error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    func place(_ context: DecodingError.Context) -> String {
      let path = context.codingPath.map { $0.intValue.map { "\($0)" } ?? $0.stringValue }
      return path.isEmpty
        ? context.debugDescription
        : "\(path.joined(separator: ".")): \(context.debugDescription)"
    }
    return switch error {
    case .typeMismatch(_, let context), .valueNotFound(_, let context),
      .keyNotFound(_, let context), .dataCorrupted(let context):
      place(context)
    @unknown default: "\(error)"
    }
  }
}

/// Why the file of persistent objects cannot be used; what ran goes on.
public enum ObjectStoreError: Error, Sendable, CustomStringConvertible {
  /// Another process has it.
  case inUse(path: String)
  /// It cannot be read.
  case unreadable(path: String, SystemError)
  /// It is not as it was written.
  case damaged(path: String, reason: String)
  /// Another version of this library has written it.
  case otherVersion(path: String, found: Int, known: Int)
  /// What it keeps does not go with the policy or with what sessions have added.
  case clash(path: String, EngineError)
  /// It could not be written, so the transaction was aborted.
  case notWritten(path: String, SystemError)

  /// The number that WFP has for it, nil for none.
  public var status: WFPStatus? {
    switch self {
    case .clash(_, let error): error.status
    case .notWritten: .transactionAborted
    case .inUse, .unreadable, .damaged, .otherVersion: nil
    }
  }

  /// What is wrong and what to do about it.
  public var description: String {
    switch self {
    case .inUse(let path):
      "the object store \(path) is another process's; stop that, or give this one another file"
    case .unreadable(let path, let error):
      "the object store cannot be read: \(error)"
        + (error.errno == 1
          ? "; it must be a plain file that is yours or root's and nobody else can write: "
            + "`chmod 600 \(path)`" : "; put that right, or give another file")
    case .damaged(let path, let reason):
      "the object store \(path) is damaged (\(reason)): put it right, or move it away to begin "
        + "without persistent objects"
    case .otherVersion(let path, let found, let known):
      "the object store \(path) is of version \(found), this library's is \(known): use the library "
        + "that wrote it, or move it away to begin without persistent objects"
    case .clash(let path, let error):
      "the object store \(path) does not go with the policy: \(error); change the policy, or take the "
        + "object out of the file"
    case .notWritten(_, let error):
      "the object store cannot be written, so nothing was changed: \(error)"
    }
  }
}
