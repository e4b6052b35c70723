// SPDX-License-Identifier: Apache-2.0

internal import CalloutBridge
internal import CalloutEngine
internal import PacketTagging

/// Who gives out tags; the bridge, or a test's stand-in.
protocol TagSource {
  func makeTag(named name: String, onCopy: CopyDisposition) -> ContextTag
}

extension Bridge: TagSource {}

/// The callouts of the policy in force, with their tags and counters.
///
/// A value: a reload makes the next one from it, which replaces it only once its policy is in force.
struct CalloutRoster: Sendable {
  /// One callout.
  struct Entry: Sendable {
    var kind: CalloutSpec.Kind
    var type: String
    var tag: ContextTag?
    var board: TallyBoard
    var registration: CalloutRegistration
  }

  private(set) var entries: [String: Entry] = [:]

  /// The callouts of a new policy.
  ///
  /// Those whose name and description have not changed keep their
  /// tags and counters, so that their contexts live on.
  func following(
    _ specs: [CalloutSpec], tags: some TagSource, sink: @escaping InspectCallout.Sink
  ) -> CalloutRoster {
    var next = CalloutRoster()
    for spec in specs {
      if let entry = entries[spec.name], entry.kind == spec.kind {
        next.entries[spec.name] = entry
      } else {
        next.entries[spec.name] = Self.makeEntry(spec, tags, sink)
      }
    }
    return next
  }

  private static func makeEntry(
    _ spec: CalloutSpec, _ tags: some TagSource, _ sink: @escaping InspectCallout.Sink
  ) -> Entry {
    let board = TallyBoard()
    var tag: ContextTag?
    let registration: CalloutRegistration
    switch spec.kind {
    case .tag(let context, let onCopy, let packetsPerFlow):
      let new = tags.makeTag(named: spec.name, onCopy: onCopy)
      tag = new
      registration = TagCallout.registration(
        name: spec.name,
        TagCallout.Configuration(context: context, tag: new, packetsPerFlow: packetsPerFlow),
        counting: board)
    case .inspect(let configuration):
      registration = InspectCallout.registration(
        name: spec.name, configuration, counting: board, sink: sink)
    case .delay(let configuration):
      registration = DelayCallout.registration(name: spec.name, configuration, counting: board)
    case .rewrite(let configuration):
      registration = RewriteCallout.registration(name: spec.name, configuration, counting: board)
    case .rewriteMAC(let configuration):
      registration = FrameRewriteCallout.registration(
        name: spec.name, configuration, counting: board)
    case .inspectARP(let configuration):
      registration = ARPInspectCallout.registration(
        name: spec.name, configuration, counting: board, sink: sink)
    case .generate: registration = GenerateCallout.registration(name: spec.name)
    case .permit: registration = PermitCallout.registration(name: spec.name, counting: board)
    case .block: registration = BlockCallout.registration(name: spec.name, counting: board)
    }
    return Entry(
      kind: spec.kind, type: spec.type, tag: tag, board: board, registration: registration)
  }

  /// The file's policy with these callouts.
  func policy(of file: PolicyFile) -> FilterPolicy {
    FilterPolicy(
      providers: file.providers.map(\.provider), sublayers: file.sublayers.map(\.sublayer),
      callouts: file.callouts.compactMap { entries[$0.name]?.registration },
      filters: file.filters.map(\.filter),
      providerContexts: file.providerContexts.map(\.context))
  }
}
