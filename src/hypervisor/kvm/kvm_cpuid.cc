#include "hypervisor/kvm/kvm_cpuid.h"

#include <algorithm>
#include <bit>

namespace bellhop {
namespace {

constexpr std::uint32_t kLevelThread = 1;
constexpr std::uint32_t kLevelCore = 2;

void set_bits(std::uint32_t& word, unsigned shift, unsigned width, std::uint32_t value) {
  const std::uint32_t mask = ((1U << width) - 1U) << shift;
  word = (word & ~mask) | ((value << shift) & mask);
}

// Leaves 0x0b and 0x1f: a list of levels, each with the bits to shift an APIC id by to get the id
// of the next level up.
void add_topology(std::vector<kvm_cpuid_entry2>& leaves, std::uint32_t function, unsigned index,
                  unsigned count, std::uint32_t id_bits) {
  std::erase_if(leaves, [&](const auto& leaf) { return leaf.function == function; });
  for (std::uint32_t level = 0; level < 3; ++level) {
    kvm_cpuid_entry2 leaf{};
    leaf.function = function;
    leaf.index = level;
    leaf.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    leaf.ecx = level;
    leaf.edx = index;
    if (level == 0) {
      leaf.ebx = 1;
      leaf.ecx |= kLevelThread << 8U;
    } else if (level == 1) {
      leaf.eax = id_bits;
      leaf.ebx = count;
      leaf.ecx |= kLevelCore << 8U;
    }
    leaves.push_back(leaf);
  }
}

void adjust_leaf(kvm_cpuid_entry2& leaf, unsigned index, unsigned count, std::uint32_t id_bits,
                 bool deadline_timer) {
  switch (leaf.function) {
    case 0x1:
      set_bits(leaf.ebx, 24, 8, index);
      set_bits(leaf.ebx, 16, 8, std::min(count, 255U));
      set_bits(leaf.edx, 28, 1, count > 1 ? 1 : 0);  // more than one logical CPU in the package
      set_bits(leaf.ecx, 31, 1, 1);                  // a hypervisor is present
      set_bits(leaf.ecx, 24, 1, deadline_timer ? 1 : 0);
      break;
    case 0x4:
      if ((leaf.eax & 0x1fU) == 0) break;  // no more caches
      set_bits(leaf.eax, 26, 6, std::min((1U << id_bits) - 1U, 63U));
      // The last level is shared by the package, the others belong to one core.
      set_bits(leaf.eax, 14, 12, ((leaf.eax >> 5U) & 7U) >= 3 ? (1U << id_bits) - 1U : 0);
      break;
    case 0x80000008:
      set_bits(leaf.ecx, 0, 8, std::min(count - 1, 255U));
      set_bits(leaf.ecx, 12, 4, id_bits);
      break;
    case 0x8000001d:
      if ((leaf.eax & 0x1fU) == 0) break;
      set_bits(leaf.eax, 14, 12, ((leaf.eax >> 5U) & 7U) >= 3 ? count - 1 : 0);
      break;
    case 0x8000001e:
      leaf.eax = index;
      leaf.ebx = index & 0xffU;  // core id, one thread in it
      leaf.ecx = 0;              // node 0 of one
      break;
    default:
      break;
  }
}

}  // namespace

std::vector<kvm_cpuid_entry2> make_vcpu_cpuid(std::span<const kvm_cpuid_entry2> supported,
                                              unsigned index, unsigned count, bool deadline_timer) {
  count = std::max(count, 1U);
  const auto id_bits = static_cast<std::uint32_t>(std::bit_width(count - 1));
  std::vector<kvm_cpuid_entry2> leaves(supported.begin(), supported.end());
  for (kvm_cpuid_entry2& leaf : leaves) adjust_leaf(leaf, index, count, id_bits, deadline_timer);
  for (const std::uint32_t function : {0xbU, 0x1fU}) {
    const bool present =
        std::ranges::any_of(supported, [&](const auto& leaf) { return leaf.function == function; });
    if (present) add_topology(leaves, function, index, count, id_bits);
  }
  return leaves;
}

}  // namespace bellhop
