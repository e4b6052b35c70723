// SPDX-License-Identifier: Apache-2.0

import CNFTables
import Glibc

/// A netlink socket for requests that the kernel answers at once.
struct NetlinkSocket: ~Copyable {
  private let descriptor: Int32
  private let name: String

  private init(descriptor: Int32, name: String) {
    self.descriptor = descriptor
    self.name = name
  }

  deinit { close(descriptor) }

  /// Opens a socket to nf_tables.
  static func netfilter() throws(RuleError) -> NetlinkSocket {
    try open(NETLINK_NETFILTER, name: "nf_tables")
  }

  /// Opens a socket to routing.
  static func route() throws(RuleError) -> NetlinkSocket {
    try open(NETLINK_ROUTE, name: "rtnetlink")
  }

  private static func open(_ bus: Int32, name: String) throws(RuleError) -> NetlinkSocket {
    let descriptor = cnf_netlink_open(bus)
    guard descriptor >= 0 else {
      throw .refused(operation: "open \(name) socket", errno: -descriptor, message: nil)
    }
    return NetlinkSocket(descriptor: descriptor, name: name)
  }

  /// Sends `request`, which holds one or more whole messages.
  func send(_ request: [UInt8]) throws(RuleError) {
    let sent = unsafe request.withUnsafeBytes {
      unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, 0)
    }
    guard sent == request.count else {
      throw .refused(operation: "send to \(name)", errno: sent < 0 ? errno : EMSGSIZE, message: nil)
    }
  }

  /// The messages of the next datagram, or nil if `waiting` is false and there is none.
  func receive(waiting: Bool) throws(RuleError) -> [NetlinkMessage]? {
    var buffer = [UInt8](repeating: 0, count: 65536)
    let flags = Int32(MSG_TRUNC) | (waiting ? 0 : Int32(MSG_DONTWAIT))
    var count = -1
    repeat {
      count = unsafe buffer.withUnsafeMutableBytes {
        unsafe Glibc.recv(descriptor, $0.baseAddress, $0.count, flags)
      }
    } while count < 0 && errno == EINTR
    guard count >= 0 else {
      if errno == EAGAIN, !waiting { return nil }
      throw .refused(operation: "read from \(name)", errno: errno, message: nil)
    }
    guard count <= buffer.count, let messages = NetlinkMessage.all(in: buffer[..<count]) else {
      throw .malformedAnswer(from: name, detail: "a datagram of \(count) bytes")
    }
    return messages
  }

  /// All answers to a dump `request`, asked again if the tables changed meanwhile.
  func dump(_ request: [UInt8], what: String) throws(RuleError) -> [NetlinkMessage] {
    for _ in 0..<8 {
      if let answers = try attempt(request, what: what) { return answers }
    }
    throw .refused(operation: what, errno: EINTR, message: "the rules keep changing")
  }

  /// One dump; nil if it was interrupted by a change.
  private func attempt(_ request: [UInt8], what: String) throws(RuleError) -> [NetlinkMessage]? {
    try send(request)
    var answers: [NetlinkMessage] = []
    var interrupted = false
    while true {
      for message in try receive(waiting: true) ?? [] {
        if message.flags & UInt16(NLM_F_DUMP_INTR) != 0 { interrupted = true }
        switch Int32(message.type) {
        case NLMSG_DONE:
          return interrupted ? nil : answers
        case NLMSG_ERROR:
          let refusal = NetlinkRefusal(message)
          // A changed rule set can also end the dump: EINTR is no error of ours.
          if refusal?.errno == EINTR { return nil }
          throw .refused(
            operation: what, errno: refusal?.errno ?? EPROTO, message: refusal?.message)
        default:
          answers.append(message)
        }
      }
    }
  }
}

/// What a refusal (`NLMSG_ERROR`) says.
///
/// An `errno` of 0 is an acknowledgement.
struct NetlinkRefusal: Equatable {
  var errno: Int32
  var message: String?

  init(errno: Int32, message: String?) {
    self.errno = errno
    self.message = message
  }

  /// Nil if the message is cut off.
  init?(_ answer: NetlinkMessage) {
    guard let code = answer.payload.native32(at: 0) else { return nil }
    errno = Int32(truncatingIfNeeded: code) &* -1
    // With NETLINK_CAP_ACK only the header of our message lies between the code and the words.
    guard answer.flags & 0x200 /* NLM_F_ACK_TLVS */ != 0 else { return }
    let capped = answer.flags & 0x100 /* NLM_F_CAPPED */ != 0
    let request = capped ? 16 : Int(answer.payload.native32(at: 4) ?? 16)
    message = NetlinkAttributes(answer.payload.dropFirst(4 + (request + 3) & ~3))?
      .string(1 /* NLMSGERR_ATTR_MSG */)
  }
}
