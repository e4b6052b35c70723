// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketViews

extension Condition {
  /// The condition as people read it: "ip-remote-port 53-5353".
  var policyText: String {
    switch match {
    case .equal(let value): "\(field.name) \(text(value))"
    case .notEqual(let value): "\(field.name) not \(text(value))"
    case .greater(let value): "\(field.name) above \(text(value))"
    case .less(let value): "\(field.name) below \(text(value))"
    case .greaterOrEqual(let value): "\(field.name) from \(text(value))"
    case .lessOrEqual(let value): "\(field.name) up to \(text(value))"
    case .range(let low, let high): "\(field.name) \(text(low))-\(text(high))"
    case .prefix(let prefix): "\(field.name) \(prefix)"
    case .notPrefix(let prefix): "\(field.name) not \(prefix)"
    case .masked(let value, let mask): "\(field.name) \(masked(value, mask))"
    case .flagsAllSet(let bits): "\(field.name) all of \(names(bits))"
    case .flagsAnySet(let bits): "\(field.name) any of \(names(bits))"
    case .flagsNoneSet(let bits): "\(field.name) none of \(names(bits))"
    case .blob(let match): "\(field.name) \(text(match))"
    }
  }

  private func text(_ match: BlobMatch) -> String {
    func path(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
    return switch match {
    case .equal(let bytes): path(bytes)
    case .notEqual(let bytes): "not \(path(bytes))"
    case .prefix(let bytes): "\(path(bytes))…"
    case .notPrefix(let bytes): "not \(path(bytes))…"
    case .greater(let bytes): "above \(path(bytes))"
    case .less(let bytes): "below \(path(bytes))"
    case .greaterOrEqual(let bytes): "from \(path(bytes))"
    case .lessOrEqual(let bytes): "up to \(path(bytes))"
    case .range(let low, let high): "\(path(low)) to \(path(high))"
    }
  }

  private func text(_ value: UInt128) -> String {
    switch field.valueType {
    case .flags: return names(UInt32(truncatingIfNeeded: value))
    case .integer:
      return field.numberNames.first { $0.number == value }?.name ?? "\(value)"
    case .macAddress:
      return "\(MACAddress(rawValue: UInt64(truncatingIfNeeded: value)))"
    case .address:
      // The address alone does not tell its family; no IPv6 address of use is below 2^32.
      guard value > 0xffff_ffff else {
        return "\(IPAddress(v4: UInt32(truncatingIfNeeded: value)))"
      }
      return "\(IPAddress(high: UInt64(value >> 64), low: UInt64(truncatingIfNeeded: value)))"
    case .blob: return "\(value)"
    }
  }

  private func masked(_ value: UInt128, _ mask: UInt128) -> String {
    if field.valueType == .address { return "\(text(value))/\(text(mask))" }
    guard field.valueType == .macAddress else {
      return "\(text(value))/0x" + String(mask, radix: 16)
    }
    let length = mask.nonzeroBitCount
    let isPrefix = Condition(field, within: MACAddress(rawValue: .max), length: length).match
    if case .masked(mask, _) = isPrefix { return "\(text(value))/\(length)" }
    return "\(text(value))/\(text(mask))"
  }

  private func names(_ bits: UInt32) -> String {
    guard field.valueType == .flags else { return "0x" + String(bits, radix: 16) }
    let names = field.flagNames.filter { bits & $0.bit != 0 }.map(\.name)
    return "[\(names.joined(separator: ", "))]"
  }
}
