// SPDX-License-Identifier: Apache-2.0

internal import CalloutEngine
internal import Kernel
internal import LinkLayer
internal import Logging
internal import PacketTagging
internal import Synchronization

// Devices that come, go and change while the bridge runs.
extension Bridge {
  /// Begins to watch the devices, if that has not begun.
  func watchDevices() {
    guard board.withLock({ $0.interfaceWatch == nil }) else { return }
    do throws(LinkError) {
      let watch = try InterfaceWatch { [weak self] watch in
        // Not on the watch's own thread, which must not wait for anybody.
        Task { [weak self] in await self?.followDevices(watch) }
      }
      board.withLock { $0.interfaceWatch = watch }
    } catch {
      warn("devices that come or go are not noticed until a reload: \(error)")
    }
  }

  /// Ends that.
  func unwatchDevices() {
    let watch = board.withLock { board in board.interfaceWatch.take() }
    watch?.end()
  }

  /// Brings the ports to what the devices are now.
  private func followDevices(_ watch: InterfaceWatch) async {
    await changes.run { [self] in
      let gone = watch.takeNews()
      let (phase, policy) = board.withLock { ($0.phase, $0.policy) }
      guard phase == .running, let policy, let worker = frameWorker,
        let devices = try? LinkDevice.all()
      else { return }
      if policy.policy.hasSwitchLayers || policy.policy.asksForDevices { tellSwitchPorts(devices) }
      let byIndex = Dictionary(devices.map { ($0.index, $0) }) { first, _ in first }
      let answer = worker.mailbox.ask { state in
        state.follow(byIndex, gone: gone)
        return (leaving: state.leavingPorts, traits: state.portTraits)
      }
      // Whoever injects packets addresses them to the device as it is now.
      if let answer { injections.learn(answer.traits) }
      board.withLock { $0.interfaces.forget(gone) }
      if let answer, answer.leaving > 0 {
        logger.info(
          "interface or its helper has gone", metadata: ["callout.ports": "\(answer.leaving)"])
      }
      await retirePorts(for: policy)
      restorePorts(for: policy)
    }
  }

  /// Has the workers know what the devices are and what stands behind bridges' ports, if the policy
  /// asks for that.
  func learnSwitchPorts(for policy: CompiledPolicy) {
    guard policy.policy.hasSwitchLayers || policy.policy.asksForDevices else { return }
    // Before the devices are read: what happens to them later is not missed.
    watchDevices()
    do throws(LinkError) {
      tellSwitchPorts(try LinkDevice.all())
    } catch {
      warn("what devices are and what stands behind the ports of bridges is not known: \(error)")
    }
  }

  private func tellSwitchPorts(_ devices: [LinkDevice]) {
    let (ports, kinds) = (SwitchPorts(devices), DeviceKinds(devices))
    for worker in board.withLock({ $0.workers }) {
      worker.mailbox.post { state in
        state.switchPorts = ports
        state.deviceKinds = kinds
      }
    }
  }

  /// Diverts the devices of configured names that have come; a failure is told by `statistics`.
  private func restorePorts(for policy: CompiledPolicy) {
    guard let worker = frameWorker, let wanted = try? portNames(for: policy),
      let present = worker.mailbox.ask({ $0.portNames })
    else { return }
    // Whoever could still inject there would hold the old helper device, and with it its name.
    injections.keep(present)
    for name in wanted.subtracting(present) {
      do throws(BridgeError) {
        try addPorts([name], by: worker)
        board.withLock { $0.interfaces.note(nil, of: name.device) }
        logger.info("interface has come, its frames are diverted", metadata: metadata(name))
      } catch {
        board.withLock { $0.interfaces.note(error.description, of: name.device) }
        logger.error(
          "interface has come, its frames cannot be diverted",
          metadata: metadata(name).merging(["error": "\(error)"]) { $1 })
      }
    }
  }

  private func metadata(_ name: FramePort.Name) -> Logger.Metadata {
    ["callout.interface": "\(name.device)", "callout.direction": "\(name.direction)"]
  }

  /// What an operator should know of the interfaces, and whether all is well with them.
  func checkInterfaces(_ result: inout BridgeStatistics) {
    let (interfaces, policy) = board.withLock { ($0.interfaces, $0.policy?.policy) }
    guard let policy, policy.layers.contains(where: \.indicatesDivertedFrames) else { return }
    for name in interfaces.missing {
      result.warnings.append("interface \(name) has gone; its frames are met when it comes again")
    }
    for (name, fault) in interfaces.faults.sorted(by: { $0.key < $1.key }) {
      result.isHealthy = false
      result.warnings.append("the frames of interface \(name) are not met: \(fault)")
    }
  }
}

extension FilterPolicy {
  /// Whether a filter asks for frames as they cross bridges.
  var hasSwitchLayers: Bool { layers.contains { $0.medium == .virtualSwitch } }
}
