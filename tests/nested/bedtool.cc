// What busybox lacks, for guests and the outer machine, as one static program:
//   bedtool randwrite DEVICE [BLOCKS [THREADS]]   random direct writes, then every block is checked
//   bedtool registers SECONDS                     AVX's registers, held and checked by threads
//   bedtool vsock-listen PORT                     one connection; standard input and output
//   bedtool vsock-connect CID PORT
//   bedtool unix-listen PATH | unix-connect PATH
//   bedtool tcp-listen PORT | tcp-connect ADDRESS PORT
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "bedtool: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

// ---- registers
// -----------------------------------------------------------------------------------

/// Puts `want` into a register that only XSAVE keeps whole, and after a while takes it out again.
__attribute__((target("avx"))) void hold(const std::uint64_t* want, std::uint64_t* got) {
  asm volatile(
      "vmovdqu (%0), %%ymm5\n"
      "mov $20000, %%ecx\n"
      "1: dec %%ecx\n"
      "jnz 1b\n"
      "vmovdqu %%ymm5, (%1)\n"
      :
      : "r"(want), "r"(got)
      : "ecx", "xmm5", "memory");
}

/// More threads than CPUs: each is often preempted while it holds its own value.
int registers(double seconds) {
  if (__builtin_cpu_supports("avx") == 0) {  // the processor has it, and the kernel saves it
    std::puts("registers: no AVX");
    return 1;
  }
  std::atomic<unsigned> rounds = 0;
  std::atomic<unsigned> lost = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  std::vector<std::thread> threads;
  for (std::uint64_t id = 1; id <= 4; ++id) {
    threads.emplace_back([&, id] {
      const std::uint64_t want[] = {id, id << 16U, id << 32U, id << 48U};
      while (std::chrono::steady_clock::now() < end) {
        std::uint64_t got[4] = {};
        hold(want, got);
        if (std::memcmp(want, got, sizeof got) != 0) ++lost;
        ++rounds;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("registers: %u rounds, %u lost\n", rounds.load(), lost.load());
  return lost == 0 && rounds > 0 ? 0 : 1;
}

// ---- randwrite
// -----------------------------------------------------------------------------------

constexpr std::size_t kBlock = 4096;

/// A block tells where it belongs and which write of it this is.
void fill(std::uint64_t* words, std::uint64_t block, std::uint64_t generation) {
  std::uint64_t state = block * 0x9E3779B97F4A7C15U + generation * 0xD1B54A32D192ED03U + 1;
  words[0] = block;
  words[1] = generation;
  for (std::size_t i = 2; i < kBlock / 8; ++i) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    words[i] = state;
  }
}

std::uint64_t* block_buffer() {
  void* buffer = nullptr;
  if (posix_memalign(&buffer, kBlock, kBlock) != 0) die("memory");
  return static_cast<std::uint64_t*>(buffer);
}

struct Slice {
  std::uint64_t first = 0;
  std::vector<std::uint64_t> generations;  ///< 0: never written
  std::uint64_t wrong = 0;
};

/// Twice as many writes as there are blocks, so some blocks have several and some none.
void write_slice(int file, Slice& slice, unsigned seed) {
  std::uint64_t* words = block_buffer();
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i < 2 * slice.generations.size(); ++i) {
    const std::size_t at = random() % slice.generations.size();
    fill(words, slice.first + at, ++slice.generations[at]);
    const auto offset = static_cast<off_t>((slice.first + at) * kBlock);
    if (pwrite(file, words, kBlock, offset) != static_cast<ssize_t>(kBlock)) die("write");
  }
}

void check_slice(int file, Slice& slice) {
  std::uint64_t* words = block_buffer();
  std::uint64_t* expected = block_buffer();
  for (std::size_t at = 0; at < slice.generations.size(); ++at) {
    if (slice.generations[at] == 0) continue;
    fill(expected, slice.first + at, slice.generations[at]);
    const auto offset = static_cast<off_t>((slice.first + at) * kBlock);
    if (pread(file, words, kBlock, offset) != static_cast<ssize_t>(kBlock)) die("read");
    if (std::memcmp(words, expected, kBlock) == 0) continue;
    if (slice.wrong++ < 5) {
      std::fprintf(stderr, "block %llu: block %llu generation %llu, expected generation %llu\n",
                   static_cast<unsigned long long>(slice.first + at),
                   static_cast<unsigned long long>(words[0]),
                   static_cast<unsigned long long>(words[1]),
                   static_cast<unsigned long long>(slice.generations[at]));
    }
  }
}

int randwrite(const char* path, std::uint64_t blocks, unsigned threads) {
  const int file = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
  if (file < 0) die(path);
  std::vector<Slice> slices(threads);
  const std::uint64_t each = blocks / threads;
  for (unsigned i = 0; i < threads; ++i) {
    slices[i].first = i * each;
    slices[i].generations.resize(each);
  }
  const auto in_parallel = [&](auto&& work) {
    std::vector<std::thread> running;
    for (unsigned i = 0; i < threads; ++i) running.emplace_back([&, i] { work(i); });
    for (std::thread& thread : running) thread.join();
  };
  in_parallel([&](unsigned i) { write_slice(file, slices[i], i + 1); });
  if (fsync(file) != 0) die("fsync");
  in_parallel([&](unsigned i) { check_slice(file, slices[i]); });
  std::uint64_t wrong = 0;
  for (const Slice& slice : slices) wrong += slice.wrong;
  std::printf("randwrite: %llu writes by %u threads, %llu blocks wrong\n",
              static_cast<unsigned long long>(2 * each * threads), threads,
              static_cast<unsigned long long>(wrong));
  return wrong == 0 ? 0 : 1;
}

// ---- sockets
// -------------------------------------------------------------------------------------

void write_all(int to, const char* data, ssize_t size) {
  while (size > 0) {
    const ssize_t done = write(to, data, static_cast<std::size_t>(size));
    if (done < 0) die("write");
    data += done;
    size -= done;
  }
}

/// Standard input to the socket and the socket to standard output, until both have come to an end:
/// either may be the first.
int relay(int socket) {
  static char buffer[65536];
  pollfd wanted[2] = {{socket, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
  while (wanted[0].fd >= 0 || wanted[1].fd >= 0) {
    if (poll(wanted, 2, -1) < 0) die("poll");
    if (wanted[0].fd >= 0 && wanted[0].revents != 0) {
      const ssize_t size = read(socket, buffer, sizeof buffer);
      if (size < 0) die("read");
      if (size == 0) wanted[0].fd = -1;
      write_all(STDOUT_FILENO, buffer, size);
    }
    if (wanted[1].fd >= 0 && wanted[1].revents != 0) {
      const ssize_t size = read(STDIN_FILENO, buffer, sizeof buffer);
      if (size > 0) {
        write_all(socket, buffer, size);
      } else {
        shutdown(socket, SHUT_WR);
        wanted[1].fd = -1;
      }
    }
  }
  return 0;
}

template <class Address>
int listen_once(int family, Address& address) {
  const int listener = socket(family, SOCK_STREAM, 0);
  if (listener < 0) die("socket");
  const int yes = 1;
  (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("bind");
  if (listen(listener, 1) != 0) die("listen");
  const int one = accept(listener, nullptr, nullptr);
  if (one < 0) die("accept");
  return relay(one);
}

template <class Address>
int connect_to(int family, Address& address) {
  const int one = socket(family, SOCK_STREAM, 0);
  if (one < 0) die("socket");
  if (connect(one, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("connect");
  return relay(one);
}

sockaddr_vm vsock_address(const char* cid, const char* port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = static_cast<unsigned>(std::strtoul(cid, nullptr, 10));
  address.svm_port = static_cast<unsigned>(std::strtoul(port, nullptr, 10));
  return address;
}

sockaddr_un unix_address(const char* path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  return address;
}

sockaddr_in tcp_address(const char* address, const char* port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  if (inet_pton(AF_INET, address, &result.sin_addr) != 1) die(address);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "randwrite" && argc > 2) {
    return randwrite(argv[2], argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1024,
                     argc > 4 ? static_cast<unsigned>(std::atoi(argv[4])) : 4);
  }
  if (what == "registers" && argc == 3) return registers(std::strtod(argv[2], nullptr));
  if (what == "vsock-listen" && argc == 3) {
    auto address = vsock_address("4294967295", argv[2]);
    return listen_once(AF_VSOCK, address);
  }
  if (what == "vsock-connect" && argc == 4) {
    auto address = vsock_address(argv[2], argv[3]);
    return connect_to(AF_VSOCK, address);
  }
  if (what.starts_with("unix-") && argc == 3) {
    auto address = unix_address(argv[2]);
    return what == "unix-listen" ? listen_once(AF_UNIX, address) : connect_to(AF_UNIX, address);
  }
  if (what == "tcp-listen" && argc == 3) {
    auto address = tcp_address("0.0.0.0", argv[2]);
    return listen_once(AF_INET, address);
  }
  if (what == "tcp-connect" && argc == 4) {
    auto address = tcp_address(argv[2], argv[3]);
    return connect_to(AF_INET, address);
  }
  std::fprintf(stderr,
               "usage: bedtool randwrite|registers|vsock-listen|vsock-connect|unix-listen|"
               "unix-connect|tcp-listen|tcp-connect ...\n");
  return 2;
}
