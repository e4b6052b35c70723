// SPDX-License-Identifier: Apache-2.0

public import CalloutEngine
internal import Synchronization

extension Bridge {
  /// A session that adds objects to the engine and deletes them.
  ///
  /// They act beside the policy that the bridge was started with, whose own objects are no
  /// session's to delete. What a session adds before `start` works from then on.
  ///
  /// Mirrors `FwpmEngineOpen0`.
  public func openSession(_ options: SessionOptions = SessionOptions()) -> EngineSession {
    let number = board.withLock { board in
      board.lastSession &+= 1
      return board.lastSession
    }
    return EngineSession(self, number: number, options)
  }

  /// What sessions have added, as the last commit left it.
  ///
  /// Mirrors `FwpmFilterEnum0` and those of the other kinds.
  public var objects: EngineObjects { board.withLock { $0.engine.objects } }

  /// Gives a callout its code; filters that named it before are not told to it.
  ///
  /// Mirrors `FwpsCalloutRegister2`.
  ///
  /// No part of any transaction: it is in force on return.
  public func register(_ callout: CalloutRegistration) async throws(BridgeError) {
    try await change { engine throws(BridgeError) in
      guard !engine.withoutObjects.callouts.contains(where: { $0.name == callout.name }) else {
        throw .engine(.alreadyExists(.callout, callout.name))
      }
      engine.registrations.append(callout)
    }
  }

  /// Takes a callout's code away: its contexts end, and filters that name it block, or what their
  /// flags say, until it is registered again.
  ///
  /// Mirrors `FwpsCalloutUnregisterByKey0`.
  ///
  /// While flows bear contexts of it, that is refused. One that was registered apart from the policy
  /// must have been added too if filters name it.
  public func unregisterCallout(named name: String) async throws(BridgeError) {
    try await change { engine throws(BridgeError) in try engine.unregister(name) }
  }
}
