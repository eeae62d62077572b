// A main() for fuzz targets without libFuzzer: feeds every file named on the command line (or in a
// folder named there), then inputs from a fixed generator, so that each build replays the same.
// usage: TARGET [--inputs N] [--seconds N [--seed N]] [FILE|FOLDER]...
//   --inputs N    so many generated inputs in place of 4000
//   --seconds N   generated inputs for so long, from the seed on; each is kept in the file
//                 TARGET.input of the working directory while it is fed
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
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
  int inputs = kRandomInputs;
  std::chrono::seconds seconds{0};
  unsigned seed = 20100401;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (i + 1 < argc && argument.starts_with("--")) {
      const int number = std::atoi(argv[++i]);
      if (argument == "--inputs") inputs = number;
      if (argument == "--seconds") seconds = std::chrono::seconds(number);
      if (argument == "--seed") seed = static_cast<unsigned>(number);
      continue;
    }
    const std::filesystem::path path(argument);
    if (std::filesystem::is_directory(path)) {
      for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
        if (entry.is_regular_file()) corpus.push_back(read_file(entry.path()));
      }
    } else if (std::filesystem::is_regular_file(path)) {
      corpus.push_back(read_file(path));
    }
  }
  for (const Input& input : corpus) feed(input);
  std::mt19937 random(seed);
  if (seconds.count() > 0) {
    const std::filesystem::path kept = std::filesystem::path(argv[0]).filename().concat(".input");
    const auto end = std::chrono::steady_clock::now() + seconds;
    for (inputs = 0; std::chrono::steady_clock::now() < end; ++inputs) {
      const Input input = make_input(random, corpus);
      std::ofstream(kept, std::ios::binary)
          .write(reinterpret_cast<const char*>(input.data()),
                 static_cast<std::streamsize>(input.size()));
      feed(input);
    }
    std::filesystem::remove(kept);
  } else {
    for (int i = 0; i < inputs; ++i) feed(make_input(random, corpus));
  }
  std::printf("replayed %zu corpus and %d generated inputs\n", corpus.size(), inputs);
  return 0;
}
