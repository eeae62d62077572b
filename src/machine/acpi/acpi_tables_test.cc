#include "machine/acpi/acpi_tables.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

#include "machine/boot/memory_layout.h"
#include "machine/platform/acpi_pm.h"
#include "machine/platform/panic_port.h"
#include "machine/platform/pci_hotplug.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

class AcpiTablesTest : public ::testing::Test {
 protected:
  AcpiTablesTest()
      : memory_(std::move(*GuestMemory::create(*ram_layout(std::uint64_t{16} << 20U)))) {}

  std::vector<std::uint8_t> bytes(std::uint64_t address, std::size_t count) {
    std::vector<std::uint8_t> out(count);
    EXPECT_TRUE(memory_.read(GuestAddress(address), std::as_writable_bytes(std::span(out))));
    return out;
  }
  template <class T>
  T at(std::uint64_t address) {
    T value{};
    EXPECT_TRUE(memory_.read(GuestAddress(address), std::as_writable_bytes(std::span(&value, 1))));
    return value;
  }
  static unsigned sum(std::span<const std::uint8_t> bytes) {
    return std::accumulate(bytes.begin(), bytes.end(), 0U) & 0xffU;
  }

  /// Every table by its signature, walked as a kernel does, checksums looked at.
  std::map<std::string, std::vector<std::uint8_t>> tables(std::uint64_t rsdp) {
    std::map<std::string, std::vector<std::uint8_t>> found;
    EXPECT_EQ(sum(bytes(rsdp, 20)), 0U);
    EXPECT_EQ(sum(bytes(rsdp, 36)), 0U);
    const auto take = [&](std::uint64_t address) {
      auto table = bytes(address, at<std::uint32_t>(address + 4));
      std::string name(table.begin(), table.begin() + 4);
      EXPECT_EQ(sum(table), 0U) << name;
      found[name] = std::move(table);
      return name;
    };
    const auto xsdt = at<std::uint64_t>(rsdp + 24);
    take(xsdt);
    for (std::uint64_t entry = xsdt + 36; entry < xsdt + found["XSDT"].size(); entry += 8) {
      const auto address = at<std::uint64_t>(entry);
      if (take(address) == "FACP") {
        EXPECT_EQ(at<std::uint32_t>(address + 40), at<std::uint64_t>(address + 140));
        take(at<std::uint64_t>(address + 140));
      }
    }
    return found;
  }

  /// What iasl makes of a table: its disassembly, or what it complains about.
  std::string disassemble(const std::string& name, std::span<const std::uint8_t> table) {
    const std::string base = ::testing::TempDir() + "bellhop-" + std::to_string(::getpid()) + name;
    std::ofstream(base + ".aml", std::ios::binary)
        .write(reinterpret_cast<const char*>(table.data()),
               static_cast<std::streamsize>(table.size()));
    const std::string command = "iasl -p " + base + " -d " + base + ".aml > " + base + ".log 2>&1";
    const int status = std::system(command.c_str());
    std::stringstream text;
    text << std::ifstream(base + (status == 0 ? ".dsl" : ".log")).rdbuf();
    for (const char* end : {".aml", ".dsl", ".log"}) std::filesystem::remove(base + end);
    EXPECT_EQ(status, 0) << text.str();
    return text.str();
  }

  GuestMemory memory_;
};

TEST_F(AcpiTablesTest, AKernelFindsEveryTable) {
  const auto rsdp = write_acpi_tables(memory_, {.cpus = 3, .ecam = kEcam, .virtio_mmio = {}});
  ASSERT_TRUE(rsdp);
  EXPECT_EQ(rsdp->value() % 16, 0U);
  const auto found = tables(rsdp->value());
  EXPECT_EQ(found.size(), 6U);
  for (const char* name : {"XSDT", "FACP", "APIC", "MCFG", "DSDT", "SSDT"}) {
    EXPECT_TRUE(found.contains(name)) << name;
  }
}

TEST_F(AcpiTablesTest, IaslTakesEveryTableWithoutAWarning) {
  const auto rsdp = write_acpi_tables(memory_, {.cpus = 3, .ecam = kEcam, .virtio_mmio = {}});
  ASSERT_TRUE(rsdp);
  for (const auto& [name, table] : tables(rsdp->value())) {
    const std::string text = disassemble(name, table);
    EXPECT_THAT(text, ::testing::Not(HasSubstr("Invalid"))) << name;
    EXPECT_THAT(text, ::testing::Not(HasSubstr("Incorrect"))) << name;
    EXPECT_THAT(text, ::testing::Not(HasSubstr("Unknown"))) << name;
  }
}

TEST_F(AcpiTablesTest, TheFadtNamesTheRegistersOfTheMachine) {
  const auto rsdp = write_acpi_tables(memory_, {.cpus = 1, .ecam = kEcam, .virtio_mmio = {}});
  const std::string text = disassemble("FACP", tables(rsdp->value())["FACP"]);
  EXPECT_THAT(text, HasSubstr("PM1A Event Block Address : 00000600"));
  EXPECT_THAT(text, HasSubstr("PM1A Control Block Address : 00000604"));
  EXPECT_THAT(text, HasSubstr("PM Timer Block Address : 00000608"));
  EXPECT_THAT(text, HasSubstr("GPE0 Block Address : 0000060C"));
  EXPECT_THAT(text, HasSubstr("GPE0 Block Length : 04"));
  EXPECT_THAT(text, HasSubstr("SCI Interrupt : 0009"));
  EXPECT_THAT(text, HasSubstr("Value to cause reset : 06"));
  EXPECT_THAT(text, HasSubstr("Reset Register Supported (V2) : 1"));
}

