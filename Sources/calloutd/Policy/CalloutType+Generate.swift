// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import CaptureFiles
internal import Yams

/// What a generator injects, where and how often.
struct Generation: Sendable, Hashable {
  var interface = ""
  var frames: [CapturedFrame] = []
  var rate = EventRate(1, per: .seconds(1))
  /// How many frames in all; nil without end.
  var count: UInt64?

  /// The most frames of a file, and the most bytes that they may have.
  static let mostFrames = 65536
  static let mostBytes = 16 << 20

  /// All frames of a file.
  static func frames(of path: String) throws(GenerationError) -> [CapturedFrame] {
    var frames: [CapturedFrame] = []
    var bytes = 0
    do throws(CaptureReadError) {
      var reader = try CaptureReader(at: path)
      while frames.count <= mostFrames, bytes <= mostBytes, let frame = try reader.next() {
        frames.append(frame)
        bytes += frame.bytes.count
      }
    } catch {
      throw .unreadable(error)
    }
    guard frames.count <= mostFrames, bytes <= mostBytes else { throw .tooLong }
    guard !frames.isEmpty else { throw .noFrames }
    return frames
  }
}

/// Why a file's frames cannot be generated.
enum GenerationError: Error, CustomStringConvertible {
  case unreadable(CaptureReadError)
  case noFrames
  case tooLong

  var description: String {
    switch self {
    case .unreadable(let error): "\(error)"
    case .noFrames: "there are no frames in it"
    case .tooLong:
      "expected at most \(Generation.mostFrames) frames and \(Generation.mostBytes) bytes"
    }
  }
}

extension SchemaValue where Value == [CapturedFrame] {
  /// One frame, or all of a file.
  static var frames: SchemaValue {
    let name = "a frame in hexadecimal digits or the absolute path of a pcap or pcapng file"
    return SchemaValue(name) { node, reader in
      guard let text = node.scalar?.string else {
        reader.problems.report(node, isNot: name)
        return nil
      }
      guard text.hasPrefix("/") else {
        do throws(FrameTextError) {
          return [CapturedFrame(try FrameText.bytes(text))]
        } catch {
          reader.problems.report("\(error); or \(name)", at: node.position)
          return nil
        }
      }
      do throws(GenerationError) {
        return try Generation.frames(of: text)
      } catch {
        reader.problems.report("\(text): \(error)", at: node.position)
        return nil
      }
    }
  }
}

extension CalloutType {
  /// Makes frames.
  static var generate: CalloutType {
    CalloutType(
      name: "generate", purpose: "injects frames of its own at each layer whose filters ask it",
      keys: [
        SchemaKey(
          "interface", .text("an interface's name"), into: \.generation.interface, default: nil,
          example: "eth0", "where; one of interfaces"),
        SchemaKey(
          "frames", .frames, into: \.generation.frames, default: nil,
          example: "ffffffffffff 020000000001 88b5 00",
          "one from its MAC header on, or those of a file in turn"),
        SchemaKey("rate", .rate, into: \.generation.rate, default: "1/s", "how often one goes"),
        SchemaKey(
          "count", SchemaValue<UInt64>.number(1...(1 << 48)).optional.or("none", nil),
          into: \.generation.count, default: "none", "how many in all"),
      ],
      finish: { .generate($0.generation) })
  }
}
