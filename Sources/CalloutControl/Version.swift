// SPDX-License-Identifier: Apache-2.0

/// The version of daemon and command line.
public let calloutVersion = "0.1.0"
