// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import NetfilterQueue
internal import PacketTagging

/// Everything that one worker's thread owns: its queue, its shard of the contexts, its callouts.
struct WorkerState: ~Copyable {
  let shard: Int
  let queues: ClosedRange<UInt16>
  let failurePolicy: FailurePolicy
  let desk: WorkerDesk
  var socket: QueueSocket
  var out: Classification
  var pended: PendedPackets
  var flushes = FlushWatch()
  var policy: CompiledPolicy
  /// The policy that may come next.
  var prepared: PreparedPolicy?
  var callouts: [Callout] = []
  /// The same callouts, for the packet path.
  var heldCallouts: [HeldObject<Callout>] = []
  var hits: [UInt64] = []
  var counters = WorkerCounters()
  /// The hooks of ours that IPv4 and IPv6 packets can meet.
  var hooks: (ipv4: HookSet, ipv6: HookSet) = ([], [])
  /// What of bridges' frames it can meet.
  var bridges = BridgeHooks()
  var switchPorts = SwitchPorts()
  var deviceKinds = DeviceKinds()
  /// Whether the policy asks what packets' interfaces are.
  var describesDevices = false
  /// The heads of tagged packets, for the discard layers.
  var heads = DepartedHeads()
  var flowUse = FlowUse()
  /// The devices whose frames it decides.
  var ports: [FramePort] = []
  /// The same ports, for the way of frames.
  var heldPorts: [HeldObject<FramePort>] = []
  let closer = PortCloser()
  /// What ports that have gone had counted.
  var gonePorts: [FramePort.Name: PortStatistics] = [:]
  var heldFrames = HeldFrames<HeldFrame>()
  var frameDraft = FrameDraft()
  var batching = FrameBatching()
  /// Frames met so far.
  var lastFrame: UInt32 = 0
  let peers: WorkerPeers
  /// Ports have come or gone since the thread last waited on them.
  var portsChanged = false
  /// Where tagged packets are copied to while somebody captures.
  var tap: CaptureTap?
  /// Who is told of blocks.
  var dropTaps: [DropSession] = []
  var lastID: UInt32?
  var now: UInt64 = 0
  var phase = Phase.running

  enum Phase { case running, draining, stopped }

  /// Lets nothing more in.
  mutating func closeIntake() {
    guard phase == .running else { return }
    phase = .draining
    socket.closeIntake(passing: failurePolicy == .permit)
  }

  /// Decides what is pended and gives the queue back; the kernel drops what was not received.
  mutating func finish() -> (decided: Int, dropped: Int) {
    closeIntake()
    let decided = settleAllPended() + heldFrames.count
    releaseFrames(all: true)
    endFlows()
    let left = QueueStatus.all().first { $0.number == socket.options.number }?.waiting ?? 0
    socket.unbind()
    phase = .stopped
    return (decided, Int(left))
  }

  /// The verdict of a packet that nobody decides.
  var failureVerdict: Verdict { failurePolicy == .permit ? .accept : .drop }
}
