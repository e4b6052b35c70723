// SPDX-License-Identifier: Apache-2.0

public import Kernel
public import PacketTagging
internal import Synchronization

/// Programs inside the kernel that note, handle by handle, what becomes of packets that bear a mark
/// of ours.
///
/// They never change a packet. They are attached only while somebody watches, because each packet of
/// the machine passes them; nothing is pinned, so they go with the process, however it ends. Each is
/// loaded by itself, and what the kernel refuses is left out; those that count copies come all or
/// not at all.
public final class KernelObserver: SightingSource {
  /// The most handles that are observed; a power of two.
  public static let capacity = ObserverMap.capacity

  private let array: SharedArray<Sighting>
  private let counters: CopyCounters?
  /// What the kernel said to each program; to those that count copies, once.
  public let findings: [(program: ObserverProgram, support: FeatureSupport)]
  /// Whether the program at sockets is among those that the kernel takes.
  public let tellsDelivery: Bool
  private let programs: [LoadedProgram]
  private let attachments = Mutex(Attachments())

  private struct Attachments {
    var watchers = 0
    var links: [AttachedProgram] = []
    var failure: SystemError?
  }

  /// Readies the programs for packets of this thread's network namespace whose marks bear handles of
  /// this field and epoch.
  ///
  /// Throws if the kernel refuses a program without which nothing could be told.
  public init(field: MarkField, epoch: Bool) throws(ObserverError) {
    let settings = try ObserverSettings(
      field: field, epoch: epoch, largest: Self.capacity - 1, reasons: .ofKernel)
    let map = try Self.makeMap()
    do {
      array = try SharedArray(mapping: map, count: Self.capacity)
    } catch {
      throw .noMap(error)
    }
    var findings: [(program: ObserverProgram, support: FeatureSupport)] = []
    var programs: [LoadedProgram] = []
    for program in ObserverProgram.witnesses {
      do throws(SystemError) {
        let loaded = try LoadedProgram.load([program], sightings: map.number, settings: settings)
        // Some kernels load what they then refuse to attach.
        for each in loaded { _ = try AttachedProgram(each) }
        programs += loaded
        findings.append((program, .supported))
      } catch {
        if program.isEssential { throw .refused(program, error) }
        findings.append((program, program.unsupported(error)))
      }
    }
    tellsDelivery = programs.contains { $0.program == .reached }
    do throws(SystemError) {
      counters = try CopyCounters(sightings: map, settings: settings)
      findings.append((.cloned, .supported))
    } catch {
      counters = nil
      findings.append((.cloned, ObserverProgram.cloned.unsupported(error)))
    }
    self.findings = findings
    self.programs = programs
  }

  private static func makeMap() throws(ObserverError) -> OwnedDescriptor {
    do {
      return try ObserverMap.make("callout_seen", of: Sighting.self)
    } catch {
      throw .noMap(error)
    }
  }

  /// What was seen, by handle.
  public var sightings: SharedView<Sighting> { array.view }

  /// Which buffers bear each handle; nil where the kernel does not let its functions be followed.
  public var bearers: SharedView<BearerCount>? { counters?.bearers }

  /// Why programs could not be attached when they were needed, if that has happened.
  public var failure: SystemError? { attachments.withLock { $0.failure } }

  /// Why copies are not counted although they could be, if that has happened.
  public var countingFailure: SystemError? { counters?.failure }

  /// Counts one more watcher; the first attaches the programs, which takes the kernel a moment.
  public func watch() {
    attachments.withLock { attachments in
      attachments.watchers += 1
      if attachments.watchers == 1 { counters?.watch() }
      guard attachments.links.count < programs.count else { return }
      attachments.links = []
      attachments.failure = nil
      for program in programs {
        do throws(SystemError) {
          attachments.links.append(try AttachedProgram(program))
        } catch {
          // The next watcher tries again.
          attachments.failure = error
        }
      }
    }
  }

  /// Counts one watcher less; the last detaches the programs.
  public func rest() {
    let links = attachments.withLock { attachments -> [AttachedProgram] in
      attachments.watchers -= 1
      guard attachments.watchers == 0 else { return [] }
      counters?.rest()
      defer { attachments.links = [] }
      return attachments.links
    }
    withExtendedLifetime(links) {}
  }

  /// What the running kernel lets an observer do here.
  public static func probe() -> [KernelFeature] {
    func all(_ support: FeatureSupport) -> [KernelFeature] {
      (ObserverProgram.witnesses + [.cloned]).map { KernelFeature($0.featureName, support) }
    }
    guard Capability.bpf.isEffective, Capability.perfmon.isEffective else {
      return all(.unknown(reason: "probing needs CAP_BPF and CAP_PERFMON"))
    }
    guard let field = MarkField(mask: 0x00ff_ff00) else { return [] }
    do throws(ObserverError) {
      return try KernelObserver(field: field, epoch: false).findings.map {
        KernelFeature($0.program.featureName, $0.support)
      }
    } catch {
      return all(
        .unsupported(
          reason: "\(error)", remedy: "without it events come from the verdicts alone"))
    }
  }
}

/// Why the kernel cannot be observed here, and what to do about it.
public enum ObserverError: Error, Sendable, CustomStringConvertible {
  /// The kernel refuses a map that can be mapped into memory.
  case noMap(SystemError)
  /// It refuses a program without which nothing could be told.
  case refused(ObserverProgram, SystemError)
  /// Its network namespace cannot be told.
  case noNamespace(SystemError)

  /// What is wrong and what to do about it.
  public var description: String {
    let advice = "; set lifecycle.source: verdicts to do without"
    return switch self {
    case .noMap(let error): "\(error)\(advice), or run with CAP_BPF on a kernel with BPF"
    case .refused(let program, let error):
      "the kernel refuses the program \(program.rawValue) (\(error))\(advice), or use a kernel "
        + "with CONFIG_DEBUG_INFO_BTF"
    case .noNamespace(let error): "\(error)\(advice)"
    }
  }
}
