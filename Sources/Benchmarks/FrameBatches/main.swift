// SPDX-License-Identifier: Apache-2.0

import CalloutBridge
import CalloutEngine
import Foundation
import Logging
import PacketTagging
import Synchronization

/// Counts frames, by as many calls as its form brings.
final class Counter: Callout {
  static let frames = Atomic<Int>(0)
  private let form: FrameForm

  init(_ form: FrameForm) { self.form = form }

  override var frameForm: FrameForm { form }

  override func classify(_ frame: borrowing ClassifiedFrame, _ out: inout Classification) {
    Self.frames.add(1, ordering: .relaxed)
    out.permit()
  }

  override func classify(chain: borrowing FrameChain, _ out: inout Classification) {
    Self.frames.add(chain.count, ordering: .relaxed)
    out.permit()
  }
}

// The subject of the case l2-batches: `frame-batches DEVICE single|chain|vector`, until SIGTERM.
let forms = ["single": FrameForm.single, "chain": .chain, "vector": .vector]
guard CommandLine.arguments.count == 3, let form = forms[CommandLine.arguments[2]] else {
  print("usage: frame-batches DEVICE single|chain|vector")
  exit(64)
}
var configuration = BridgeConfiguration()
configuration.mark = .mask(0x3fff_ff00)
configuration.rules = .unmanaged
configuration.lifecycle = .verdicts
configuration.failurePolicy = .block
configuration.interfaces = [CommandLine.arguments[1]]
let bridge = Bridge(configuration, logger: Logger(label: "frame-batches"))
try await bridge.start(
  FilterPolicy(
    callouts: [
      CalloutRegistration(name: "counter", allowsL2BatchClassify: true) { Counter(form) }
    ],
    filters: [
      Filter(
        name: "counted", layer: .outboundMACFrameEthernet, action: .calloutUnknown("counter"))
    ]))
FileHandle.standardOutput.write(Data("ready\n".utf8))
let ended = DispatchSource.makeSignalSource(signal: SIGTERM)
signal(SIGTERM, SIG_IGN)
await withCheckedContinuation { continuation in
  ended.setEventHandler { continuation.resume() }
  ended.resume()
}
print("\(Counter.frames.load(ordering: .relaxed)) frames", await bridge.stop())
