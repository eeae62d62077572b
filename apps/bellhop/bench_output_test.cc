#include "apps/bellhop/bench_output.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "apps/bellhop/result_file.h"

namespace bellhop {
namespace {

// What was measured took its time: it goes into the files whether or not people can be told.
TEST(BenchOutput, AStandardOutputThatCannotBeWrittenLosesNoResults) {
  const std::string path = ::testing::TempDir() + "/bench_output_test.json";
  auto json = open_result("--json", path, -1);
  ASSERT_TRUE(json.has_value()) << json.error().message;
  const OpenOutput output{.json = {"--json", path, std::move(*json)}, .csv = {}, .html = {}};
  ReportForms forms;
  forms.page.findings = {"A finding."};
  forms.page.tables.emplace_back();
  forms.json = "{}\n";
  const auto write = [&] {
    if (std::freopen("/dev/full", "we", stdout) == nullptr) std::_Exit(99);
    std::setvbuf(stdout, nullptr, _IONBF, 0);  // each line fails at once, as on a terminal
    std::_Exit(write_report({}, forms, output));
  };
  EXPECT_EXIT(write(), ::testing::ExitedWithCode(0), "");
  std::ifstream file(path);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "{}\n");
  std::remove(path.c_str());
}

}  // namespace
}  // namespace bellhop
