// A main() for fuzz targets without libFuzzer: feeds every file named on the command line (or in a
// folder named there), then inputs from a fixed generator, so that each build replays the same.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr int kRandomInputs = 4000;
constexpr size_t kMaximumSize = 2048;

using Input = std::vector<uint8_t>;

void feed(const Input& input) { (void)LLVMFuzzerTestOneInput(input.data(), input.size()); }

Input read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return Input(std::istreambuf_iterator<char>(stream), {});
}

// Pseudo-random bytes; every second input is a mutation of a corpus entry where there is one, since
// plain noise seldom gets past the first check.
Input make_input(std::mt19937& random, const std::vector<Input>& corpus) {
  Input input;
  if (!corpus.empty() && random() % 2 == 0) {
    input = corpus[random() % corpus.size()];
    for (uint32_t i = 0, edits = 1 + random() % 8; i < edits && !input.empty(); ++i) {
      input[random() % input.size()] = static_cast<uint8_t>(random());
    }
    return input;
  }
  input.resize(random() % kMaximumSize);
  for (uint8_t& byte : input) {
    // Small numbers are likelier to be meant as lengths and indices.
    byte = static_cast<uint8_t>(random() % 4 == 0 ? random() : random() % 5);
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Input> corpus;
  for (int i = 1; i < argc; ++i) {
    const std::filesystem::path path(argv[i]);
    if (std::filesystem::is_directory(path)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
        if (entry.is_regular_file()) corpus.push_back(read_file(entry.path()));
      }
    } else if (std::filesystem::is_regular_file(path)) {
      corpus.push_back(read_file(path));
    }
  }
  for (const Input& input : corpus) feed(input);
  std::mt19937 random(20100401);
  for (int i = 0; i < kRandomInputs; ++i) feed(make_input(random, corpus));
  std::printf("replayed %zu corpus and %d generated inputs\n", corpus.size(), kRandomInputs);
  return 0;
}
