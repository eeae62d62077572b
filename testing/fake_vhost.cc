#include "testing/fake_vhost.h"

#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "vhost/vhost_abi.h"
#include "virtio/abi/net.h"
#include "virtio/abi/ring.h"

namespace bellhop::testing {

using namespace virtio;

namespace {

/// What the kernel of Debian 12 says, for both kinds of device.
constexpr std::uint64_t kFeatures =
    feature_mask(kFeatureNotifyOnEmpty) | feature_mask(kFeatureAnyLayout) |
    feature_mask(kFeatureIndirectDesc) | feature_mask(kFeatureEventIdx) |
    feature_mask(kFeatureVersion1) | feature_mask(kFeatureAccessPlatform) |
    feature_mask(kNetFeatureMrgRxbuf) | feature_mask(1) | std::uint64_t{1} << VHOST_F_LOG_ALL |
    std::uint64_t{1} << VHOST_NET_F_VIRTIO_NET_HDR;

template <class T>
T& as(void* argument) {
  return *static_cast<T*>(argument);
}

std::byte* pointer(std::uint64_t address) { return std::bit_cast<std::byte*>(address); }

EventFd copy_of(int fd) { return fd < 0 ? EventFd() : EventFd(UniqueFd(::dup(fd))); }

}  // namespace

class FakeVhost::Handle final : public VhostHandle {
 public:
  explicit Handle(FakeVhost& kernel) : kernel_(kernel) { ++kernel_.open_handles_; }
  ~Handle() override {
    for (unsigned i = 0; i < rings_.size(); ++i) halt(i);
    --kernel_.open_handles_;
  }

  int control(unsigned long request, void* argument) noexcept override {
    const std::lock_guard<std::mutex> hold(mutex_);
    if (const int error = kernel_.refusal(request); error != 0) return -error;
    const int result = carry_out(request, argument);
    if (result < 0 && result != -EADDRINUSE) ++kernel_.wrong_calls_;
    return result;
  }

 private:
  struct Ring {
    OffloadedRing handed;
    EventFd kick;
    EventFd call;
    EventFd fault;
    UniqueFd backend;
    std::unique_ptr<RingWorker> worker;
  };

  int carry_out(unsigned long request, void* argument) {
    if (request == VHOST_SET_OWNER) {
      if (owned_) return -EBUSY;
      owned_ = true;
      return 0;
    }
    if (request == VHOST_GET_FEATURES) {
      as<std::uint64_t>(argument) = kFeatures & kernel_.features_;
      return 0;
    }
    if (!owned_) return -EPERM;
    switch (request) {
      case VHOST_SET_FEATURES:
        return set_features(as<std::uint64_t>(argument));
      case VHOST_SET_MEM_TABLE:
        return set_memory(argument);
      case VHOST_VSOCK_SET_GUEST_CID:
        return set_cid(as<std::uint64_t>(argument));
      case VHOST_VSOCK_SET_RUNNING:
        return set_running(as<int>(argument) != 0);
      case VHOST_SET_VRING_NUM:
      case VHOST_SET_VRING_BASE:
      case VHOST_GET_VRING_BASE:
        return ring_state(request, as<vhost_vring_state>(argument));
      case VHOST_SET_VRING_ADDR:
        return set_addresses(as<vhost_vring_addr>(argument));
      default:
        return ring_file(request, as<vhost_vring_file>(argument));
    }
  }

  int set_features(std::uint64_t features) {
    if ((features & ~(kFeatures & kernel_.features_)) != 0) return -EOPNOTSUPP;
    features_ = features;
    kernel_.acked_features_ = features;
    return 0;
  }

  int set_memory(const void* argument) {
    const auto* bytes = static_cast<const std::byte*>(argument);
    std::uint32_t count = 0;
    std::memcpy(&count, bytes + offsetof(vhost_memory, nregions), sizeof count);
    const auto regions = kernel_.memory_->regions();
    if (count != regions.size()) return -EINVAL;
    bytes += sizeof(vhost_memory);
    for (std::size_t i = 0; i < regions.size(); ++i) {
      vhost_memory_region region{};
      std::memcpy(&region, bytes + i * sizeof region, sizeof region);
      if (region.guest_phys_addr != regions[i].base.value() ||
          region.memory_size != regions[i].size ||
          pointer(region.userspace_addr) != regions[i].host) {
        return -EFAULT;
      }
    }
    mapped_ = true;
    return 0;
  }

  int set_cid(std::uint64_t cid) {
    if (cid <= 2 || cid >= UINT32_MAX) return -EINVAL;
    if (cid == kernel_.taken_cid_) return -EADDRINUSE;
    kernel_.cid_ = cid;
    return 0;
  }

  int set_running(bool on) {
    for (unsigned i = 0; i < rings_.size(); ++i) {
      halt(i);
      if (!on) continue;
      const int result = serve(i, [this](DescriptorChain& chain, std::uint32_t&) {
        if (chain.writable_bytes() != 0) return false;  // nobody sends to the guest
        kernel_.vsock_bytes_ += chain.readable_bytes();
        return true;
      });
      if (result != 0) return result;
    }
    return 0;
  }