TEST_F(AcpiTablesTest, TheMadtHasAnApicForEachCpu) {
  const auto rsdp = write_acpi_tables(memory_, {.cpus = 5, .ecam = {}, .virtio_mmio = {}});
  auto found = tables(rsdp->value());
  const std::string text = disassemble("APIC", found["APIC"]);
  EXPECT_THAT(text, HasSubstr("Local Apic ID : 04"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("Local Apic ID : 05")));
  EXPECT_FALSE(found.contains("MCFG"));
  EXPECT_FALSE(found.contains("SSDT"));
}

// The ASL says these addresses once more.
TEST_F(AcpiTablesTest, AslAndCodeNameTheSameAddresses) {
  const auto rsdp = write_acpi_tables(memory_, {.cpus = 1, .ecam = kEcam, .virtio_mmio = {}});
  auto found = tables(rsdp->value());
  const std::string dsdt = disassemble("DSDT", found["DSDT"]);
  EXPECT_EQ(kAcpiPmPorts.address, 0x600U);
  EXPECT_EQ(kAcpiPmPorts.size, 0x10U);
  EXPECT_THAT(dsdt, HasSubstr("0x0600,             // Range Minimum"));
  EXPECT_EQ(kPanicPorts.address, 0x505U);
  EXPECT_THAT(dsdt, HasSubstr("0x0505,             // Range Minimum"));
  EXPECT_EQ(AcpiPm::kSleepTypeOff, 5U);
  EXPECT_THAT(dsdt, HasSubstr("_S5"));

  const std::string pci = disassemble("SSDT", found["SSDT"]);
  EXPECT_EQ(kPciMemory.address, 0xe000'0000U);
  EXPECT_EQ(kPciMemory.size, 0x0800'0000U);
  EXPECT_THAT(pci, HasSubstr("0xE0000000,         // Range Minimum"));
  EXPECT_THAT(pci, HasSubstr("0xE7FFFFFF,         // Range Maximum"));
  EXPECT_EQ(kPciPorts.address, 0x1000U);
  EXPECT_THAT(pci, HasSubstr("0x1000,             // Range Minimum"));
  EXPECT_EQ(kEcam.address, 0xd000'0000U);
  EXPECT_EQ(kEcam.size, 0x10'0000U);
  EXPECT_THAT(pci, HasSubstr("0xD0000000,         // Address Base"));
  EXPECT_THAT(pci, HasSubstr("0x00100000,         // Address Length"));
  EXPECT_EQ(kPciHotplugPorts.address, 0x610U);
  EXPECT_EQ(kPciHotplugPorts.size, 12U);
  EXPECT_THAT(pci, HasSubstr("OperationRegion (PLUG, SystemIO, 0x0610, 0x0C)"));
  EXPECT_THAT(pci, HasSubstr("0x0610,             // Range Minimum"));
  EXPECT_EQ(PciHotplug::kGpe, 1U);
  EXPECT_THAT(pci, HasSubstr("Method (_E01"));
}

// Each device number has the bit that PciHotplug gives it, and all of them differ.
TEST_F(AcpiTablesTest, EveryDeviceOfTheBusMayComeAndGo) {
  const auto rsdp = write_acpi_tables(memory_, {.cpus = 1, .ecam = kEcam, .virtio_mmio = {}});
  std::string text = disassemble("SSDT", tables(rsdp->value())["SSDT"]);
  std::erase_if(text, [](char c) { return c == ' ' || c == '\n' || c == '\r'; });
  for (unsigned number = 1; number < 32; ++number) {
    const std::uint32_t bit = std::uint32_t{1} << number;
    const int width = bit > 0xffff ? 8 : bit > 0xff ? 4 : 2;
    EXPECT_THAT(text, HasSubstr(fmt::format("If((Arg0&0x{:0{}X})){{Notify(S{:02X},Arg1)}}", bit,
                                            width, number)));
    const std::size_t device = text.find(fmt::format("Device(S{:02X})", number));
    ASSERT_NE(device, std::string::npos) << number;
    const std::string mine = text.substr(device, text.find('}', device) - device);
    EXPECT_THAT(mine, HasSubstr(fmt::format("Name(_ADR,0x{:04X}0000)", number)));
    EXPECT_THAT(mine, HasSubstr(fmt::format("{{EJCT=0x{:0{}X}", bit, width)));
  }
}

TEST_F(AcpiTablesTest, VirtioMmioDevicesAreNamedWithTheirPlaces) {
  AcpiDescription description;
  for (unsigned i = 0; i < 17; ++i)
    description.virtio_mmio.push_back({0xd000'0000 + i * 0x1000, 5 + i});
  const auto rsdp = write_acpi_tables(memory_, description);
  ASSERT_TRUE(rsdp);
  const std::string text = disassemble("SSDT", tables(rsdp->value())["SSDT"]);
  EXPECT_THAT(text, HasSubstr("Device (VM00)"));
  EXPECT_THAT(text, HasSubstr("Device (VM10)"));
  EXPECT_THAT(text, HasSubstr("\"LNRO0005\""));
  EXPECT_THAT(text, HasSubstr("0xD0010000,         // Address Base"));
  EXPECT_THAT(text, HasSubstr("0x00000015,"));
  EXPECT_THAT(text, HasSubstr("Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive"));
}

TEST_F(AcpiTablesTest, MoreCpusThanTheMadtNamesAreRefused) {
  EXPECT_TRUE(write_acpi_tables(memory_, {.cpus = kMaxAcpiCpus, .ecam = kEcam, .virtio_mmio = {}}));
  const auto more =
      write_acpi_tables(memory_, {.cpus = kMaxAcpiCpus + 1, .ecam = kEcam, .virtio_mmio = {}});
  ASSERT_FALSE(more);
  EXPECT_THAT(more.error().message, HasSubstr("256 CPUs"));
}

}  // namespace
}  // namespace bellhop
