// SPDX-License-Identifier: Apache-2.0

import CLinux
import Foundation
import Kernel
import Synchronization
import Testing

@Suite struct EventRingTests {
  @Test func `a million elements come out in order on another thread`() throws {
    let ring = EventRing<UInt64>(capacity: 1024)
    let count: UInt64 = 1_000_000
    let writer = try DedicatedThread(name: "ring-writer") {
      for number in 0..<count { while !ring.push(number) { sched_yield() } }
    }
    var next: UInt64 = 0
    var misplaced = 0
    while next < count {
      guard let element = ring.pop() else {
        sched_yield()
        continue
      }
      if element != next { misplaced += 1 }
      next += 1
    }
    writer.join()
    #expect(misplaced == 0 && ring.pop() == nil && ring.count == 0)
  }

  @Test(arguments: [(1, 2), (2, 2), (3, 4), (4, 4), (1000, 1024)])
  func `a full ring refuses and an empty one gives nothing`(asked: Int, capacity: Int) {
    let ring = EventRing<Int>(capacity: asked)
    for round in 0..<3 {
      #expect(ring.pop() == nil && ring.peek() == nil && ring.count == 0)
      for number in 0..<capacity where !ring.push(round + number) { Issue.record("refused") }
      let isRefused = !ring.push(-1)
      #expect(isRefused && ring.count == capacity && ring.peek() == round)
      for number in 0..<capacity where ring.pop() != round + number { Issue.record("wrong") }
    }
  }
}

@Suite struct ThreadTests {
  private final class Name: Sendable { let text = Mutex("") }

  @Test(arguments: [
    ("short", "short"), ("exactly-15-byte", "exactly-15-byte"),
    ("much-longer-than-15", "much-longer-tha"), ("größer-größer-größer", "größer-größ"),
  ])
  func `a thread bears its name, cut to 15 bytes`(name: String, expected: String) throws {
    let found = Name()
    let thread = try DedicatedThread(name: name) {
      // The creating thread gives the name, so it may come a little later.
      for _ in 0..<200 {
        let text = (try? KernelFile.text("/proc/thread-self/comm")) ?? nil
        found.text.withLock { $0 = (text ?? "").trimmingCharacters(in: .newlines) }
        if found.text.withLock({ $0 == expected }) { return }
        MonotonicClock.sleep(nanoseconds: 1_000_000)
      }
    }
    thread.join()
    #expect(found.text.withLock { $0 } == expected)
  }

  @Test func `joining waits for the end, a second joining does not`() throws {
    let isDone = Atomic<Bool>(false)
    try withUnsafePointer(to: 0) { _ in
      let flag = Flag()
      let thread = try DedicatedThread(name: "join") {
        MonotonicClock.sleep(nanoseconds: 20_000_000)
        flag.value.store(true, ordering: .releasing)
      }
      thread.join()
      isDone.store(flag.value.load(ordering: .acquiring), ordering: .relaxed)
      thread.join()
    }
    let done = isDone.load(ordering: .relaxed)
    #expect(done)
  }

  private final class Flag: Sendable { let value = Atomic<Bool>(false) }
}

@Suite struct DurationTests {
  @Test(
    arguments: [
      (.zero, 0), (.nanoseconds(1), 1), (.milliseconds(1500), 1_500_000_000),
      (.nanoseconds(-1), 0), (.seconds(-5), 0), (.seconds(Int64.max), .max),
      (.seconds(18_446_744_073), 18_446_744_073_000_000_000),
      (.seconds(18_446_744_073) + .nanoseconds(709_551_615), .max),
      (.seconds(18_446_744_073) + .nanoseconds(709_551_616), .max),
      (.seconds(18_446_744_073) + .nanoseconds(999_999_999), .max),
      (.seconds(18_446_744_074), .max), (Duration(secondsComponent: 0, attosecondsComponent: 1), 0),
    ] as [(Duration, UInt64)])
  func `a duration in nanoseconds is never negative and saturates`(
    duration: Duration, expected: UInt64
  ) {
    #expect(duration.nanoseconds == expected)
  }
}

