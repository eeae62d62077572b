// The configuration files that the package brings: every key of them is one of the program's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "config/machine_options.h"

namespace bellhop {
namespace {

template <class Config>
Status parse_all(const std::vector<PropertyList>& lists) {
  if constexpr (requires(const PropertyList& one) { Config::parse(one); }) {
    for (const PropertyList& list : lists) {
      if (auto parsed = Config::parse(list); !parsed) return forward(parsed);
    }
    return {};
  } else {
    if (lists.empty()) return {};
    const auto parsed = Config::parse(std::span(lists));
    return parsed ? Status() : Status(forward(parsed));
  }
}

class PackageExamplesTest : public ::testing::TestWithParam<const char*> {};

// What serve has beside, `listen`, is read by the pages' test.
INSTANTIATE_TEST_SUITE_P(Machines, PackageExamplesTest, ::testing::Values("web", "database"));

TEST_P(PackageExamplesTest, AreRead) {
  const auto file = std::filesystem::path(__FILE__).parent_path() / "../../package/examples" /
                    (std::string(GetParam()) + ".toml");
  const auto options = read_options_file(file.string());
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_TRUE(options->kernel && options->initrd);
  for (const PropertyList& thread : options->iothreads) {
    const auto parsed = parse_iothread(thread);
    // Which CPUs there are is this host's.
    if (parsed) continue;
    EXPECT_THAT(parsed.error().message, ::testing::HasSubstr("is not available here"));
  }
#define BELLHOP_DEVICE(Config, list)                               \
  {                                                                \
    const auto parsed = parse_all<Config>(options->list);          \
    EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().message); \
  }
#include "devices/devices.def"
#undef BELLHOP_DEVICE
}

}  // namespace
}  // namespace bellhop
