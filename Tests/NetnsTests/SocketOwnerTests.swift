// SPDX-License-Identifier: Apache-2.0

import CalloutTestSupport
import Foundation
import PacketViews
import SocketOwners
import Testing

/// A program that opens sockets of many kinds, says how their packets look, and stays.
private let opener = """
  import os, socket, sys, time
  here, there = "10.9.1.1", "10.9.1.2"
  here6, there6 = "fd09:1::1", "fd09:1::2"
  kept, lines = [], []
  def note(name, kind, made, local, remote, device=0):
      inode = os.fstat(made.fileno()).st_ino if made else 0
      if made: kept.append(made)
      lines.append(" ".join(map(str, [name, kind, *local, *remote, device, inode])))
  def tcp(family, to):
      made = socket.socket(family, socket.SOCK_STREAM)
      made.setblocking(False)
      try: made.connect((to, 81))
      except BlockingIOError: pass
      return made
  def udp(family, to=None, at=None):
      made = socket.socket(family, socket.SOCK_DGRAM)
      if at: made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, at)
      if to: made.connect((to, 53))
      else: made.bind(("", 0))
      return made
  made = tcp(socket.AF_INET, there)
  note("opening", "tcp", made, (here, made.getsockname()[1]), (there, 81))
  made = tcp(socket.AF_INET6, there6)
  note("opening-v6", "tcp", made, (here6, made.getsockname()[1]), (there6, 81))
  made = tcp(socket.AF_INET6, "::ffff:" + there)
  note("opening-mapped", "tcp", made, (here, made.getsockname()[1]), (there, 81))
  listener = socket.create_server(("", 90))
  note("listening", "tcp", listener, (here, 90), (there, 5555))
  dual = socket.create_server(("", 91), family=socket.AF_INET6, dualstack_ipv6=True)
  note("listening-for-both", "tcp", dual, (here, 91), (there, 5555))
  note("listening-v6", "tcp", dual, (here6, 91), (there6, 5555))
  made = socket.create_connection((here, 90))
  note("connected", "tcp", made, (here, made.getsockname()[1]), (here, 90))
  note("not-accepted", "tcp", listener, (here, 90), (here, made.getsockname()[1]))
  made = udp(socket.AF_INET, there)
  note("udp", "udp", made, made.getsockname(), (there, 53))
  made = udp(socket.AF_INET)
  note("udp-unconnected", "udp", made, (here, made.getsockname()[1]), (there, 53))
  made = udp(socket.AF_INET6, there6)
  note("udp-v6", "udp", made, made.getsockname()[:2], (there6, 53))
  made = udp(socket.AF_INET6)
  note("udp-mapped", "udp", made, (here, made.getsockname()[1]), (there, 53))
  made = udp(socket.AF_INET, at=b"a1")
  device = socket.if_nametoindex("a1")
  note("udp-at-device", "udp", made, (here, made.getsockname()[1]), (there, 53), device)
  note("nobody", "tcp", None, (here, 4), (there, 5))
  note("nobody-udp", "udp", None, (here, 4), (there, 5))
  # Children that inherit them have higher numbers.
  for _ in range(2):
      if os.fork() == 0: time.sleep(1000)
  with open(sys.argv[1] + ".new", "w") as file: file.write("\\n".join(lines))
  os.rename(sys.argv[1] + ".new", sys.argv[1])
  time.sleep(1000)
  """

extension NetnsTests {
  /// The kernel tells which socket a packet belongs to, and who has that.
  @Suite struct Owners {
    @Test func `The socket of every kind of packet is found, and who has it`() async throws {
      try await withTopology { _ in
        // Opening segments wait for ever.
        try Shell.run(
          """
          ip netns exec p1 nft 'add table inet t; \
          add chain inet t c { type filter hook prerouting priority 0; policy drop; }'
          """)
        let place = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: place) }
        let (script, list) = (
          place.appendingPathComponent("s.py"), place.appendingPathComponent("l")
        )
        try opener.write(to: script, atomically: true, encoding: .utf8)
        let program = try Shell.start(
          "setsid /usr/bin/python3 '\(script.path)' '\(list.path)'")
        defer { _ = try? Shell.run("kill -9 -\(program.identifier)") }
        try await expectSoon { FileManager.default.fileExists(atPath: list.path) }
        let path = try Shell.run("readlink -f /usr/bin/python3")
          .trimmingCharacters(in: .whitespacesAndNewlines)
        var diagnostics = try SocketDiagnostics()
        var count = 0
        for line in try String(contentsOf: list, encoding: .utf8).split(separator: "\n") {
          let words = line.split(separator: " ").map(String.init)
          let local = try #require(IPAddress(words[2])), remote = try #require(IPAddress(words[4]))
          let query = SocketQuery(
            words[1] == "tcp" ? .tcp : .udp, local: local, UInt16(words[3]) ?? 0, remote: remote,
            UInt16(words[5]) ?? 0, device: UInt32(words[6]) ?? 0)
          let expected = UInt32(words[7]).flatMap { $0 == 0 ? nil : $0 }
          let found = try diagnostics.inode(of: query)
          #expect(found == expected, "\(words[0])")
          count += 1
          guard let expected else { continue }
          #expect(
            SocketOwner.find([expected])
              == [expected: SocketOwner(process: UInt32(program.identifier), path: path)],
            "\(words[0])")
        }
        #expect(count == 15)
      }
    }

    @Test func `A socket that two programs have is nobody's, whichever is the older`() async throws
    {
      let place = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
      defer { try? FileManager.default.removeItem(at: place) }
      // The parent becomes another program, the child keeps the socket; or the other way round.
      for other in ["> 0", "== 0"] {
        let program = try Shell.start(
          """
          setsid /usr/bin/python3 -c 'import os, socket, sys, time
          made = socket.socket(); made.set_inheritable(True)
          number = os.fstat(made.fileno()).st_ino
          me, child = os.getpid(), os.fork()
          if child \(other): os.execv("/usr/bin/sleep", ["sleep", "1000"])
          other = me if child == 0 else child
          while not os.readlink("/proc/%d/exe" % other).endswith("sleep"): pass
          with open(sys.argv[1] + ".new", "w") as file: file.write(str(number))
          os.rename(sys.argv[1] + ".new", sys.argv[1])
          time.sleep(1000)' '\(place.path)'
          """)
        defer { _ = try? Shell.run("kill -9 -\(program.identifier)") }
        try await expectSoon { FileManager.default.fileExists(atPath: place.path) }
        let inode = try #require(UInt32(try String(contentsOf: place, encoding: .utf8)))
        #expect(SocketOwner.find([inode]) == [:], "fork() \(other)")
        try FileManager.default.removeItem(at: place)
      }
    }

    @Test func `Sockets that nobody has are nobody's`() {
      #expect(SocketOwner.find([]) == [:])
      #expect(SocketOwner.find([0, 1]) == [:])
    }
  }
}
