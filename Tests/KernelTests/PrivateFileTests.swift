// SPDX-License-Identifier: Apache-2.0

import Foundation
import Kernel
import Testing

@Suite struct PrivateFileTests {
  private let folder: String
  private var path: String { folder + "/kept" }

  init() throws {
    folder = NSTemporaryDirectory() + "callout-\(UUID().uuidString)"
  }

  private func inFolder(_ body: () throws -> Void) throws {
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body()
  }

  private func errno(_ body: () throws -> Void) throws -> CInt {
    do {
      try body()
      return 0
    } catch let error as SystemError {
      return error.errno
    }
  }

  private func mode(_ path: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    return try #require(attributes[.posixPermissions] as? Int)
  }

  @Test func `what was written is there once it is published, for its owner alone`() throws {
    try inFolder {
      let file = try PrivateFile(at: path)
      #expect(try file.read(limit: 100) == nil)
      try file.write([1, 2])
      #expect(try file.read(limit: 100) == nil)
      try file.publish()
      #expect(try file.read(limit: 100) == [1, 2])
      #expect(try mode(path) == 0o600 && mode(path + ".lock") == 0o600)
      try file.write([3])
      file.discard()
      #expect(try file.read(limit: 100) == [1, 2])
      #expect(try errno { try file.publish() } == ENOENT)
      #expect(!FileManager.default.fileExists(atPath: path + ".new"))
      #expect(try errno { _ = try file.read(limit: 1) } == EFBIG)
    }
  }

  @Test func `what a crash has left of a draft is no obstacle, whatever it is`() throws {
    try inFolder {
      let file = try PrivateFile(at: path)
      let victim = folder + "/victim"
      #expect(FileManager.default.createFile(atPath: victim, contents: Data([9])))
      try FileManager.default.createSymbolicLink(
        atPath: path + ".new", withDestinationPath: victim)
      try file.write([1])
      try file.publish()
      #expect(try file.read(limit: 100) == [1] && mode(path) == 0o600)
      #expect(FileManager.default.contents(atPath: victim) == Data([9]))
      #expect(FileManager.default.createFile(atPath: path + ".new", contents: Data([7, 7])))
      try file.write([2])
      try file.publish()
      #expect(try file.read(limit: 100) == [2])
    }
  }

  @Test func `one at a time has it`() throws {
    try inFolder {
      var first: PrivateFile? = try PrivateFile(at: path)
      #expect(first != nil)
      #expect(try errno { _ = try PrivateFile(at: path) } == EWOULDBLOCK)
      first = nil
      _ = try PrivateFile(at: path)
    }
  }

  @Test func `what others can write, and what is no file, is refused`() throws {
    try inFolder {
      let file = try PrivateFile(at: path)
      try file.write([1])
      try file.publish()
      chmod(path, 0o660)
      #expect(try errno { _ = try file.read(limit: 9) } == EPERM)
      chmod(path, 0o644)
      #expect(try file.read(limit: 9) == [1])
      try FileManager.default.removeItem(atPath: path)
      #expect(mkfifo(path, 0o600) == 0)
      #expect(try errno { _ = try file.read(limit: 9) } == EPERM)
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.createSymbolicLink(
        atPath: path, withDestinationPath: path + ".lock")
      #expect(try errno { _ = try file.read(limit: 9) } == ELOOP)
    }
  }
}
