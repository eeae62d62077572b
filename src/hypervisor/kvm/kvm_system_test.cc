#include "hypervisor/kvm/kvm_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string>

namespace bellhop {
namespace {

using ::testing::HasSubstr;

constexpr uid_t kNobody = 65534;

// Whoever may not open the device is told how to be let in: by its group, where that may.
TEST(KvmSystem, WithoutRightsTheGroupIsNamed) {
  char folder[] = "/tmp/bellhop-kvm-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  ASSERT_EQ(::chmod(folder, 0755), 0);
  const std::string path = std::string(folder) + "/kvm";
  std::ofstream(path).close();
  const bool root = ::geteuid() == 0;
  ASSERT_TRUE(!root || ::chown(path.c_str(), 0, kNobody) == 0);  // a group that root is not in
  const auto refusal = [&](mode_t mode) {
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    if (root && ::seteuid(kNobody) != 0) return std::string("cannot change the user");
    const auto opened = KvmSystem::open(path);
    if (root && ::seteuid(0) != 0) return std::string("cannot change the user back");
    EXPECT_FALSE(opened);
    if (opened) return std::string();
    EXPECT_EQ(opened.error().code, EACCES);
    return opened.error().message;
  };
  EXPECT_THAT(refusal(0060), HasSubstr("usermod -aG "));
  EXPECT_THAT(refusal(0060), HasSubstr("lets you in once you log in again; or run as root"));
  EXPECT_THAT(refusal(0), ::testing::AllOf(HasSubstr("no rights to open " + path),
                                           ::testing::Not(HasSubstr("usermod"))));
  ::unlink(path.c_str());
  ::rmdir(folder);
}

}  // namespace
}  // namespace bellhop