  int ring_state(unsigned long request, vhost_vring_state& state) {
    if (state.index >= rings_.size()) return -ENOBUFS;
    Ring& ring = rings_[state.index];
    if (request == VHOST_GET_VRING_BASE) {
      state.num = ring.handed.base;
      return 0;
    }
    if (ring.worker) return -EBUSY;
    if (state.num > 0xffff) return -EINVAL;
    const auto value = static_cast<std::uint16_t>(state.num);
    if (request == VHOST_SET_VRING_BASE) {
      ring.handed.base = value;
    } else if (!std::has_single_bit(state.num)) {
      return -EINVAL;
    } else {
      ring.handed.size = value;
    }
    return 0;
  }

  int set_addresses(const vhost_vring_addr& addresses) {
    if (addresses.index >= rings_.size()) return -ENOBUFS;
    if (addresses.flags != 0) return -EOPNOTSUPP;
    OffloadedRing& handed = rings_[addresses.index].handed;
    handed.desc = pointer(addresses.desc_user_addr);
    handed.avail = pointer(addresses.avail_user_addr);
    handed.used = pointer(addresses.used_user_addr);
    return 0;
  }

  int ring_file(unsigned long request, const vhost_vring_file& file) {
    if (file.index >= rings_.size()) return -ENOBUFS;
    Ring& ring = rings_[file.index];
    switch (request) {
      case VHOST_SET_VRING_KICK:
        ring.kick = copy_of(file.fd);
        return 0;
      case VHOST_SET_VRING_ERR:
        ring.fault = copy_of(file.fd);
        return 0;
      case VHOST_SET_VRING_CALL:
        ring.call = copy_of(file.fd);
        if (ring.worker) ring.worker->set_call(ring.call.valid() ? &ring.call : nullptr);
        return 0;
      case VHOST_NET_SET_BACKEND:
        return set_backend(file.index, file.fd);
      default:
        return -ENOTTY;
    }
  }

  int set_backend(unsigned index, int fd) {
    halt(index);
    rings_[index].backend = fd < 0 ? UniqueFd() : UniqueFd(::dup(fd));
    if (fd < 0) return 0;
    const int socket = rings_[index].backend.get();
    if (index == 1) {
      return serve(index, [this, socket](DescriptorChain& chain, std::uint32_t&) {
        const auto frame = as_iovecs(chain.readable());
        if (::writev(socket, frame.data(), static_cast<int>(frame.size())) < 0) return false;
        ++kernel_.served_;
        return true;
      });
    }
    return serve(
        index,
        [this, socket](DescriptorChain& chain, std::uint32_t& written) {
          const auto room = as_iovecs(chain.writable());
          const ssize_t bytes = ::readv(socket, room.data(), static_cast<int>(room.size()));
          if (bytes <= 0) return false;
          const std::uint16_t one = 1;
          BufferRun(chain.writable())
              .copy_in(offsetof(NetHeader, num_buffers), std::as_bytes(std::span(&one, 1)));
          written = static_cast<std::uint32_t>(bytes);
          ++kernel_.served_;
          return true;
        },
        socket);
  }

  int serve(unsigned index, RingWorker::Serve how, int also = -1) {
    Ring& ring = rings_[index];
    if (!mapped_ || ring.handed.size == 0 || ring.handed.desc == nullptr) return -EFAULT;
    ring.handed.kick = ring.kick.valid() ? &ring.kick : nullptr;
    ring.handed.call = ring.call.valid() ? &ring.call : nullptr;
    ring.handed.fault = ring.fault.valid() ? &ring.fault : nullptr;
    const RingFeatures features{
        .indirect = (features_ & feature_mask(kFeatureIndirectDesc)) != 0,
        .event_idx = (features_ & feature_mask(kFeatureEventIdx)) != 0,
    };
    ring.worker =
        std::make_unique<RingWorker>(*kernel_.memory_, ring.handed, features, std::move(how), also);
    ++kernel_.serving_;
    return 0;
  }

  void halt(unsigned index) {
    Ring& ring = rings_[index];
    if (!ring.worker) return;
    ring.handed.base = ring.worker->stop();
    ring.worker.reset();
    --kernel_.serving_;
  }

  FakeVhost& kernel_;
  std::mutex mutex_;
  std::array<Ring, 2> rings_;
  std::uint64_t features_ = 0;
  bool owned_ = false;
  bool mapped_ = false;
};

Result<std::unique_ptr<VhostHandle>> FakeVhost::open() {
  if (const int error = refuse_open_; error != 0) return fail_errno("cannot open the fake", error);
  return std::make_unique<Handle>(*this);
}

void FakeVhost::refuse(unsigned long request, int error) {
  const std::lock_guard<std::mutex> hold(mutex_);
  refused_[request] = error;
}

int FakeVhost::refusal(unsigned long request) {
  const std::lock_guard<std::mutex> hold(mutex_);
  const auto found = refused_.find(request);
  return found != refused_.end() ? found->second : 0;
}

}  // namespace bellhop::testing
