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

  /// Whether the copies of packets that are tagged from now on are counted, so that each handle
  /// lives until the last of them has gone.
  ///
  /// That begins a moment after the first tag, on kernels that let their functions be followed.
  public var countsCopies: Bool {
    board.withLock { $0.observer?.bearers?.isCounting ?? false }
  }

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
    details.place = places.withLock { $0[event.place] } ?? findPlace(event.place)
    return details
  }

  private func findPlace(_ place: UInt32) -> String {
    let name = KernelSymbols.name(near: place) ?? "0x\(String(place, radix: 16))"
    places.withLock { $0[place] = name }
    return name
  }
}
