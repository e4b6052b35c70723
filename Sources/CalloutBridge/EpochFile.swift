// SPDX-License-Identifier: Apache-2.0

internal import Kernel

/// The bit that tells this run's handles from those of the last, kept where a reboot clears it.
struct EpochFile {
  let directory: String?

  /// The epoch of this run: not that of the last one.
  ///
  /// `note` says why it could not be kept.
  func flip() -> (value: Bool, note: String?) {
    guard let directory else { return (false, nil) }
    let path = directory + "/epoch"
    let last = (try? KernelFile.text(path)) ?? nil
    let epoch = last?.first != "1"
    do {
      try KernelFile.makeDirectory(directory)
      try KernelFile.replace(path, with: epoch ? "1\n" : "0\n")
      return (epoch, nil)
    } catch {
      return (
        epoch,
        "the epoch cannot be kept, so handles of an earlier run may be taken for ours: \(error)"
      )
    }
  }
}
