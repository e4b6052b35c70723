// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketTagging
internal import PacketViews
internal import Yams

extension ConditionDraft {
  /// One value of the field.
  func number(
    _ node: Node, _ field: Field, _ layer: Layer?, _ reader: inout PolicyReader
  ) -> UInt128? {
    switch field.valueType {
    case .flags: return bits(node, field, &reader).map { UInt128($0) }
    case .address:
      guard let text = node.plainText, let address = IPAddress(text) else {
        reader.problems.report(node, isNot: field.expected)
        return nil
      }
      guard isRightFamily(address, layer, node, &reader) else { return nil }
      return UInt128(address.high) << 64 | UInt128(address.low)
    case .integer, .macAddress:
      if let text = node.plainText, let value = field.value(text) { return value }
      reader.problems.report(node, isNot: field.expected)
      return nil
    case .blob:
      reader.problems.report(node, isNot: field.expected)
      return nil
    }
  }

  /// The condition on a path.
  func path(
    _ node: Node, _ match: MatchName, _ field: Field, _ reader: inout PolicyReader
  ) -> Condition? {
    func single(_ make: ([UInt8]) -> BlobMatch) -> Condition? {
      guard isSingle(node, &reader) else { return nil }
      return bytes(node, field, &reader).map { Condition(field, .blob(make($0))) }
    }
    switch match {
    case .equal: return single { .equal($0) }
    case .notEqual: return single { .notEqual($0) }
    case .prefix: return single { .prefix($0) }
    case .notPrefix: return single { .notPrefix($0) }
    case .greater: return single { .greater($0) }
    case .less: return single { .less($0) }
    case .greaterOrEqual: return single { .greaterOrEqual($0) }
    case .lessOrEqual: return single { .lessOrEqual($0) }
    case .range:
      guard case .sequence(let list) = node, list.count == 2, let first = list.first,
        let last = list.last
      else {
        reader.problems.report(node, isNot: "a list of two: [first, last]")
        return nil
      }
      guard let low = bytes(first, field, &reader), let high = bytes(last, field, &reader) else {
        return nil
      }
      return Condition(field, .blob(.range(low, high)))
    case .masked, .flagsAllSet, .flagsAnySet, .flagsNoneSet:
      reader.problems.report(
        "found the match \(match.rawValue), expected another: \(field.name) is a path",
        at: node.position)
      return nil
    }
  }

  /// An absolute path.
  private func bytes(_ node: Node, _ field: Field, _ reader: inout PolicyReader) -> [UInt8]? {
    guard let text = node.scalar?.string, text.hasPrefix("/") else {
      reader.problems.report(node, isNot: field.expected)
      return nil
    }
    return Array(text.utf8)
  }

  /// The condition that a value lies between two.
  func range(
    _ node: Node, _ field: Field, _ layer: Layer?, _ reader: inout PolicyReader
  ) -> Condition? {
    guard case .sequence(let list) = node, list.count == 2, let first = list.first,
      let last = list.last, field.valueType != .flags
    else {
      let expected =
        field.valueType == .flags
        ? "another match: flags have no order" : "a list of two: [first, last]"
      reader.problems.report(node, isNot: expected)
      return nil
    }
    guard let low = number(first, field, layer, &reader),
      let high = number(last, field, layer, &reader)
    else { return nil }
    return Condition(field, .range(low, high))
  }

  /// The condition that an address does not begin as given.
  func notPrefix(
    _ node: Node, _ field: Field, _ layer: Layer?, _ reader: inout PolicyReader
  ) -> Condition? {
    guard field.valueType == .address else {
      reader.problems.report(
        "found the match not-prefix, expected another: \(field.name) is no IP address",
        at: node.position)
      return nil
    }
    guard case .prefix(let prefix) = prefix(node, field, layer, &reader)?.match else { return nil }
    return Condition(field, .notPrefix(prefix))
  }

