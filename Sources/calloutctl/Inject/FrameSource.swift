// SPDX-License-Identifier: Apache-2.0

internal import CaptureFiles
internal import Foundation
internal import Kernel

/// Where frames to be injected come from.
struct FrameSource {
  /// What kind of source it is.
  enum Origin {
    /// Frames of the command line.
    case frames([CapturedFrame])
    /// A capture file.
    case file(String)
    /// Lines of standard input, a frame each.
    case lines

    /// Whether frames can be read only once, as somebody makes them.
    var isStream: Bool {
      switch self {
      case .frames: return false
      case .lines: return true
      case .file(let path):
        let values = try? URL(fileURLWithPath: path).resourceValues(forKeys: [.isRegularFileKey])
        return path == "-" || values?.isRegularFile == false
      }
    }
  }

  /// Gives the next frame, nil at the end.
  let next: () throws -> CapturedFrame?

  /// Begins at the first frame.
  init(_ origin: Origin) throws {
    switch origin {
    case .frames(let frames):
      var iterator = frames.makeIterator()
      next = { iterator.next() }
    case .file(let path):
      let reader = try CaptureFileReader(path)
      next = { try reader.next() }
    case .lines:
      let reader = try FrameLineReader()
      next = { try reader.next() }
    }
  }
}

/// Reads frames of standard input, of which it holds one line at a time.
private final class FrameLineReader {
  private var stream: ByteStream
  private var number = 0

  init() throws {
    do { stream = try ByteStream(at: "-") } catch { throw FrameSourceError(text: "\(error)") }
  }

  func next() throws -> CapturedFrame? {
    while let line = try takeLine() {
      number += 1
      do throws(FrameTextError) {
        guard line.count <= FrameText.longest else { throw .tooLong }
        let line = String(decoding: line, as: UTF8.self)
        let text = line.drop(while: \.isWhitespace)
        if text.isEmpty || text.hasPrefix("#") { continue }
        return CapturedFrame(try FrameText.bytes(line))
      } catch {
        throw FrameSourceError(text: "line \(number): \(error)")
      }
    }
    return nil
  }

  private func takeLine() throws -> [UInt8]? {
    do { return try stream.takeLine(limit: FrameText.longest) } catch {
      throw FrameSourceError(text: "\(error)")
    }
  }
}

/// A reader that closures can share.
private final class CaptureFileReader {
  private let path: String
  private var reader: CaptureReader

  init(_ path: String) throws {
    self.path = path
    do { reader = try CaptureReader(at: path) } catch {
      throw FrameSourceError(path, error)
    }
  }

  func next() throws -> CapturedFrame? {
    do { return try reader.next() } catch { throw FrameSourceError(path, error) }
  }
}

/// Why there are no frames, or no more of them.
struct FrameSourceError: Error, CustomStringConvertible {
  var description: String

  init(text: String) { description = text }

  init(_ path: String, _ error: CaptureReadError) {
    // Errors of the system name the file.
    if case .system = error { description = "\(error)" } else { description = "\(path): \(error)" }
  }
}
