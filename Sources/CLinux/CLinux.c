// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(sizeof(struct clx_mmsghdr) == sizeof(struct mmsghdr), "mmsghdr layout");

int clx_recvmmsg(int fd, struct clx_mmsghdr *messages, unsigned int count, int flags) {
  return recvmmsg(fd, (struct mmsghdr *)messages, count, flags, NULL);
}

int clx_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int clx_create(const char *path, mode_t mode) {
  return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
}

static int close_keeping_errno(int fd) {
  int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

int clx_create_private(const char *path) {
  if (unlink(path) < 0 && errno != ENOENT) return -1;
  return open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int clx_open_locked(const char *path) {
  int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) return close_keeping_errno(fd);
  return fd;
}

int clx_open_private(const char *path) {
  // Without O_NONBLOCK a pipe would wait for its other end.
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -1;
  struct stat status;
  if (fstat(fd, &status) < 0) return close_keeping_errno(fd);
  if (S_ISREG(status.st_mode) && !(status.st_mode & 022) &&
      (status.st_uid == geteuid() || status.st_uid == 0))
    return fd;
  errno = EPERM;
  return close_keeping_errno(fd);
}

int clx_open_cgroup_root(void) {
  int context = fsopen("cgroup2", FSOPEN_CLOEXEC);
  if (context < 0) return -1;
  int mount = -1;
  if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
    mount = fsmount(context, FSMOUNT_CLOEXEC, 0);
  if (mount < 0) return close_keeping_errno(context);
  close(context);
  // Nobody else sees this mount; it goes with the folder.
  int root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return close_keeping_errno(mount);
  close(mount);
  return root;
}

int clx_thread_name(pthread_t thread, const char *name) {
  return pthread_setname_np(thread, name);
}

int clx_effective_capabilities(uint64_t *mask) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2];
  memset(data, 0, sizeof data);
  if (syscall(SYS_capget, &header, data) < 0) return -1;
  *mask = (uint64_t)data[1].effective << 32 | data[0].effective;
  return 0;
}

int clx_sched_setaffinity(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return sched_setaffinity(0, sizeof set, &set);
}

int clx_force_receive_buffer(int fd, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) == 0) return 0;
  return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

int clx_force_send_buffer(int fd, int bytes) {
  if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) == 0) return 0;
  return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

int clx_receive_buffer(int fd) {
  int bytes = 0;
  socklen_t length = sizeof bytes;
  if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &length) < 0) return -1;
  return bytes;
}

int clx_raw_ip_socket(int family) {
  int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  if (fd < 0 || family == AF_INET) return fd;
  int on = 1;
  if (setsockopt(fd, IPPROTO_IPV6, 36 /* IPV6_HDRINCL */, &on, sizeof on) == 0) return fd;
  int saved = errno;
  close(fd);
  errno = saved;
  return -1;
}

int clx_set_mark(int fd, uint32_t mark) {
  return setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark);
}

ssize_t clx_send_raw_ipv4(int fd, const void *bytes, size_t length, uint32_t destination_be) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr = {.s_addr = destination_be}};
  return sendto(fd, bytes, length, 0, (struct sockaddr *)&to, sizeof to);
}

ssize_t clx_send_raw_ipv6(int fd, const void *bytes, size_t length,
                          const uint8_t destination[16]) {
  struct sockaddr_in6 to = {.sin6_family = AF_INET6};
  memcpy(&to.sin6_addr, destination, 16);
  return sendto(fd, bytes, length, 0, (struct sockaddr *)&to, sizeof to);
}

static int unix_address(const char *path, struct sockaddr_un *address, socklen_t *length) {
  size_t size = strlen(path);
  if (size == 0 || size >= sizeof address->sun_path) {
    errno = size == 0 ? EINVAL : ENAMETOOLONG;
    return -1;
  }
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, path, size);
  *length = offsetof(struct sockaddr_un, sun_path) + size;
  if (path[0] == '@') {
    address->sun_path[0] = 0;
  } else {
    *length += 1;
  }
  return 0;
}

int clx_unix_listen(const char *path, mode_t mode) {
  struct sockaddr_un address;
  socklen_t length;
  if (unix_address(path, &address, &length) < 0) return -1;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  // On Linux the file that bind makes takes the socket's own mode.
  if (fchmod(fd, mode) < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 ||
      listen(fd, SOMAXCONN) < 0)
    return close_keeping_errno(fd);
  return fd;
}

int clx_unix_connect(const char *path, int type) {
  struct sockaddr_un address;
  socklen_t length;
  if (unix_address(path, &address, &length) < 0) return -1;
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, (struct sockaddr *)&address, length) < 0) return close_keeping_errno(fd);
  return fd;
}

int64_t clx_peer_user(int fd) {
  struct ucred credentials;
  socklen_t length = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) return -1;
  return credentials.uid;
}

bool clx_is_socket(const char *path) {
  struct stat status;
  return lstat(path, &status) == 0 && S_ISSOCK(status.st_mode);
}

int clx_close_on_exec(int fd) { return fcntl(fd, F_SETFD, FD_CLOEXEC); }

ssize_t clx_send_quietly(int fd, const void *bytes, size_t length) {
  return send(fd, bytes, length, MSG_NOSIGNAL);
}

void clx_ignore_broken_pipes(void) { signal(SIGPIPE, SIG_IGN); }

bool clx_is_device_up(uint32_t index) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  struct ifreq request = {.ifr_ifindex = (int)index};
  bool up = ioctl(fd, SIOCGIFNAME, &request) == 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0 &&
            (request.ifr_flags & IFF_UP);
  close(fd);
  return up;
}

int clx_network_namespace(uint32_t *inode) {
  struct stat status;
  if (stat("/proc/thread-self/ns/net", &status) < 0) return -1;
  *inode = (uint32_t)status.st_ino;
  return 0;
}
