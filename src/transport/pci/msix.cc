#include "transport/pci/msix.h"

#include <poll.h>

#include <algorithm>

#include "transport/register_access.h"
#include "virtio/abi/pci.h"

namespace bellhop {

using namespace virtio;

namespace {

bool holds_signals(const EventFd& event) noexcept {
  pollfd waiting{.fd = event.get(), .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 0) == 1;
}

bool well_formed(std::uint64_t offset, std::size_t bytes) noexcept {
  return (bytes == 4 || bytes == 8) && offset % bytes == 0;
}

}  // namespace

Result<std::unique_ptr<Msix>> Msix::create(HostBinder& host, unsigned vectors) {
  std::unique_ptr<Msix> msix(new Msix(host));
  msix->vectors_.resize(vectors);
  for (Vector& vector : msix->vectors_) {
    auto event = EventFd::create();
    if (!event) return forward(event);
    vector.event = std::move(*event);
  }
  return msix;
}

Msix::~Msix() {
  for (Vector& vector : vectors_) {
    close(vector);
    if (vector.gsi) host_->free_msi(*vector.gsi);
  }
}

std::uint32_t Msix::entry_word(const Vector& vector, unsigned word) const noexcept {
  switch (word) {
    case 0:
      return static_cast<std::uint32_t>(vector.address);
    case 1:
      return static_cast<std::uint32_t>(vector.address >> 32);
    case 2:
      return vector.data;
    default:
      return vector.control;
  }
}

bool Msix::read_table(std::uint64_t offset, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, std::byte{0});
  if (!well_formed(offset, data.size()) || offset / kEntryBytes >= vectors_.size()) return false;
  const std::lock_guard<std::mutex> hold(lock_);
  const Vector& vector = vectors_[offset / kEntryBytes];
  const auto word = static_cast<unsigned>(offset % kEntryBytes / 4);
  for (unsigned i = 0; i < data.size() / 4; ++i) {
    store_le(data.subspan(4 * std::size_t{i}, 4), entry_word(vector, word + i));
  }
  return true;
}

bool Msix::write_table(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  if (!well_formed(offset, data.size()) || offset / kEntryBytes >= vectors_.size()) return false;
  const std::lock_guard<std::mutex> hold(lock_);
  Vector& vector = vectors_[offset / kEntryBytes];
  const auto first = static_cast<unsigned>(offset % kEntryBytes / 4);
  for (unsigned i = 0; i < data.size() / 4; ++i) {
    const std::uint64_t value = load_le(data.subspan(4 * std::size_t{i}, 4));
    switch (first + i) {
      case 0:
        vector.address = (vector.address >> 32 << 32) | (value & ~std::uint64_t{3});
        break;
      case 1:
        vector.address = (vector.address & UINT32_MAX) | value << 32;
        break;
      case 2:
        vector.data = static_cast<std::uint32_t>(value);
        break;
      default:
        vector.control = static_cast<std::uint32_t>(value) & kMsixEntryMasked;
        break;
    }
  }
  update(vector);
  return true;
}

bool Msix::read_pending(std::uint64_t offset, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, std::byte{0});
  if (!well_formed(offset, data.size())) return false;
  const std::lock_guard<std::mutex> hold(lock_);
  if (delivery_ == Delivery::kDisabled) return true;
  std::uint64_t bits = 0;
  for (unsigned i = 0; i < 8 * data.size(); ++i) {
    const std::uint64_t index = 8 * offset + i;
    if (index >= vectors_.size()) break;
    const Vector& vector = vectors_[index];
    // Looked at, not taken: what is pending stays so.
    if (!vector.attached && holds_signals(vector.event)) bits |= std::uint64_t{1} << i;
  }
  store_le(data, bits);
  return true;
}

void Msix::set_delivery(Delivery delivery) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  if (delivery == delivery_) return;
  if (delivery_ == Delivery::kDisabled) {
    // Signals from before MSI-X was enabled are nobody's.
    for (Vector& vector : vectors_) vector.event.consume();
  }
  delivery_ = delivery;
  for (Vector& vector : vectors_) update(vector);
}

void Msix::reset() noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  delivery_ = Delivery::kDisabled;
  for (Vector& vector : vectors_) {
    close(vector);
    vector.event.consume();
    vector.address = 0;
    vector.data = 0;
    vector.control = kMsixEntryMasked;
  }
}

void Msix::update(Vector& vector) noexcept {
  if (delivery_ != Delivery::kOpen || (vector.control & kMsixEntryMasked) != 0) {
    close(vector);
    return;
  }
  if (const auto opened = open(vector); !opened) {
    // A message that no interrupt controller takes. Signals stay pending until a better one comes.
    close(vector);
    log_.warn("MSI-X: {}", opened.error().message);
  }
}

Status Msix::open(Vector& vector) {
  if (!vector.gsi) {
    auto gsi = host_->allocate_msi();
    if (!gsi) return forward(gsi);
    vector.gsi = *gsi;
    vector.routed_address = ~vector.address;
  }
  if (vector.routed_address != vector.address || vector.routed_data != vector.data) {
    // Until the host has taken the new message, assume neither.
    vector.routed_address = ~vector.address;
    if (auto set = host_->set_msi(*vector.gsi, vector.address, vector.data); !set) return set;
    vector.routed_address = vector.address;
    vector.routed_data = vector.data;
  }
  if (vector.attached) return {};
  // What is pending is taken out first and put back afterwards: some hosts deliver what an eventfd
  // holds when it is attached, but leave it in the counter, to be seen again at the next masking.
  const bool pending = vector.event.consume() != 0;
  auto attached = host_->attach_interrupt(vector.event, *vector.gsi);
  vector.attached = attached.has_value();
  if (pending) vector.event.signal();
  return attached;
}

void Msix::close(Vector& vector) noexcept {
  if (std::exchange(vector.attached, false)) host_->detach_interrupt(vector.event, *vector.gsi);
}

}  // namespace bellhop
