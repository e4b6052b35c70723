// SPDX-License-Identifier: Apache-2.0

/// The numbers that WFP's functions answer with.
///
/// Mirrors the `STATUS_FWP_*` values, and the few of the system's own that WFP uses.
public enum WFPStatus: UInt32, Sendable, CaseIterable {
  case success = 0
  case objectNameExists = 0x4000_0000
  case deviceBusy = 0x8000_0011
  case unsuccessful = 0xc000_0001
  case invalidParameter = 0xc000_000d
  case accessDenied = 0xc000_0022
  case calloutNotFound = 0xc022_0001
  case conditionNotFound = 0xc022_0002
  case filterNotFound = 0xc022_0003
  case layerNotFound = 0xc022_0004
  case providerNotFound = 0xc022_0005
  case providerContextNotFound = 0xc022_0006
  case sublayerNotFound = 0xc022_0007
  case notFound = 0xc022_0008
  case alreadyExists = 0xc022_0009
  case inUse = 0xc022_000a
  case dynamicSessionInProgress = 0xc022_000b
  case wrongSession = 0xc022_000c
  case noTransactionInProgress = 0xc022_000d
  case transactionInProgress = 0xc022_000e
  case transactionAborted = 0xc022_000f
  case sessionAborted = 0xc022_0010
  case timeout = 0xc022_0012
  case incompatibleLayer = 0xc022_0014
  case lifetimeMismatch = 0xc022_0016
  case builtInObject = 0xc022_0017
  case tooManyCallouts = 0xc022_0018
  case nullPointer = 0xc022_001c
  case invalidFlags = 0xc022_001e
  case invalidRange = 0xc022_0020
  case invalidActionType = 0xc022_0024
  case invalidWeight = 0xc022_0025
  case matchTypeMismatch = 0xc022_0026
  case typeMismatch = 0xc022_0027
  case outOfBounds = 0xc022_0028
  case reserved = 0xc022_0029
  case duplicateCondition = 0xc022_002a
  case actionIncompatibleWithLayer = 0xc022_002c
  case invalidObjectParameter = 0xc022_0035
  case tooManySublayers = 0xc022_0036
  case calloutNotificationFailed = 0xc022_0037
}

extension PolicyError {
  /// The number that WFP has for it.
  public var status: WFPStatus {
    switch self {
    case .unknownSublayer: .sublayerNotFound
    case .unknownCallout: .calloutNotFound
    case .unknownProviderContext: .providerContextNotFound
    case .unknownProvider: .providerNotFound
    case .duplicate: .alreadyExists
    case .fieldNotAtLayer, .fieldUnavailable: .conditionNotFound
    case .typeMismatch: .typeMismatch
    case .matchTypeMismatch: .matchTypeMismatch
    case .invalidRange: .invalidRange
    case .invalidFlags: .invalidFlags
    case .layerHasNoPackets: .incompatibleLayer
    case .inspectionOnly: .actionIncompatibleWithLayer
    case .foreignObject: .accessDenied
    }
  }
}
