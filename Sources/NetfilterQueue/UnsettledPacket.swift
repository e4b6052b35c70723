// SPDX-License-Identifier: Apache-2.0

/// The duty to give one waiting packet its one verdict.
///
/// It cannot be copied, and each way of settling it consumes it, so a second verdict does not
/// compile; one that is dropped unsettled gets `failure`.
@safe
public struct UnsettledPacket: ~Copyable {
  /// The packet's id in its queue.
  public let id: UInt32
  /// The verdict of a packet that nobody decides.
  public let failure: Verdict
  // Safe because the queue socket, which outlives every packet of its receive loop, holds the batch.
  private let verdicts: Unmanaged<VerdictBatch>

  /// Takes on the duty for a packet just received from the queue that `verdicts` belongs to.
  public init(_ id: UInt32, verdicts: borrowing VerdictBatch, failure: Verdict) {
    self.id = id
    self.failure = failure
    unsafe self.verdicts = .passUnretained(copy verdicts)
  }

  /// Decides the packet.
  ///
  /// See `VerdictBatch.append` for `mark` and `mergeable`.
  public consuming func settle(_ verdict: Verdict, mark: UInt32? = nil, mergeable: Bool = false) {
    unsafe verdicts._withUnsafeGuaranteedRef {
      $0.append(id, verdict, mark: mark, mergeable: mergeable)
    }
    discard self
  }

  /// Decides the packet and gives it a new payload.
  public consuming func settle(_ verdict: Verdict, mark: UInt32? = nil, payload: Span<UInt8>) {
    unsafe verdicts._withUnsafeGuaranteedRef {
      $0.append(id, verdict, mark: mark, payload: payload)
    }
    discard self
  }

  /// Decides the frame and gives it a new MAC header.
  ///
  /// See `VerdictBatch.append` for `header`.
  public consuming func settle(
    _ verdict: Verdict, mark: UInt32? = nil, header: BridgedHeader
  ) {
    unsafe verdicts._withUnsafeGuaranteedRef {
      $0.append(id, verdict, mark: mark, header: header)
    }
    discard self
  }

  /// Hands the duty on to whoever keeps the packet waiting; the caller now answers for the id.
  public consuming func keepWaiting() -> UInt32 {
    let id = id
    discard self
    return id
  }

  deinit {
    unsafe verdicts._withUnsafeGuaranteedRef {
      $0.append(id, failure, mark: nil, mergeable: false)
    }
  }
}
