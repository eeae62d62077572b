// The other end of the bench guest's network workloads, for tests whose frames go through another
// program's switch: 192.0.2.1 must be an address of this network. Until it is ended.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdio>

#include "bench/net/net_end.h"

namespace {

sockaddr_in address_of(std::uint32_t address) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(address);
  at.sin_port = htons(bellhop::wire::kPort);
  return at;
}

}  // namespace

int main() {
  using namespace bellhop;
  UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in own = address_of(wire::kHostAddress);
  const sockaddr_in guest = address_of(wire::kGuestAddress);
  if (!socket.valid() ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&guest), sizeof guest) != 0) {
    std::perror("net_end");
    return 1;
  }
  bench::NetEnd end(std::move(socket));
  const auto served = end.serve([] { return false; });
  std::fprintf(stderr, "net_end: %s\n", served.error().message.c_str());
  return 1;
}
