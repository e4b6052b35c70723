// SPDX-License-Identifier: Apache-2.0

/// A table with aligned columns for people.
struct TextTable {
  /// How a column stands.
  enum Alignment { case left, right }

  private let columns: [(title: String, alignment: Alignment)]
  private var rows: [[String]] = []

  init(_ columns: [(String, Alignment)]) {
    self.columns = columns.map { (title: $0.0, alignment: $0.1) }
  }

  /// Adds a row with a cell for each column.
  mutating func add(_ cells: [String]) { rows.append(cells) }

  /// The table, or a line that says there is nothing.
  func text(ifEmpty nothing: String) -> String {
    guard !rows.isEmpty else { return nothing + "\n" }
    let all = [columns.map(\.title)] + rows
    let widths = columns.indices.map { column in
      all.map { $0[column].count }.max() ?? 0
    }
    return all.map { row in
      var line = ""
      for (number, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[number] - cell.count)
        line += columns[number].alignment == .left ? cell + padding : padding + cell
        line += "  "
      }
      while line.last == " " { line.removeLast() }
      return line + "\n"
    }.joined()
  }
}
