// swift-tools-version: 6.3
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

/// What every Swift target is built with: borrowed views need `Lifetimes`; a pointer outside the
/// modules that may hold one is an error, not a warning.
let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableExperimentalFeature("Lifetimes"),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .strictMemorySafety(),
  .treatWarning("StrictMemorySafety", as: .error),
]

/// Test code calls C and casts freely; it is not part of the fence.
let testSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableExperimentalFeature("Lifetimes"),
]

let package = Package(
  name: "callout",
  products: [
    .library(name: "PacketViews", targets: ["PacketViews"]),
    .library(name: "NetfilterQueue", targets: ["NetfilterQueue"]),
    .library(name: "CalloutEngine", targets: ["CalloutEngine"]),
    .library(name: "CalloutBridge", targets: ["CalloutBridge", "CalloutEngine", "PacketTagging"]),
    .executable(name: "calloutd", targets: ["calloutd"]),
    .executable(name: "calloutctl", targets: ["calloutctl"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    .package(url: "https://github.com/swhitty/FlyingFox", from: "0.27.1"),
  ],
  targets: [
    // Tier 0: the C fence.
    .target(
      name: "CNetfilter",
      linkerSettings: [.linkedLibrary("netfilter_queue"), .linkedLibrary("mnl")]),
    .target(
      name: "CNFTables",
      linkerSettings: [.linkedLibrary("nftnl"), .linkedLibrary("mnl")]),
    .target(name: "CLinux"),
    .target(name: "CLibBPF", linkerSettings: [.linkedLibrary("bpf")]),

    // Tier 1.
    .target(name: "Kernel", dependencies: ["CLinux"], swiftSettings: settings),
    .target(name: "PacketViews", swiftSettings: settings),
    .target(name: "CalloutControl", swiftSettings: settings),

    // Tier 2.
    .target(
      name: "NetfilterQueue", dependencies: ["CNetfilter", "Kernel", "PacketViews"],
      swiftSettings: settings),
    .target(
      name: "LinkLayer", dependencies: ["CLibBPF", "CLinux", "Kernel", "PacketViews"],
      exclude: ["Programs"], resources: [.embedInCode("divert.bpf.o")],
      swiftSettings: settings),
    .target(name: "PacketTagging", dependencies: ["Kernel"], swiftSettings: settings),
    .target(
      name: "ConnectionTracking", dependencies: ["Kernel", "PacketViews"],
      swiftSettings: settings),
    .target(name: "CaptureFiles", dependencies: ["Kernel"], swiftSettings: settings),
    .target(
      name: "SocketOwners", dependencies: ["Kernel", "PacketViews"], swiftSettings: settings),
    .target(
      name: "FirewallRules",
      dependencies: [
        "CNFTables", "Kernel", "PacketViews",
        .product(name: "Subprocess", package: "swift-subprocess"),
      ],
      swiftSettings: settings),

    // Tier 3.
    .target(
      name: "CalloutEngine", dependencies: ["Kernel", "PacketViews", "PacketTagging"],
      swiftSettings: settings),

    // Tier 4.
    .target(
      name: "CalloutLifecycle", dependencies: ["CLibBPF", "Kernel", "PacketTagging"],
      exclude: ["Programs"], resources: [.embedInCode("lifecycle.bpf.o")],
      swiftSettings: settings),

    // Tier 5.
    .target(
      name: "CalloutBridge",
      dependencies: [
        "Kernel", "PacketViews", "NetfilterQueue", "PacketTagging", "FirewallRules",
        "CalloutEngine", "CalloutLifecycle", "ConnectionTracking", "LinkLayer", "SocketOwners",
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: settings),

    // Tier 6.
    .executableTarget(
      name: "calloutd",
      dependencies: [
        "CalloutBridge", "CalloutControl", "CalloutEngine", "CaptureFiles", "ConnectionTracking",
        "FirewallRules", "Kernel", "LinkLayer", "PacketTagging", "PacketViews",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "FlyingSocks", package: "FlyingFox"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
        .product(name: "Yams", package: "Yams"),
      ],
      exclude: ["Install"],
      swiftSettings: settings),
    .executableTarget(
      name: "calloutctl",
      dependencies: [
        "CalloutControl", "CaptureFiles", "Kernel",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: settings),

    // Beside the programs.
    .executableTarget(
      name: "frame-batches",
      dependencies: [
        "CalloutBridge", "CalloutEngine", "PacketTagging",
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Sources/Benchmarks/FrameBatches", swiftSettings: settings),
    .executableTarget(
      name: "filter-cost",
      dependencies: ["CalloutEngine", "Kernel", "PacketTagging", "PacketViews"],
      path: "Sources/Benchmarks/FilterCost", swiftSettings: settings),

    // Tests.
    .target(
      name: "CalloutTestSupport", dependencies: ["CLinux", "Kernel"],
      path: "Tests/CalloutTestSupport", swiftSettings: testSettings),
    .executableTarget(
      name: "frame-holder", dependencies: ["Kernel", "LinkLayer"], path: "Tests/FrameHolder",
      swiftSettings: testSettings),
    .testTarget(
      name: "PacketViewsTests", dependencies: ["PacketViews"], swiftSettings: testSettings),
    .testTarget(
      name: "FirewallRulesTests", dependencies: ["FirewallRules", "CNFTables"],
      swiftSettings: testSettings),
    .testTarget(
      name: "PacketTaggingTests", dependencies: ["PacketTagging", "Kernel"],
      swiftSettings: testSettings),
    .testTarget(
      name: "CalloutEngineTests",
      dependencies: ["CalloutEngine", "PacketTagging", "PacketViews", "Kernel"],
      swiftSettings: testSettings),
    .testTarget(
      name: "LinkLayerTests", dependencies: ["LinkLayer", "PacketViews"],
      swiftSettings: testSettings),
    .testTarget(
      name: "NetfilterQueueTests",
      dependencies: ["NetfilterQueue", "PacketViews", "CNetfilter", "Kernel"],
      swiftSettings: testSettings),
    .testTarget(
      name: "KernelTests", dependencies: ["Kernel", "CLinux"], swiftSettings: testSettings),
    .testTarget(
      name: "NetnsTests",
      dependencies: [
        "CalloutBridge", "CalloutLifecycle", "CalloutTestSupport", "ConnectionTracking",
        "FirewallRules", "LinkLayer", "NetfilterQueue", "PacketViews", "SocketOwners",
        "frame-holder",
      ],
      swiftSettings: testSettings),
    .testTarget(
      name: "CalloutLifecycleTests", dependencies: ["CalloutLifecycle"],
      swiftSettings: testSettings),
    .testTarget(
      name: "CalloutBridgeTests",
      dependencies: ["CalloutBridge", "FirewallRules", "LinkLayer", "NetfilterQueue"],
      swiftSettings: testSettings),
    .testTarget(
      name: "BuiltInCalloutTests",
      dependencies: ["CalloutEngine", "Kernel", "PacketTagging", "PacketViews"],
      swiftSettings: testSettings),
    .testTarget(
      name: "ConnectionTrackingTests", dependencies: ["ConnectionTracking", "PacketViews"],
      swiftSettings: testSettings),
    .testTarget(
      name: "SocketOwnersTests", dependencies: ["PacketViews", "SocketOwners"],
      swiftSettings: testSettings),
    .testTarget(
      name: "CaptureFilesTests", dependencies: ["CaptureFiles"], swiftSettings: testSettings),
    .testTarget(
      name: "CalloutControlTests", dependencies: ["CalloutControl"], swiftSettings: testSettings),
    .testTarget(
      name: "CalloutdTests",
      dependencies: [
        "calloutd", "calloutctl", "CalloutBridge", "CalloutControl", "CalloutEngine",
        "CaptureFiles", "FirewallRules", "Kernel", "LinkLayer", "PacketTagging", "PacketViews",
      ],
      swiftSettings: testSettings),
  ]
)