@Suite struct KernelFileTests {
  private func inDirectory(_ body: (String) throws -> Void) throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "callout-\(UUID())").path()
    try KernelFile.makeDirectory(path)
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
  }

  @Test func `a file is replaced as a whole and no draft stays`() throws {
    try inDirectory { path in
      let file = path + "/epoch"
      #expect(try KernelFile.text(file) == nil)
      for text in ["a longer text than the next", "1\n", "", "größer"] {
        try KernelFile.replace(file, with: text)
        #expect(try KernelFile.text(file) == text)
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["epoch"])
    }
  }

  @Test func `a directory that is there is no error, one without a parent is`() throws {
    try inDirectory { path in
      try KernelFile.makeDirectory(path)
      let error = #expect(throws: SystemError.self) {
        try KernelFile.makeDirectory(path + "/no/such")
      }
      #expect(error?.errno == ENOENT)
      #expect(throws: SystemError.self) { try KernelFile.replace(path + "/no/file", with: "") }
      #expect(throws: SystemError.self) { try KernelFile.text(path) }
    }
  }

  @Test func `an error names the operation and what the kernel said`() {
    let error = SystemError("bind queue 5", errno: EPERM)
    #expect(error.description == "bind queue 5: Operation not permitted")
  }
}

@Suite struct OwnedDescriptorTests {
  private func isOpen(_ number: CInt) -> Bool { fcntl(number, F_GETFD) >= 0 }

  @Test func `a descriptor is closed when its owner goes, one that was released is not`() throws {
    let number = fcntl(try #require(openedNull()), F_DUPFD, 700)
    do {
      let owner = OwnedDescriptor(owning: number)
      let isValid = isOpen(owner.number)
      #expect(isValid)
    }
    #expect(!isOpen(number))
    let kept = fcntl(try #require(openedNull()), F_DUPFD, 701)
    let released = OwnedDescriptor(owning: kept).release()
    #expect(released == kept && isOpen(kept))
    close(kept)
  }

  @Test func `it is closed once: a number that was opened again stays open`() throws {
    let number = fcntl(try #require(openedNull()), F_DUPFD, 720)
    func take(_ owner: consuming OwnedDescriptor) -> CInt { owner.number }
    let closed = take(OwnedDescriptor(owning: number))
    #expect(closed == number && !isOpen(number))
    let again = fcntl(try #require(openedNull()), F_DUPFD, 720)
    #expect(again == number && isOpen(again))
    close(again)
  }

  @Test func `a failed call is thrown with its errno`() {
    errno = EMFILE
    let number: CInt = -1
    do {
      _ = try OwnedDescriptor(checking: number, operation: "open it")
      Issue.record("not thrown")
    } catch {
      #expect(error.operation == "open it")
    }
  }

  private func openedNull() -> CInt? {
    let number = open("/dev/null", O_RDONLY | O_CLOEXEC)
    return number < 0 ? nil : number
  }
}

@Suite struct QueueStatusTests {
  @Test func `every column of a line is read, later ones are left alone`() {
    let line = "  31000   7619     3 2 65531     4     5        9  1 77"
    #expect(
      QueueStatus(line: line)
        == QueueStatus(
          number: 31000, portID: 7619, waiting: 3, copyMode: 2, copyRange: 65531,
          queueDropped: 4, userDropped: 5, lastID: 9))
    #expect(
      QueueStatus(
        line: "65535 4294967295 4294967295 255 4294967295 4294967295 4294967295 4294967295")
        != nil)
  }

  @Test(arguments: [
    "", "7", "7 7619 3 2 200 0 0", "65536 1 0 2 200 0 0 0", "7 -1 0 2 200 0 0 0",
    "7 1 4294967296 2 200 0 0 0", "7 1 0 256 200 0 0 0", "a b c d e f g h", "7,1,0,2,200,0,0,0",
  ])
  func `a line with a column missing or out of range is refused`(line: String) {
    #expect(QueueStatus(line: line) == nil)
  }
}

@Suite struct WakeUpTests {
  @Test func `a signal from another thread ends the wait, and clearing takes it back`() throws {
    let (wakeUp, other) = (try WakeUp(), try WakeUp())
    var poller = Poller(wakeUp.number, other.number)
    poller.wait(milliseconds: 0)
    #expect(!poller.isReady(0))
    let thread = try DedicatedThread(name: "waker") { other.signal() }
    poller.wait(milliseconds: 5000)
    thread.join()
    #expect(!poller.isReady(0) && poller.isReady(1) && !poller.isReady(2))
    other.signal()
    other.clear()
    poller.wait(milliseconds: 0)
    #expect(!poller.isReady(1))
  }
}
