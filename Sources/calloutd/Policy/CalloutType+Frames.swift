// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketViews
internal import Yams

extension FrameChange {
  /// The keys of a rewrite-mac callout's `set`.
  static var schema: PolicySchema<FrameChange> {
    let address = SchemaValue<MACAddress>.macAddress.optional
    return PolicySchema([
      SchemaKey(
        "mac-source-address", address, into: \.source, default: "", example: "02:00:00:00:00:01",
        "the sender's address"),
      SchemaKey(
        "mac-destination-address", address, into: \.destination, default: "",
        example: "02:00:00:00:00:02", "the receiver's address"),
      SchemaKey(
        "mac-local-address", address, into: \.local, default: "", example: "02:00:00:00:00:01",
        "this host's address"),
      SchemaKey(
        "mac-remote-address", address, into: \.remote, default: "", example: "02:00:00:00:00:02",
        "the peer's address"),
      SchemaKey(
        "ether-type", SchemaValue<EtherType>.etherType.optional, into: \.etherType, default: "",
        example: "0x88b5", "what the frame says it carries"),
      SchemaKey(
        "vlan", SchemaValue<FrameChange.Tag>.tagChange.optional, into: \.tag, default: "",
        example: "push 100", "what is done with VLAN tags; numbers are whole control fields"),
    ])
  }

  /// What is wrong with it, nil if nothing is.
  var problem: String? {
    if let sender = [source, local, remote].compactMap({ $0 }).first(where: { $0.isMulticast }) {
      return "found the group \(sender) for a station, expected the address of one"
    }
    return self == FrameChange()
      ? "found no value that could be written, expected at least one key" : nil
  }
}

extension SchemaValue where Value == FrameChange.Tag {
  /// What `vlan` takes.
  static var tagChange: SchemaValue {
    .word("pop, or one of push, push-service and set with a number up to 65535") { text in
      let words = text.split(separator: " ")
      if words == ["pop"] { return .pop }
      guard words.count == 2, let number = UInt128(policyNumber: String(words[1])),
        let control = UInt16(exactly: number)
      else { return nil }
      switch words[0] {
      case "push": return .push(VLANTag(.vlan, control: control))
      case "push-service": return .push(VLANTag(.serviceVLAN, control: control))
      case "set": return .set(control: control)
      default: return nil
      }
    }
  }
}

extension CalloutType {
  /// Writes over MAC headers.
  static var rewriteMAC: CalloutType {
    CalloutType(
      name: "rewrite-mac", purpose: "writes over fields of frames' MAC headers",
      keys: [
        SchemaKey(
          "set", FrameChange.schema, into: \.frameChange, default: nil,
          "the new values; at least one"),
        SchemaKey(
          "on-refused", .choice([("permit", false), ("block", true)]), into: \.blocksRefused,
          default: "permit", "what happens to frames that cannot be changed"),
      ],
      check: { draft in draft.frameChange.problem.map { ("set", $0) } },
      finish: {
        .rewriteMAC(
          FrameRewriteCallout.Configuration($0.frameChange, blocksRefused: $0.blocksRefused))
      })
  }

  /// Inspects ARP.
  static var inspectARP: CalloutType {
    let rate = SchemaValue<EventRate>.rate.optional.or("none", nil)
    return CalloutType(
      name: "arp-inspect", purpose: "finds ARP packets whose senders lie, and blocks them",
      keys: [
        SchemaKey(
          "bindings", listOf: readBinding, schema: [bindingSchema.lines], into: \.arp.bindings,
          identity: { "\($0.address)" }, "whose addresses are known; on every interface and VLAN"),
        SchemaKey(
          "learn", .boolean, into: \.arp.learns, default: "true",
          "whether the owners of other addresses are learned from what is heard first"),
        SchemaKey(
          "capacity", .number(8...1_048_576), into: \.arp.capacity, default: "4096",
          "how many are learned at most"),
        SchemaKey(
          "keep", .duration(), into: \.arp.keeps, default: "5m",
          "how long one is kept after it was heard of last"),
        SchemaKey(
          "rate", rate, into: \.arp.rate, default: "none", "how many each sender may send"),
        SchemaKey(
          "on-violation", .choice([("block", true), ("permit", false)]), into: \.arp.blocks,
          default: "block", "what happens to packets that are wrong; all others go on"),
        SchemaKey(
          "log", rate, into: \.arp.log, default: "none", "how many wrong ones are logged at most"),
      ],
      finish: { .inspectARP($0.arp) })
  }

  /// A binding while it is read.
  private struct BindingDraft {
    var address: IPAddress?
    var owner: MACAddress?
  }

  private static var bindingSchema: PolicySchema<BindingDraft> {
    PolicySchema([
      SchemaKey(
        "address", SchemaValue<IPAddress>.address.optional, into: \.address, default: nil,
        example: "10.0.0.1", "an IPv4 address"),
      SchemaKey(
        "mac", SchemaValue<MACAddress>.macAddress.optional, into: \.owner, default: nil,
        example: "02:00:00:00:00:01", "whose it is"),
    ])
  }

  private static func readBinding(_ node: Node, _ reader: inout PolicyReader) -> ARPBinding? {
    var draft = BindingDraft()
    reader.read(node, by: bindingSchema, into: &draft)
    guard let address = draft.address, let owner = draft.owner else { return nil }
    guard address.version == .v4 else {
      reader.problems.report(
        "found \(address), expected an IPv4 address",
        at: (reader.value(of: "address", in: node) ?? node).position)
      return nil
    }
    return ARPBinding(address, owner)
  }
}
