#include "hypervisor/kvm/kvm_cpuid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

namespace bellhop {
namespace {

kvm_cpuid_entry2 leaf(std::uint32_t function, std::uint32_t index = 0, std::uint32_t eax = 0) {
  kvm_cpuid_entry2 entry{};
  entry.function = function;
  entry.index = index;
  entry.eax = eax;
  return entry;
}

std::optional<kvm_cpuid_entry2> find(std::span<const kvm_cpuid_entry2> leaves,
                                     std::uint32_t function, std::uint32_t index = 0) {
  const auto found = std::ranges::find_if(
      leaves, [&](const auto& l) { return l.function == function && l.index == index; });
  return found == leaves.end() ? std::nullopt : std::optional(*found);
}

TEST(KvmCpuidTest, EachVcpuHasItsApicId) {
  const std::vector supported{leaf(0), leaf(1), leaf(0xb), leaf(0x8000'0008), leaf(0x8000'001e)};
  for (unsigned index = 0; index < 3; ++index) {
    const auto leaves = make_vcpu_cpuid(supported, index, 3, true);
    const auto features = find(leaves, 1);
    EXPECT_EQ(features->ebx >> 24U, index);
    EXPECT_EQ((features->ebx >> 16U) & 0xffU, 3U);
    EXPECT_TRUE(features->edx & (1U << 28U));
    EXPECT_TRUE(features->ecx & (1U << 31U));
    EXPECT_TRUE(features->ecx & (1U << 24U));
    const auto threads = find(leaves, 0xb, 0);
    EXPECT_EQ(threads->eax, 0U);
    EXPECT_EQ(threads->ebx, 1U);
    EXPECT_EQ(threads->ecx, 0x100U);
    EXPECT_EQ(threads->edx, index);
    const auto cores = find(leaves, 0xb, 1);
    EXPECT_EQ(cores->eax, 2U) << "two bits tell three cores apart";
    EXPECT_EQ(cores->ebx, 3U);
    EXPECT_EQ(cores->ecx, 0x201U);
    EXPECT_EQ(find(leaves, 0xb, 2)->ecx, 2U) << "no further level";
    EXPECT_EQ(find(leaves, 0x8000'0008)->ecx, 0x2002U);
    EXPECT_EQ(find(leaves, 0x8000'001e)->eax, index);
  }
}

TEST(KvmCpuidTest, LeavesTheHostLacksAreNotInvented) {
  const std::vector supported{leaf(0), leaf(1)};
  const auto leaves = make_vcpu_cpuid(supported, 0, 1, false);
  EXPECT_EQ(leaves.size(), 2U);
  EXPECT_FALSE(find(leaves, 1)->edx & (1U << 28U));
  EXPECT_FALSE(find(leaves, 1)->ecx & (1U << 24U));
}

}  // namespace
}  // namespace bellhop
