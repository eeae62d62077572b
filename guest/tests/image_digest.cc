// Prints the digest of a file as the host sees it, to be compared with what the guest's workload
// "verify" read through its disk.
// usage: image_digest FILE
#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>

#include "guest/pattern.h"

int main(int argc, char** argv) {
  namespace pattern = bellhop::pattern;
  if (argc != 2) {
    std::fputs("usage: image_digest FILE\n", stderr);
    return 2;
  }
  std::ifstream file(argv[1], std::ios::binary);
  if (!file) {
    std::fprintf(stderr, "image_digest: cannot open %s\n", argv[1]);
    return 1;
  }
  alignas(64) std::array<char, pattern::kBlockBytes> block{};
  std::uint64_t digest = 0;
  for (std::uint64_t i = 0; file; ++i) {
    file.read(block.data(), pattern::kBlockBytes);
    const auto bytes = static_cast<std::size_t>(file.gcount());
    if (bytes == 0) break;
    digest += pattern::image_digest_term(i, block.data(), bytes);
  }
  if (file.bad()) {
    std::fprintf(stderr, "image_digest: cannot read %s\n", argv[1]);
    return 1;
  }
  std::printf("0x%016llx\n", static_cast<unsigned long long>(digest));
  return 0;
}
