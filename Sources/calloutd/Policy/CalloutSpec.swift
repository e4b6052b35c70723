// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import PacketTagging
internal import Yams

/// A callout as a policy file describes it.
struct CalloutSpec: Sendable {
  /// What it does.
  enum Kind: Sendable, Hashable {
    case tag(context: TagCallout.Context, onCopy: CopyDisposition, packetsPerFlow: UInt32? = nil)
    case inspect(InspectCallout.Configuration)
    case delay(DelayCallout.Configuration)
    case rewrite(RewriteCallout.Configuration)
    case rewriteMAC(FrameRewriteCallout.Configuration)
    case inspectARP(ARPInspectCallout.Configuration)
    case generate(Generation)
    case permit
    case block
  }

  var position: SourcePosition
  var name: String
  var type: String
  var kind: Kind

  /// Reads one entry of `callouts`; its type decides which keys it has.
  static func read(_ node: Node, _ reader: inout PolicyReader) -> CalloutSpec? {
    guard case .mapping = node else {
      reader.problems.report(node, isNot: "a mapping with the keys name and type")
      return nil
    }
    let types = CalloutType.all
    guard let typeNode = reader.value(of: "type", in: node) else {
      reader.problems.report(
        "the key \"type\" is missing, expected one of \(CalloutType.names)", at: node.position)
      return nil
    }
    guard let type = types.first(where: { $0.name == typeNode.plainText }) else {
      reader.problems.report(typeNode, isNot: "a callout type: \(CalloutType.names)")
      return nil
    }
    var draft = CalloutDraft()
    let count = reader.problems.count
    reader.read(node, by: type.schema, into: &draft)
    if reader.problems.count == count, let problem = type.check(draft) {
      reader.problems.report(
        problem.message,
        at: (reader.value(of: problem.key, in: node) ?? node).position)
    }
    guard !draft.name.isEmpty else { return nil }
    return CalloutSpec(
      position: reader.value(of: "name", in: node)?.position ?? node.position, name: draft.name,
      type: type.name, kind: type.finish(draft))
  }
}

/// Everything that a callout of some type can say.
struct CalloutDraft {
  var name = ""
  var type = ""
  var context = TagCallout.Context.flowHash
  var onCopy = CopyDisposition.share
  var log: EventRate?
  var packetsPerFlow: UInt32?
  var time = Duration.zero
  var thenPermits = true
  var change = HeaderChange()
  var blocksRefused = false
  var frameChange = FrameChange()
  var arp = ARPInspectCallout.Configuration()
  var generation = Generation()
}

/// One type of callout: its keys, and what they make.
struct CalloutType {
  let name: String
  let purpose: String
  let keys: [SchemaKey<CalloutDraft>]
  var check: (CalloutDraft) -> (key: String, message: String)? = { _ in nil }
  let finish: (CalloutDraft) -> CalloutSpec.Kind

  /// All keys, the common ones first.
  var schema: PolicySchema<CalloutDraft> {
    PolicySchema(
      [
        SchemaKey(
          "name", .text("the callout's name"), into: \.name, default: nil,
          example: "\(name)-example", "unique among callouts"),
        SchemaKey(
          "type", .choice([(name, name)]), into: \.type, default: nil, example: name, purpose),
      ] + keys)
  }

  /// Its part of the printed schema.
  var lines: [String] { schema.lines }

  static var names: String { all.map(\.name).joined(separator: ", ") }

  private static var packetsPerFlow: SchemaKey<CalloutDraft> {
    SchemaKey(
      "packets-per-flow", SchemaValue<UInt32>.number(1...1_000_000).optional.or("all", nil),
      into: \.packetsPerFlow, default: "all",
      "after so many it permits the rest of the flow unseen")
  }

  private static var permitOrBlock: SchemaValue<Bool> {
    .choice([("permit", true), ("block", false)])
  }

  /// The types that there are.
  static var all: [CalloutType] {
    [
      CalloutType(
        name: "tag", purpose: "puts a context on each packet",
        keys: [
          SchemaKey(
            "context", .context, into: \.context, default: "flow-hash", "which context"),
          SchemaKey(
            "on-copy", .copyDisposition, into: \.onCopy, default: "share",
            "what becomes of it when the kernel copies the packet"),
          packetsPerFlow,
        ],
        finish: {
          .tag(context: $0.context, onCopy: $0.onCopy, packetsPerFlow: $0.packetsPerFlow)
        }),
      CalloutType(
        name: "inspect", purpose: "counts packets and logs some",
        keys: [
          SchemaKey(
            "log", SchemaValue<EventRate>.rate.optional.or("none", nil), into: \.log,
            default: "none", "how many packets are logged at most"),
          packetsPerFlow,
        ],
        finish: {
          .inspect(InspectCallout.Configuration(log: $0.log, packetsPerFlow: $0.packetsPerFlow))
        }),
      CalloutType(
        name: "delay", purpose: "keeps each packet waiting",
        keys: [
          SchemaKey(
            "for", .duration(), into: \.time, default: nil, example: "200ms", "how long"),
          SchemaKey(
            "then", permitOrBlock, into: \.thenPermits, default: "permit", "what happens then"),
        ],
        finish: { .delay(DelayCallout.Configuration(for: $0.time, thenPermits: $0.thenPermits)) }),
      CalloutType(
        name: "rewrite", purpose: "writes over header fields",
        keys: [
          SchemaKey(
            "set", HeaderChange.schema, into: \.change, default: nil,
            "the new values; at least one"),
          SchemaKey(
            "on-refused", .choice([("permit", false), ("block", true)]), into: \.blocksRefused,
            default: "permit", "what happens to packets that cannot be changed"),
        ],
        check: {
          $0.change == HeaderChange()
            ? ("set", "found no value that could be written, expected at least one key") : nil
        },
        finish: {
          .rewrite(RewriteCallout.Configuration($0.change, blocksRefused: $0.blocksRefused))
        }),
      rewriteMAC, inspectARP, generate,
      CalloutType(
        name: "permit", purpose: "permits each packet", keys: [], finish: { _ in .permit }),
      CalloutType(
        name: "block", purpose: "blocks each packet", keys: [], finish: { _ in .block }),
    ]
  }
}
