// SPDX-License-Identifier: Apache-2.0

/// The kernel's functions by their addresses, from /proc/kallsyms.
public enum KernelSymbols {
  /// The function that holds an address, as `nf_hook_slow+0xb6`; nil where it cannot be told, as
  /// without CAP_SYSLOG.
  ///
  /// Of the address its low half is enough: the kernel's code lies in 4 GiB, and `_stext` is in them.
  /// Reads a file of some megabytes, so keep what it returns.
  public static func name(near place: UInt32) -> String? {
    var search = Search(place: place)
    var line: [UInt8] = []
    let isThere = try? KernelFile.chunks(of: "/proc/kallsyms") { chunk in
      for byte in chunk {
        if byte == UInt8(ascii: "\n") {
          search.look(at: line)
          line.removeAll(keepingCapacity: true)
        } else {
          line.append(byte)
        }
      }
      return true
    }
    guard isThere == true, let found = search.found else { return nil }
    return "\(found.name)+0x\(String(place - found.address, radix: 16))"
  }

  /// The search for the last function that begins at or before a place.
  struct Search {
    let place: UInt32
    private(set) var found: (address: UInt32, name: String)?
    /// The digits with which the addresses of the kernel's code begin.
    private var upperHalf: [UInt8] = []

    init(place: UInt32) { self.place = place }

    /// Looks at `ffffffff81a00000 T name`.
    mutating func look(at line: [UInt8]) {
      guard line.count > 19, line[16] == UInt8(ascii: " "), "tTwW".utf8.contains(line[17]) else {
        return
      }
      if upperHalf.isEmpty {
        guard line[19...].elementsEqual("_stext".utf8) else { return }
        upperHalf = Array(line[..<8])
      }
      guard line.starts(with: upperHalf), let address = Self.number(line[8..<16]), address <= place,
        address > found?.address ?? 0
      else { return }
      let name = line[19...].prefix { $0 > UInt8(ascii: " ") }
      found = (address, String(decoding: name, as: UTF8.self))
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> UInt32? {
      var value: UInt32 = 0
      for digit in digits {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt32(digit & 15)
        case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt32(digit & 15 + 9)
        default: return nil
        }
      }
      return value
    }
  }
}
