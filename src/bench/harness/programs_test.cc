#include "bench/harness/programs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace bellhop::bench {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// A folder with programs of ours.
class FindQemu : public ::testing::Test {
 protected:
  FindQemu() {
    std::string name = ::testing::TempDir() + "programsXXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~FindQemu() override { std::filesystem::remove_all(folder_); }

  std::string write(const char* name, const char* body, mode_t mode = 0755) const {
    std::string path = (folder_ / name).string();
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  }
  static std::string complaint(const std::string& program) {
    const auto found = find_qemu(program);
    return found ? "a QEMU" : found.error().message;
  }

  std::filesystem::path folder_;
};

TEST_F(FindQemu, SaysItsVersion) {
  const std::string path =
      write("qemu", "echo 'QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)'; echo Copyright");
  const auto qemu = find_qemu(path);
  ASSERT_TRUE(qemu.has_value()) << qemu.error().message;
  EXPECT_EQ(qemu->version, "10.0.2");
  EXPECT_EQ(qemu->path, path);
  const auto plain = find_qemu(write("plain", "echo QEMU emulator version 9.1"));
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->version, "9.1");
}

TEST_F(FindQemu, RefusesWhatCannotBeRun) {
  EXPECT_THAT(complaint("/nonexistent/qemu"),
              AllOf(HasSubstr("/nonexistent/qemu is no program"), HasSubstr("No such file")));
  EXPECT_THAT(complaint("no-such-qemu"), HasSubstr("No such file"));
  const std::string folder = folder_.string();
  EXPECT_THAT(complaint(folder), AllOf(HasSubstr(folder), HasSubstr("Permission denied")));
  EXPECT_THAT(complaint(write("broken", "exec /nonexistent/library-is-missing")),
              AllOf(HasSubstr("is no QEMU"), HasSubstr("not found")));
}

TEST_F(FindQemu, RefusesOtherPrograms) {
  EXPECT_THAT(complaint("/bin/ls"), AllOf(HasSubstr("/bin/ls is no QEMU"), HasSubstr("coreutils")));
  EXPECT_THAT(complaint(write("user", "echo qemu-x86_64 version 7.2.22")),
              HasSubstr("qemu-x86_64 version 7.2.22"));
  EXPECT_THAT(complaint(write("mute", "exit 0")), HasSubstr("nothing"));
}

TEST(FindProgram, LooksWhereAShellWould) {
  EXPECT_THAT(find_program("sh"), ::testing::EndsWith("/sh"));
  EXPECT_EQ(find_program("/bin/sh"), "/bin/sh");
  EXPECT_EQ(find_program("no-such-program"), "");
  EXPECT_EQ(find_program("./sh"), "");
}

TEST(Programs, AreKnownByVersionAndPath) {
  Programs programs{"0.2.0", {{"/usr/bin/qemu", "7.2"}, {"qemu-gone", ""}}};
  const Vmm gone{Vmm::Kind::kQemu, 1};
  EXPECT_EQ(programs.name(Vmm::kBellhop), "Bellhop");
  EXPECT_EQ(programs.name(Vmm::kQemu), "QEMU 7.2 (/usr/bin/qemu)");
  EXPECT_EQ(programs.label(Vmm::kQemu), "QEMU 7.2");
  EXPECT_TRUE(programs.has(Vmm::kQemu));
  EXPECT_FALSE(programs.has(gone));
  EXPECT_FALSE(programs.has({Vmm::Kind::kQemu, 2}));
  EXPECT_EQ(vmm_fields(programs, Vmm::kBellhop)["vmm_version"], "0.2.0");
  EXPECT_TRUE(vmm_fields(programs, Vmm::kInprocess)["vmm_path"].is_null());
  EXPECT_EQ(describe(gone), "qemu#2");
}

}  // namespace
}  // namespace bellhop::bench
