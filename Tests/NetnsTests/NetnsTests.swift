// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Tests with real packets, in the namespaces that `Tests/run-in-namespace.sh` makes.
///
/// One suite holds them all, so that never two run at a time: they share interfaces and rules.
@Suite(
  .serialized,
  .enabled(
    if: ProcessInfo.processInfo.environment["CALLOUT_NETNS"] == "1",
    "needs a namespace of its own: run make test"))
struct NetnsTests {}
