// SPDX-License-Identifier: Apache-2.0

internal import CalloutLifecycle
internal import Kernel
public import PacketTagging
internal import Synchronization

/// What the numbers of an event stand for on this host; nil where there is nothing to tell.
public struct EventDetails: Sendable, Equatable {
  /// The name of the device that took the packet, its index if it has gone.
  public var device: String?
  /// Why the kernel dropped the packet, for example `NETFILTER_DROP`.
  ///
  /// Corresponds to `enum skb_drop_reason`.
  public var dropReason: String?
  /// The kernel's function that dropped it and the offset in it, for example `nf_hook_slow+0xb6`;
  /// the low half of its address where the kernel's symbols cannot be read.
  public var place: String?

  /// Nothing to tell.
  public init() {}
}

extension Bridge {
  /// Whether the kernel itself tells what becomes of packets; if not, the verdicts do.
  public var isObserved: Bool { board.withLock { $0.observer } != nil }

  /// Puts names to the numbers of an event.
  ///
  /// The first event from a place takes some milliseconds.
  public func details(of event: LifeEvent) -> EventDetails {
    var details = EventDetails()
    if event.device != 0 {
      details.device = NetworkDevice.name(event.device) ?? "\(event.device)"
    }
    guard event.place != 0 else { return details }
    details.dropReason = DropReasons.ofKernel.name(of: event.dropReason)
    details.place = places.withLock { places in
      if let known = places[event.place] { return known }
      let name = KernelSymbols.name(near: event.place) ?? "0x\(String(event.place, radix: 16))"
      places[event.place] = name
      return name
    }
    return details
  }
}
