// SPDX-License-Identifier: Apache-2.0
// frame-holder DEVICE [SECONDS [DIRECTION [ATTACHMENT]]]: diverts a device and permits every frame,
// until it is killed or its time is over; then it says what it counted.

import Glibc
import Kernel
import LinkLayer

func say(_ text: String) { StandardStream.output.write(Array("\(text)\n".utf8)) }

let arguments = CommandLine.arguments
guard arguments.count > 1, let device = try LinkDevice.find(name: arguments[1]) else {
  say("frame-holder DEVICE [SECONDS [inbound|outbound|both [tcx|clsact]]]")
  exit(64)
}
let seconds = arguments.count > 2 ? UInt64(arguments[2]) ?? 0 : 0
let direction = arguments.count > 3 ? arguments[3] : "both"
let attachment = arguments.count > 4 ? DivertAttachment(rawValue: arguments[4]) : nil

func makeDivert(_ direction: LinkDirection) throws(DivertError) -> FrameDivert {
  var divert = try FrameDivert.open(
    FrameDivertOptions(
      device: device.index, direction: direction, injectedBit: 0x8000_0000, attachment: attachment))
  try divert.attach()
  return divert
}

/// Serves one batch; returns how many frames it had.
func serve(_ divert: inout FrameDivert) -> Int {
  let count = divert.receive()
  for index in 0..<count { divert.permit(index, mark: divert.frame(index).metadata.mark) }
  divert.flush()
  return count
}

func processorTime() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

func work() throws(DivertError) {
  var inbound = try makeDivert(.inbound)
  var outbound = try makeDivert(.outbound)
  if direction == "outbound" { inbound.beginRemoval() }
  if direction == "inbound" { outbound.beginRemoval() }
  while inbound.phase == .draining || inbound.phase == .closing || outbound.phase == .draining
    || outbound.phase == .closing
  {
    _ = serve(&inbound) + serve(&outbound)
    _ = inbound.continueRemoval()
    _ = outbound.continueRemoval()
  }
  say("ready")
  let start = (frames: 0, time: MonotonicClock.now(), processor: processorTime())
  var frames = 0
  var poller = Poller(inbound.pollDescriptor, outbound.pollDescriptor)
  while seconds == 0 || MonotonicClock.now() - start.time < seconds * 1_000_000_000 {
    let count = serve(&inbound) + serve(&outbound)
    frames += count
    guard count == 0 else { continue }
    poller.wait(milliseconds: 100)
  }
  let used = processorTime() - start.processor
  say("\(frames) frames, \(Int(Double(frames) / used)) per CPU-second")
  for counters in [inbound.counters, outbound.counters] { say("\(counters)") }
}

do {
  try work()
} catch {
  say("\(error)")
  exit(1)
}
