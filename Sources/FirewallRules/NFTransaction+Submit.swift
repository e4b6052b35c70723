// SPDX-License-Identifier: Apache-2.0

import CNFTables
import Glibc

extension NFTransaction {
  /// Sends the batch and returns what the kernel refused, by index of the operation.
  ///
  /// The kernel goes through the whole batch even after a refusal, then takes all of it back.
  /// Errors that are of no single operation are told with `what`, the purpose of the whole.
  func submit(_ what: String) throws(RuleError) -> [Int: NetlinkRefusal] {
    let socket = try NetlinkSocket.netfilter()
    try socket.send(bytes)
    var refusals: [Int: NetlinkRefusal] = [:]
    var answered = 0
    // nf_tables works inside send(): every answer is there when it returns.
    while let messages = try socket.receive(waiting: false) {
      for message in messages where Int32(message.type) == NLMSG_ERROR {
        guard let refusal = NetlinkRefusal(message) else {
          throw .malformedAnswer(from: "nf_tables", detail: "a cut acknowledgement")
        }
        let index = Int(message.sequence) - 1
        guard operations.indices.contains(index) else {
          // About the batch itself: no permission, or out of memory.
          throw .refused(
            operation: what, errno: refusal.errno, message: refusal.message)
        }
        answered += 1
        if refusal.errno != 0 { refusals[index] = refusal }
      }
    }
    guard answered >= operations.count || !refusals.isEmpty else {
      throw .malformedAnswer(
        from: "nf_tables", detail: "\(answered) answers to \(operations.count) operations")
    }
    return refusals
  }

  /// Sends the batch and throws its first refusal, if any.
  func commit(_ what: String) throws(RuleError) {
    let refusals = try submit(what)
    guard let first = refusals.min(by: { $0.key < $1.key }) else { return }
    throw .refused(
      operation: "\(what): \(operations[first.key])", errno: first.value.errno,
      message: first.value.message)
  }
}
