// SPDX-License-Identifier: Apache-2.0

import PacketViews
import Testing

struct IPAddressTests {
  @Test(arguments: [
    ("10.0.0.1", "10.0.0.1"), ("255.255.255.255", "255.255.255.255"), ("::", "::"),
    ("::1", "::1"), ("FE80::1", "fe80::1"), ("1::", "1::"),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ("::ffff:10.0.0.1", "::ffff:10.0.0.1"), ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("0:0:1::", "0:0:1::"),
  ])
  func `an address is printed in its canonical form`(text: String, canonical: String) throws {
    let address = try #require(IPAddress(text))
    #expect(address.description == canonical)
    #expect(IPAddress(canonical) == address)
  }

  @Test(arguments: [
    "", "1", "1.2.3", "1.2.3.4.5", "256.0.0.1", "01.2.3.4", "1..2.3", "1.2.3.4 ", "-1.2.3.4", ":",
    ":::", "1::2::3", "12345::", "g::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
    "fe80::1%eth0", "1.2.3.4::", "::1.2.3", ":1::", "1:", "::1:",
  ])
  func `text that is no address is refused`(text: String) {
    #expect(IPAddress(text) == nil)
  }

  @Test func `random IPv6 addresses survive printing and parsing`() {
    var random = SeededGenerator(state: 1)
    for _ in 0..<2_000 {
      // Masks make runs of zeros.
      let high = random.next() & random.next() & random.next()
      let low = random.next() & random.next() & ((0xffff_0000_ffff) << (random.next() % 32))
      let address = IPAddress(high: high, low: low)
      #expect(IPAddress(address.description) == address)
    }
  }

  @Test func `kinds of addresses are told apart`() throws {
    #expect(IPAddress(224, 0, 0, 1).isMulticast)
    #expect(!IPAddress(240, 0, 0, 1).isMulticast)
    #expect(try #require(IPAddress("ff02::1")).isMulticast)
    #expect(IPAddress(127, 9, 9, 9).isLoopback)
    #expect(try #require(IPAddress("::1")).isLoopback)
    #expect(!IPAddress(v4: 1).isLoopback)
    #expect(try #require(IPAddress("fe80::1")).isLinkLocal)
    #expect(IPAddress(169, 254, 1, 1).isLinkLocal)
    #expect(IPAddress(v4: 0).isUnspecified)
    #expect(IPAddress(v4: 1) != IPAddress(high: 0, low: 1))
  }

  @Test(arguments: [
    ("10.0.0.0/8", "10.255.1.2", true), ("10.0.0.0/8", "11.0.0.0", false),
    ("0.0.0.0/0", "255.1.1.1", true), ("0.0.0.0/0", "::1", false), ("::/0", "fe80::", true),
    ("::/0", "1.2.3.4", false), ("10.1.2.3/32", "10.1.2.3", true), ("10.1.2.3", "10.1.2.4", false),
    ("fe80::/10", "febf::1", true), ("fe80::/10", "fec0::1", false),
    ("2001:db8::/64", "2001:db8::ffff:0:0:1", true), ("2001:db8::/64", "2001:db8:0:1::", false),
    ("2001:db8::/65", "2001:db8::8000:0:0:1", false), ("::1/128", "::1", true),
    ("::1/128", "::", false), ("2001:db8::/63", "2001:db8:0:1::", true),
  ])
  func `a prefix holds what begins with it`(prefix: String, text: String, inside: Bool) throws {
    let address = try #require(IPAddress(text))
    #expect(try #require(IPPrefix(prefix)).contains(address) == inside)
  }

  @Test(arguments: [
    "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "::/129", "10/8", "1.2.3.4/8/8", "/8",
  ])
  func `text that is no prefix is refused`(text: String) {
    #expect(IPPrefix(text) == nil)
  }

  @Test func `the bits behind a prefix are cleared`() throws {
    #expect(try #require(IPPrefix("10.1.2.3/8")).description == "10.0.0.0/8")
    #expect(try #require(IPPrefix("fe80::1/10")).description == "fe80::/10")
    #expect(IPPrefix(IPAddress(v4: 0), length: 33) == nil)
  }
}
