#pragma once

#include <cstddef>
#include <cstdint>

// Virtio over PCI (virtio 1.3 section 4.1), and the parts of PCI that driver and device share.
namespace bellhop::virtio {

inline constexpr std::uint16_t kPciVendorId = 0x1af4;
/// Modern device id is this plus the device type (4.1.2.1).
inline constexpr std::uint16_t kPciModernDeviceBase = 0x1040;
inline constexpr std::uint16_t kPciModernDeviceLast = 0x107f;
/// Transitional ids (4.1.2.1): 0x1000 net, 0x1001 blk, ...
inline constexpr std::uint16_t kPciTransitionalFirst = 0x1000;
inline constexpr std::uint16_t kPciTransitionalLast = 0x103f;
inline constexpr std::uint8_t kPciModernRevision = 1;

/// cfg_type of a virtio capability (4.1.4).
inline constexpr std::uint8_t kPciCapCommonCfg = 1;
inline constexpr std::uint8_t kPciCapNotifyCfg = 2;
inline constexpr std::uint8_t kPciCapIsrCfg = 3;
inline constexpr std::uint8_t kPciCapDeviceCfg = 4;
inline constexpr std::uint8_t kPciCapPciCfg = 5;
inline constexpr std::uint8_t kPciCapSharedMemoryCfg = 8;
inline constexpr std::uint8_t kPciCapVendorCfg = 9;

/// "No MSI-X vector" (4.1.5.1.2).
inline constexpr std::uint16_t kMsiNoVector = 0xffff;

/// Vendor capability in PCI configuration space (4.1.4).
struct [[gnu::packed]] PciCap {
  std::uint8_t cap_vndr;  // kPciCapIdVendor
  std::uint8_t cap_next;
  std::uint8_t cap_len;
  std::uint8_t cfg_type;
  std::uint8_t bar;
  std::uint8_t id;
  std::uint8_t padding[2];
  std::uint32_t offset;
  std::uint32_t length;
};
static_assert(sizeof(PciCap) == 16);

/// Notification capability (4.1.4.4).
struct [[gnu::packed]] PciNotifyCap {
  PciCap cap;
  std::uint32_t notify_off_multiplier;
};
static_assert(sizeof(PciNotifyCap) == 20);

/// The configuration access window (4.1.4.9); pci_cfg_data follows the capability.
struct [[gnu::packed]] PciCfgCap {
  PciCap cap;
  std::uint8_t pci_cfg_data[4];
};
static_assert(sizeof(PciCfgCap) == 20);

/// Common configuration (4.1.4.3).
struct [[gnu::packed]] PciCommonCfg {
  std::uint32_t device_feature_select;
  std::uint32_t device_feature;
  std::uint32_t driver_feature_select;
  std::uint32_t driver_feature;
  std::uint16_t config_msix_vector;
  std::uint16_t num_queues;
  std::uint8_t device_status;
  std::uint8_t config_generation;
  std::uint16_t queue_select;
  std::uint16_t queue_size;
  std::uint16_t queue_msix_vector;
  std::uint16_t queue_enable;
  std::uint16_t queue_notify_off;
  std::uint64_t queue_desc;
  std::uint64_t queue_driver;
  std::uint64_t queue_device;
  std::uint16_t queue_notif_config_data;
  std::uint16_t queue_reset;
  std::uint16_t admin_queue_index;
  std::uint16_t admin_queue_num;
};
static_assert(sizeof(PciCommonCfg) == 64);

// Offsets of the same, for register dispatch.
inline constexpr std::uint32_t kCommonDeviceFeatureSelect = 0x00;
inline constexpr std::uint32_t kCommonDeviceFeature = 0x04;
inline constexpr std::uint32_t kCommonDriverFeatureSelect = 0x08;
inline constexpr std::uint32_t kCommonDriverFeature = 0x0c;
inline constexpr std::uint32_t kCommonConfigMsixVector = 0x10;
inline constexpr std::uint32_t kCommonNumQueues = 0x12;
inline constexpr std::uint32_t kCommonDeviceStatus = 0x14;
inline constexpr std::uint32_t kCommonConfigGeneration = 0x15;
inline constexpr std::uint32_t kCommonQueueSelect = 0x16;
inline constexpr std::uint32_t kCommonQueueSize = 0x18;
inline constexpr std::uint32_t kCommonQueueMsixVector = 0x1a;
inline constexpr std::uint32_t kCommonQueueEnable = 0x1c;
inline constexpr std::uint32_t kCommonQueueNotifyOff = 0x1e;
inline constexpr std::uint32_t kCommonQueueDesc = 0x20;
inline constexpr std::uint32_t kCommonQueueDriver = 0x28;
inline constexpr std::uint32_t kCommonQueueDevice = 0x30;
inline constexpr std::uint32_t kCommonQueueNotifConfigData = 0x38;
inline constexpr std::uint32_t kCommonQueueReset = 0x3a;
inline constexpr std::uint32_t kCommonAdminQueueIndex = 0x3c;
inline constexpr std::uint32_t kCommonAdminQueueNum = 0x3e;
inline constexpr std::uint32_t kCommonCfgBytes = 0x40;
static_assert(offsetof(PciCommonCfg, device_status) == kCommonDeviceStatus);
static_assert(offsetof(PciCommonCfg, queue_desc) == kCommonQueueDesc);
static_assert(offsetof(PciCommonCfg, queue_reset) == kCommonQueueReset);

// Type 0 PCI configuration space, as far as it is used here (PCI 3.0 section 6).
inline constexpr std::uint8_t kPciVendorIdOffset = 0x00;
inline constexpr std::uint8_t kPciDeviceIdOffset = 0x02;
inline constexpr std::uint8_t kPciCommandOffset = 0x04;
inline constexpr std::uint8_t kPciStatusOffset = 0x06;
inline constexpr std::uint8_t kPciRevisionOffset = 0x08;
inline constexpr std::uint8_t kPciClassOffset = 0x09;
inline constexpr std::uint8_t kPciHeaderTypeOffset = 0x0e;
inline constexpr std::uint8_t kPciBar0Offset = 0x10;
inline constexpr std::uint8_t kPciSubsystemVendorOffset = 0x2c;
inline constexpr std::uint8_t kPciSubsystemIdOffset = 0x2e;
inline constexpr std::uint8_t kPciCapPointerOffset = 0x34;
inline constexpr std::uint8_t kPciInterruptLineOffset = 0x3c;
inline constexpr std::uint8_t kPciInterruptPinOffset = 0x3d;
inline constexpr unsigned kPciBarCount = 6;

inline constexpr std::uint16_t kPciCommandIo = 1;
inline constexpr std::uint16_t kPciCommandMemory = 2;
inline constexpr std::uint16_t kPciCommandBusMaster = 4;
inline constexpr std::uint16_t kPciCommandIntxDisable = 1U << 10;
inline constexpr std::uint16_t kPciStatusCapList = 1U << 4;

inline constexpr std::uint32_t kPciBarIo = 1;
inline constexpr std::uint32_t kPciBarType64 = 4;
inline constexpr std::uint32_t kPciBarTypeMask = 6;
inline constexpr std::uint32_t kPciBarPrefetch = 8;

inline constexpr std::uint8_t kPciCapIdMsi = 0x05;
inline constexpr std::uint8_t kPciCapIdVendor = 0x09;
inline constexpr std::uint8_t kPciCapIdMsix = 0x11;

/// MSI-X capability (PCI 3.0 section 6.8.2).
struct [[gnu::packed]] MsixCap {
  std::uint8_t cap_id;
  std::uint8_t cap_next;
  std::uint16_t control;
  std::uint32_t table;  // low three bits: BAR
  std::uint32_t pba;    // low three bits: BAR
};
static_assert(sizeof(MsixCap) == 12);
inline constexpr std::uint16_t kMsixControlEnable = 1U << 15;
inline constexpr std::uint16_t kMsixControlMaskAll = 1U << 14;
inline constexpr std::uint16_t kMsixControlSizeMask = 0x7ff;
inline constexpr std::uint32_t kMsixBirMask = 7;
inline constexpr std::uint16_t kMsixMaxVectors = 2048;

/// Entry of the MSI-X table (PCI 3.0 section 6.8.2.6 and on).
struct [[gnu::packed, gnu::aligned(16)]] MsixEntry {
  std::uint32_t address_low;
  std::uint32_t address_high;
  std::uint32_t data;
  std::uint32_t control;
};
static_assert(sizeof(MsixEntry) == 16);
inline constexpr std::uint32_t kMsixEntryMasked = 1;

/// PCI configuration mechanism 1.
inline constexpr std::uint16_t kPciConfigAddressPort = 0xcf8;
inline constexpr std::uint16_t kPciConfigDataPort = 0xcfc;
inline constexpr std::uint32_t kPciConfigEnable = 0x80000000U;

}  // namespace bellhop::virtio
