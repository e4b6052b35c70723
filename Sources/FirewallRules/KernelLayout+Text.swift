// SPDX-License-Identifier: Apache-2.0

// A program in nft's syntax.
extension KernelLayout {
  /// Definitions of the maps without elements, as they stand in a table.
  var nftDeclarations: [String] { maps.flatMap { $0.nftLines(elements: []) } }

  /// Maps and chains as they stand in a table; the queue chain's rule is `queueText`.
  func nftLines(queueText: String) -> [String] {
    var lines = maps.flatMap { $0.nftLines(elements: $0.elements) }
    for chain in chains {
      lines.append("  chain \(chain.name) {")
      if Self.parse(queueChain: chain.name) != nil {
        lines.append("    \(queueText)")
      } else {
        lines += chain.rules.map {
          "    " + $0.map { $0.nftText(isPlain: isPlain) }.joined(separator: " ")
        }
      }
      lines.append("  }")
    }
    return lines
  }
}

extension KernelLayout.Map {
  fileprivate func nftLines(elements: [KernelElement]) -> [String] {
    let types = fields.map { $0.nftType(family) }.joined(separator: " . ")
    var lines = [
      "  \(isVerdictMap ? "map" : "set") \(name) {",
      "    type \(types)\(isVerdictMap ? " : verdict" : "")",
    ]
    if !isExact { lines.append("    flags interval") }
    lines.append("    counter")
    if !elements.isEmpty {
      lines.append("    elements = {")
      lines += elements.map { "      \(nftText($0))," }
      lines.append("    }")
    }
    return lines + ["  }"]
  }

  private func nftText(_ element: KernelElement) -> String {
    let key = zip(fields, element.ranges).map { field, range in
      let low = field.nftText(range.lowerBound, family)
      guard range.lowerBound != range.upperBound else { return low }
      return "\(low)-\(field.nftText(range.upperBound, family))"
    }.joined(separator: " . ")
    let verdict = isVerdictMap ? " : \(element.verdict.ofElement.nftText)" : ""
    return "\(key) comment \"\(element.comment)\"\(verdict)"
  }
}

extension NFTransaction.Verdict {
  fileprivate var nftText: String {
    switch self {
    case .drop: "drop"
    case .return: "return"
    case .jump(let chain): "jump \(chain)"
    case .goto(let chain): "goto \(chain)"
    }
  }
}

extension NFTransaction.Step {
  /// The step in nft's syntax; empty for those that stand in queue rules.
  fileprivate func nftText(isPlain: Bool) -> String {
    switch self {
    case .ifMarked(let mask): "meta mark & \(hexadecimal(mask)) != 0"
    case .ifReleased(let mark, let family):
      "ct mark & \(hexadecimal(mark.mask)) == \(hexadecimal(mark.value)) "
        + "ct status & (snat | dnat) == 0 meta l4proto != \(family.icmp)"
    case .ifFragment: "ip frag-off & 0x3fff != 0"
    case .verdict(let verdict): verdict.nftText
    case .lookUp(let fields, let family, let map, let isVerdictMap):
      fields.map { $0.nftExpression(family, isPlain: isPlain) }.joined(separator: " . ")
        + (isVerdictMap ? " vmap @\(map)" : " @\(map)")
    case .matchFamily, .unlessMark, .counter, .queue, .queueTarget: ""
    }
  }
}

extension KernelField {
  fileprivate func nftType(_ family: Families) -> String {
    switch self {
    case .sourceAddress, .destinationAddress: family == .ipv6 ? "ipv6_addr" : "ipv4_addr"
    case .transportProtocol, .nextHeader: "inet_proto"
    case .sourcePort, .destinationPort: "inet_service"
    case .icmpType: family == .ipv6 ? "icmpv6_type" : "icmp_type"
    case .icmpCode: family == .ipv6 ? "icmpv6_code" : "icmp_code"
    case .inputDevice, .outputDevice: "iface_index"
    }
  }

  fileprivate func nftExpression(_ family: Families, isPlain: Bool) -> String {
    let (ip, icmp) = family == .ipv6 ? ("ip6", "icmpv6") : ("ip", "icmp")
    return switch self {
    case .sourceAddress: "\(ip) saddr"
    case .destinationAddress: "\(ip) daddr"
    // nft 1.0 turns `meta l4proto` around as two bytes before it looks up ranges, which Linux 6.12
    // refuses.
    case .transportProtocol:
      family == .ipv4 ? "ip protocol" : isPlain ? "ip6 nexthdr" : "meta l4proto"
    case .nextHeader: "ip6 nexthdr"
    case .sourcePort: "th sport"
    case .destinationPort: "th dport"
    case .icmpType: "\(icmp) type"
    case .icmpCode: "\(icmp) code"
    case .inputDevice: "meta iif"
    case .outputDevice: "meta oif"
    }
  }

  fileprivate func nftText(_ value: UInt128, _ family: Families) -> String {
    guard self == .sourceAddress || self == .destinationAddress else { return "\(value)" }
    if family == .ipv4 {
      return [24, 16, 8, 0].map { "\(UInt8(truncatingIfNeeded: value >> $0))" }
        .joined(separator: ".")
    }
    return stride(from: 112, through: 0, by: -16).map {
      String(UInt16(truncatingIfNeeded: value >> UInt128($0)), radix: 16)
    }.joined(separator: ":")
  }
}