  /// The condition that an address begins as given.
  func prefix(
    _ node: Node, _ field: Field, _ layer: Layer?, _ reader: inout PolicyReader
  ) -> Condition? {
    switch field.valueType {
    case .integer, .flags, .blob:
      reader.problems.report(
        "found the match prefix, expected another: \(field.name) is no address",
        at: node.position)
      return nil
    case .macAddress:
      let parts = node.plainText?.split(separator: "/", omittingEmptySubsequences: false) ?? []
      guard parts.count == 2, let address = MACAddress(String(parts[0])),
        let length = UInt128(policyNumber: String(parts[1])), length <= 48
      else {
        reader.problems.report(
          node, isNot: "an Ethernet address and a length such as 02:00:5e:00:00:00/24")
        return nil
      }
      return Condition(field, within: address, length: Int(length))
    case .address:
      guard let text = node.plainText, let prefix = IPPrefix(text) else {
        reader.problems.report(node, isNot: "an address and a length such as 10.0.0.0/8")
        return nil
      }
      return isRightFamily(prefix.address, layer, node, &reader)
        ? Condition(field, .prefix(prefix)) : nil
    }
  }

  /// The condition that some bits are those of a value.
  func masked(
    _ node: Node, _ field: Field, _ layer: Layer?, _ reader: inout PolicyReader
  ) -> Condition? {
    switch field.valueType {
    case .flags, .blob:
      reader.problems.report(
        "found the match masked, expected another: \(field.name) takes no mask",
        at: node.position)
      return nil
    case .address:
      let parts = node.plainText?.split(separator: "/", omittingEmptySubsequences: false) ?? []
      guard parts.count == 2, let value = IPAddress(String(parts[0])),
        let mask = IPAddress(String(parts[1])), value.version == mask.version
      else {
        reader.problems.report(
          node, isNot: "an address and a mask such as 10.0.0.1/255.0.0.255")
        return nil
      }
      guard isRightFamily(value, layer, node, &reader) else { return nil }
      let bits = UInt128(mask.high) << 64 | UInt128(mask.low)
      let number = UInt128(value.high) << 64 | UInt128(value.low)
      return Condition(field, .masked(number & bits, mask: bits))
    case .integer, .macAddress:
      let parts = node.plainText?.split(separator: "/", omittingEmptySubsequences: false) ?? []
      guard parts.count == 2, let value = field.value(String(parts[0])),
        let mask = field.value(String(parts[1]))
      else {
        let example =
          field.valueType == .macAddress ? "02:00:00:00:00:00/02:00:00:00:00:00" : "100/0xfff"
        reader.problems.report(node, isNot: "a value and a mask such as \(example)")
        return nil
      }
      return Condition(field, .masked(value & mask, mask: mask))
    }
  }

  /// The bits that a match of flags names.
  func bits(_ node: Node, _ field: Field, _ reader: inout PolicyReader) -> UInt32? {
    switch field.valueType {
    case .address, .macAddress, .blob:
      reader.problems.report(
        "found a match of flags, expected equal, range or prefix: \(field.name) is an address",
        at: node.position)
      return nil
    case .integer:
      return SchemaValue<UInt32>.number(0...(.max), of: "a mask").read(node, &reader)
    case .flags:
      let nodes: [Node]
      if case .sequence(let list) = node { nodes = Array(list) } else { nodes = [node] }
      var bits: UInt32 = 0
      for node in nodes {
        guard let flag = field.flagNames.first(where: { $0.name == node.plainText }) else {
          reader.problems.report(node, isNot: field.expected)
          return nil
        }
        bits |= flag.bit
      }
      return bits
    }
  }

  private func isRightFamily(
    _ address: IPAddress, _ layer: Layer?, _ node: Node, _ reader: inout PolicyReader
  ) -> Bool {
    guard let layer, !layer.indicatesFrames, (address.version == .v6) != layer.isIPv6 else {
      return true
    }
    reader.problems.report(
      node, isNot: "an IPv\(layer.isIPv6 ? 6 : 4) address, as the packets of \(layer.name) have")
    return false
  }
}
