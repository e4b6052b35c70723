// SPDX-License-Identifier: Apache-2.0

extension SavedRule {
  /// The uses of marks in the words of the rule; an operand not understood counts as all bits.
  var markUses: [(mask: UInt32, subject: MarkUse.Subject)] {
    var uses: [(mask: UInt32, subject: MarkUse.Subject)] = []
    let target = self.target
    var module = ""
    for (index, word) in words.enumerated() {
      let next = words.indices.contains(index + 1) ? words[index + 1] : ""
      let mark = parseMark(next)
      switch word {
      case "-m":
        module = next
      case "--mark":
        uses.append((mark?.mask ?? .max, module == "connmark" ? .connection : .packet))
      case "--set-mark", "--set-xmark":
        let written = mark.map { $0.mask | $0.value } ?? .max
        uses.append((written, target == "CONNMARK" ? .connection : .packet))
      case "--or-mark", "--xor-mark":
        uses.append((mark?.value ?? .max, target == "CONNMARK" ? .connection : .packet))
      case "--and-mark":
        uses.append(
          (mark.map { ~$0.value } ?? .max, target == "CONNMARK" ? .connection : .packet))
      case "--save-mark", "--restore-mark":
        uses.append((savedMask(isRestore: word == "--restore-mark"), .packet))
      case "--tproxy-mark", "--on-ip-mark":
        uses.append((mark.map { $0.mask | $0.value } ?? .max, .packet))
      case "--restore-skmark", "--map-mark":
        uses.append((.max, .packet))
      default:
        break
      }
    }
    return uses.filter { $0.mask != 0 }
  }

  /// The bits of packet marks that CONNMARK moves: `--mask`, or `--nfmask` and `--ctmask`.
  private func savedMask(isRestore: Bool) -> UInt32 {
    if let mask = value(of: "--mask") { return parseNumber(mask) ?? .max }
    guard let packetMask = value(of: "--nfmask") else { return .max }
    let read = parseNumber(packetMask) ?? .max
    guard isRestore else { return read }
    return read | (value(of: "--ctmask").map { parseNumber($0) ?? .max } ?? .max)
  }
}
