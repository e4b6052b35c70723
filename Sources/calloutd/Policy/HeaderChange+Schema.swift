// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketViews

extension HeaderChange {
  /// The keys of a rewrite callout's `set`.
  static var schema: PolicySchema<HeaderChange> {
    let address = SchemaValue<IPAddress>.address.optional
    let port = SchemaValue<UInt16>.number(0...65535, of: "a port").optional
    return PolicySchema([
      SchemaKey(
        "ip-source-address", address, into: \.sourceAddress, default: "", example: "10.0.0.1",
        "the sender's address"),
      SchemaKey(
        "ip-destination-address", address, into: \.destinationAddress, default: "",
        example: "10.0.0.7", "the receiver's address"),
      SchemaKey(
        "ip-local-address", address, into: \.localAddress, default: "", example: "10.0.0.1",
        "this host's address"),
      SchemaKey(
        "ip-remote-address", address, into: \.remoteAddress, default: "", example: "10.0.0.7",
        "the peer's address"),
      SchemaKey(
        "ip-source-port", port, into: \.sourcePort, default: "", example: "5353",
        "the sender's port"),
      SchemaKey(
        "ip-destination-port", port, into: \.destinationPort, default: "", example: "8053",
        "the receiver's port"),
      SchemaKey(
        "ip-local-port", port, into: \.localPort, default: "", example: "5353",
        "this host's port"),
      SchemaKey(
        "ip-remote-port", port, into: \.remotePort, default: "", example: "8053",
        "the peer's port"),
      SchemaKey(
        "ttl", SchemaValue<UInt8>.number(0...255).optional, into: \.timeToLive, default: "",
        example: "64", "time to live or hop limit"),
      SchemaKey(
        "dscp", SchemaValue<UInt8>.number(0...63).optional, into: \.dscp, default: "",
        example: "46", "differentiated services code point"),
    ])
  }

  /// The addresses that are written.
  var addresses: [IPAddress] {
    [sourceAddress, destinationAddress, localAddress, remoteAddress].compactMap { $0 }
  }
}
