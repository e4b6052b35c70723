// SPDX-License-Identifier: Apache-2.0

extension MarkScan {
  /// Bits that well-known programs use as masks, whether or not they run here now.
  ///
  /// 0x2000 portmap, 0x4000 and 0x8000 Kubernetes, 0x00ff0000 Tailscale and OpenWrt's pbr,
  /// 0x70000000 zapret, and 0xf for the small numbers that people write by hand.
  static let wellKnown: UInt32 = 0x2000 | 0xc000 | 0x00ff_0000 | 0x7000_0000 | 0xf

  /// A run of up to 16 bits of the conntrack mark that no use of either mark touches.
  ///
  /// Rules copy one mark to the other. Nil if no run of 8 is free.
  public static func freeConnectionField(in uses: [MarkUse]) -> UInt32? {
    let all = uses.map { MarkUse(mask: $0.mask, origin: $0.origin, rule: $0.rule) }
    return freeField(in: all, minimumBits: 8, maximumBits: 16)
  }

  /// The uses of either mark that share bits with `mask`.
  public static func connectionConflicts(of mask: UInt32, in uses: [MarkUse]) -> [MarkUse] {
    uses.filter { $0.mask & mask != 0 }
  }

  /// The field of the mark to put handles in: the widest run of bits that no packet use touches.
  ///
  /// Among runs of the same width the one wins that has the fewest well-known bits; among those, the
  /// highest. On a host without marks that is `0x0ffffff0`.
  ///
  /// - Parameters:
  ///   - uses: What ``scan(excluding:)`` found.
  ///   - minimumBits: The least width that will do, 1 to 32.
  ///   - maximumBits: The greatest width that is of use; a wider run is cut to it.
  /// - Returns: The mask, or nil if no run is wide enough. One unmasked use takes all bits.
  public static func freeField(
    in uses: [MarkUse], minimumBits: Int = 8, maximumBits: Int = 24
  ) -> UInt32? {
    let used = uses.reduce(UInt32(0)) { $1.subject == .packet ? $0 | $1.mask : $0 }
    let least = max(1, minimumBits)
    let most = min(32, maximumBits)
    guard least <= most else { return nil }
    for width in stride(from: most, through: least, by: -1) {
      let run = width == 32 ? UInt32.max : (UInt32(1) << UInt32(width)) - 1
      let free = (0...(32 - width)).map { run << UInt32($0) }.filter { $0 & used == 0 }
      let best = free.min { left, right in
        let leftKnown = (left & wellKnown).nonzeroBitCount
        let rightKnown = (right & wellKnown).nonzeroBitCount
        return leftKnown != rightKnown ? leftKnown < rightKnown : left > right
      }
      if let best { return best }
    }
    return nil
  }
}
