#include "vhost_user/message_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "vhost_user/messages.h"

namespace bellhop::vhost_user {

namespace {

/// Message i + 1 is at [i].
constexpr std::array kNames{
    "GET_FEATURES",
    "SET_FEATURES",
    "SET_OWNER",
    "RESET_OWNER",
    "SET_MEM_TABLE",
    "SET_LOG_BASE",
    "SET_LOG_FD",
    "SET_VRING_NUM",
    "SET_VRING_ADDR",
    "SET_VRING_BASE",
    "GET_VRING_BASE",
    "SET_VRING_KICK",
    "SET_VRING_CALL",
    "SET_VRING_ERR",
    "GET_PROTOCOL_FEATURES",
    "SET_PROTOCOL_FEATURES",
    "GET_QUEUE_NUM",
    "SET_VRING_ENABLE",
    "SEND_RARP",
    "NET_SET_MTU",
    "SET_BACKEND_REQ_FD",
    "IOTLB_MSG",
    "SET_VRING_ENDIAN",
    "GET_CONFIG",
    "SET_CONFIG",
    "CREATE_CRYPTO_SESSION",
    "CLOSE_CRYPTO_SESSION",
    "POSTCOPY_ADVISE",
    "POSTCOPY_LISTEN",
    "POSTCOPY_END",
    "GET_INFLIGHT_FD",
    "SET_INFLIGHT_FD",
    "GPU_SET_SOCKET",
    "RESET_DEVICE",
    "VRING_KICK",
    "GET_MAX_MEM_SLOTS",
    "ADD_MEM_REG",
    "REM_MEM_REG",
    "SET_STATUS",
    "GET_STATUS",
    "GET_SHARED_OBJECT",
    "SET_DEVICE_STATE_FD",
    "CHECK_DEVICE_STATE",
    "GET_SHMEM_CONFIG",
};
static_assert(kNames.size() == static_cast<std::size_t>(Request::kGetShmemConfig));

}  // namespace

std::string message_name(std::uint32_t request) {
  if (request >= 1 && request <= kNames.size()) return kNames[request - 1];
  return fmt::format("message {}", request);
}

bool is_answered(std::uint32_t request) noexcept {
  constexpr std::array kAnswered{
      Request::kGetFeatures,     Request::kSetLogBase,          Request::kGetVringBase,
      Request::kGetQueueNum,     Request::kGetProtocolFeatures, Request::kGetConfig,
      Request::kGetMaxMemSlots,  Request::kCreateCryptoSession, Request::kPostcopyAdvise,
      Request::kPostcopyEnd,     Request::kGetInflightFd,       Request::kGetStatus,
      Request::kGetSharedObject, Request::kSetDeviceStateFd,    Request::kCheckDeviceState,
      Request::kGetShmemConfig,
  };
  return std::ranges::find(kAnswered, Request{request}) != kAnswered.end();
}

}  // namespace bellhop::vhost_user
