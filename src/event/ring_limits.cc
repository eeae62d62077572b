#include "event/ring_limits.h"

#include <array>

namespace bellhop {

namespace {

// Waits and signals of the loops, requests of the disks.
constexpr std::array<std::uint8_t, 7> kOperations{
    IORING_OP_READ,  IORING_OP_WRITE,    IORING_OP_READV,       IORING_OP_WRITEV,
    IORING_OP_FSYNC, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL};
// Once it is enabled.
constexpr std::array<std::uint8_t, 3> kRegistrations{
    IORING_REGISTER_FILES_UPDATE, IORING_REGISTER_RING_FDS, IORING_UNREGISTER_RING_FDS};
constexpr std::uint8_t kFlags = IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;

}  // namespace

Status limit_ring(::io_uring& ring) {
  std::array<::io_uring_restriction, kOperations.size() + kRegistrations.size() + 1> limits{};
  std::size_t next = 0;
  for (const std::uint8_t operation : kOperations) {
    limits[next].opcode = IORING_RESTRICTION_SQE_OP;
    limits[next++].sqe_op = operation;
  }
  for (const std::uint8_t registration : kRegistrations) {
    limits[next].opcode = IORING_RESTRICTION_REGISTER_OP;
    limits[next++].register_op = registration;
  }
  limits[next].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
  limits[next].sqe_flags = kFlags;
  const int error =
      ::io_uring_register_restrictions(&ring, limits.data(), static_cast<unsigned>(limits.size()));
  if (error != 0) return fail_errno("io_uring cannot be limited to what it is for", -error);
  return {};
}

}  // namespace bellhop
