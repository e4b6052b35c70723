// SPDX-License-Identifier: Apache-2.0

/// Why a flow context could not be put on or taken off.
public enum FlowError: Error, Sendable, Hashable, CaseIterable, CustomStringConvertible {
  /// The context is 0, which stands for none.
  ///
  /// `STATUS_INVALID_PARAMETER`.
  case invalidParameter
  /// The callout has one on this flow at this layer already: remove it first.
  ///
  /// `STATUS_OBJECT_NAME_EXISTS`.
  case objectNameExists
  /// The callout has none on this flow at this layer.
  ///
  /// `STATUS_UNSUCCESSFUL`.
  case unsuccessful
  /// The packet is of no flow that is followed: a fragment, an ICMP message that is no echo, a flow
  /// for which there was no room; or no callout of the policy `followsFlows`.
  ///
  /// `STATUS_NOT_FOUND`.
  case noFlow
  /// There are as many contexts as there is room for.
  ///
  /// `STATUS_INSUFFICIENT_RESOURCES`.
  case tooManyContexts

  /// The NTSTATUS value.
  public var status: UInt32 {
    switch self {
    case .invalidParameter: 0xc000_000d
    case .objectNameExists: 0x4000_0000
    case .unsuccessful: 0xc000_0001
    case .noFlow: 0xc000_0225
    case .tooManyContexts: 0xc000_009a
    }
  }

  /// One line that says what to do about it.
  public var description: String {
    switch self {
    case .invalidParameter: "a flow context must not be 0"
    case .objectNameExists: "the flow has a context of this callout at this layer; remove it first"
    case .unsuccessful: "the flow has no context of this callout at this layer"
    case .noFlow: "the packet is of no flow that is followed"
    case .tooManyContexts: "there is no room for another flow context"
    }
  }
}
